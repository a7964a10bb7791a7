"""One transaction: a batch's rows, rejected rows, commit records and snapshot, or nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from tidegate import clock
from tidegate.contracts import Append
from tidegate.errors import AccountingError
from tidegate.warehouse import records, rejections, snapshots
from tidegate.warehouse.connection import commit
from tidegate.warehouse.job import Job, policy_text
from tidegate.warehouse.model import LoadOutcome, Outcome
from tidegate.warehouse.plan import plan_batch
from tidegate.warehouse.rows import Rows
from tidegate.warehouse.statements import literal, statement

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from duckdb import DuckDBPyConnection

    from tidegate.contracts import Contract
    from tidegate.warehouse.model import LoadRequest, Snapshot
    from tidegate.warehouse.plan import Decision, Plan

#: So few rows one thread loads with less work than two.
_FEW_ROWS = 10_000


def load(
    con: DuckDBPyConnection,
    contract: Contract,
    columns: Mapping[str, Any],
    requests: Sequence[LoadRequest],
    *,
    batch_id: str,
    flow_run_id: str,
    snapshot_to: Path | None,
) -> tuple[list[LoadOutcome], Snapshot | None]:
    """What `Warehouse.load` promises, on an open connection; whoever closes it undoes the rest."""
    con.execute("BEGIN")
    job = _job(con, contract, columns, batch_id, flow_run_id)
    plan = plan_batch(
        contract.load, requests, records.contenders(con, contract.name, contract.load, requests)
    )
    if _is_little(contract, plan, snapshot_to):
        con.execute("SET threads = 1")
    outcomes = _write(con, job, plan)
    snapshot = _snapshot(con, job, plan, snapshot_to)
    _note(con, job, plan, snapshot)
    commit(con)
    return _in_order(requests, {**plan.already, **outcomes}), snapshot


def _is_little(contract: Contract, plan: Plan, snapshot_to: Path | None) -> bool:
    """Whether a few rows are put in and nothing else is done: one thread does it with less work."""
    rows = sum(one.request.rows_read for one in plan.decisions)
    return isinstance(contract.load, Append) and not plan.leaving and not snapshot_to and rows <= _FEW_ROWS


def _job(
    con: DuckDBPyConnection, contract: Contract, columns: Mapping[str, Any], batch_id: str, flow_run_id: str
) -> Job:
    found = con.execute(statement("records", "dataset", dataset=literal(contract.name))).fetchall()
    policy, sequence, before = found[0] if found else ("", 0, 0)
    # Rows of this commit are found by its time, so no other may have it, whatever the clock does.
    later = records.moment_of(before) + timedelta(microseconds=1)
    return Job(
        contract=contract,
        columns=columns,
        batch_id=batch_id,
        flow_run_id=flow_run_id,
        moment=max(clock.now(), later),
        policy_before=policy,
        sequence=sequence,
    )


def _write(con: DuckDBPyConnection, job: Job, plan: Plan) -> dict[str, LoadOutcome]:
    taken_up = rejections.take_up(con, job, plan)
    # A type that changed holds up what would be loaded, and nothing else.
    loaded = Rows(con, job, plan).change() if plan.loads or plan.leaving else {}
    rejected = rejections.insert(con, job, plan)
    outcomes = {}
    for one in plan.decisions:
        rows, refused = loaded.get(one.object_id, (0, 0)), rejected.get(one.object_id, 0)
        if one.adds:
            outcomes[one.object_id] = _added(one, rows, refused, taken_up.get(one.object_id, 0), job.moment)
        else:
            outcomes[one.object_id] = _outcome(one, rows, refused, job.moment)
    outcomes = {id_: _placed(one, plan.replaced.get(id_)) for id_, one in outcomes.items()}
    _account(plan, outcomes, rejected)
    records.write(con, job, plan, outcomes)
    rejections.close_replaced(con, job, plan)
    return outcomes


def _outcome(one: Decision, rows: tuple[int, int], rejected: int, moment: datetime) -> LoadOutcome:
    """The outcome with what the tables got; an object that is not loaded has one count only."""
    request = one.request
    if one.retained and one.before is not None:
        return records.held_outcome(
            one.before,
            attempt=request.attempt,
            reason=one.reason,
            rows_read=request.rows_read,
            contract_version=request.contract_version,
            at=moment,
        )
    loaded, duplicate = rows
    if one.outcome is Outcome.QUARANTINED:
        loaded, rejected, duplicate = 0, request.rows_read, 0
    elif one.outcome is not Outcome.LOADED:
        loaded, rejected, duplicate = 0, 0, request.rows_read
    return LoadOutcome(
        object_id=one.object_id,
        outcome=one.outcome,
        reason=one.reason,
        rows_read=request.rows_read,
        rows_loaded=loaded,
        rows_rejected=rejected,
        rows_duplicate=duplicate,
        contract_version=request.contract_version,
        attempt=request.attempt,
        others=one.others,
        committed_at=moment,
        dialect=request.dialect,
    )


def _added(
    one: Decision, rows: tuple[int, int], refused: int, taken_up: int, moment: datetime
) -> LoadOutcome:
    """The outcome of a redrive: all rows the tables have, and what stays held or was discarded."""
    before, request = _in_force(one), one.request
    (loaded, duplicate), passed = rows, taken_up - refused
    told = f"Redriven under contract {request.contract_version}: {passed} of {taken_up} held rows passed."
    return replace(
        before,
        reason=told,
        rows_loaded=loaded,
        rows_duplicate=duplicate,
        rows_rejected=before.rows_rejected - passed,
        attempt=request.attempt,
        others=one.others,
        committed_at=moment,
    )


def _in_force(one: Decision) -> LoadOutcome:
    if one.before is None:
        msg = f"{one.request.object.url} was never loaded, so no rows can be added to it. Report this."
        raise AccountingError(msg, object_ids=(one.object_id,))
    return one.before


def _placed(outcome: LoadOutcome, stands: str | None) -> LoadOutcome:
    """The outcome as its record says it, when this very batch has put another in its place."""
    if stands is None:
        return outcome
    if outcome.retained is None:
        return replace(outcome, replaced_by=stands)
    return replace(outcome, retained=replace(outcome.retained, replaced_by=stands))


def _account(plan: Plan, outcomes: Mapping[str, LoadOutcome], rejected: Mapping[str, int]) -> None:
    """Refuse the commit unless the tables got every row of every object."""
    wrong = {}
    for one in plan.decisions:
        request, found = one.request, outcomes[one.object_id]
        got = (found.rows_loaded + found.rows_duplicate, rejected.get(one.object_id, 0))
        if one.adds:  # rows that were discarded count as rejected still
            got = (got[0], found.rows_rejected)
            fits = sum(got) == request.rows_read
        elif one.retained and request.redrive:
            fits = True  # it changes nothing
        else:
            wants = {
                Outcome.LOADED: (request.rows_read - request.rows_rejected, request.rows_rejected),
                Outcome.QUARANTINED: (0, request.rows_rejected),
            }
            fits = got == wants.get(one.outcome, got)
        if not fits:
            wrong[one.object_id] = (
                f"{request.object.url} (contract {request.contract_version}): {request.rows_read} rows read "
                f"and {request.rows_rejected} rejected, but the tables got {got[0]} and {got[1]} of them"
            )
    if wrong:
        raise AccountingError(
            "Rows are unaccounted for, so nothing of the batch was committed. "
            f"{'; '.join(wrong.values())}. Process these objects again; if it happens again, report it.",
            object_ids=tuple(wrong),
        )


def _snapshot(con: DuckDBPyConnection, job: Job, plan: Plan, folder: Path | None) -> Snapshot | None:
    if folder is None or (not plan.changes_table and snapshots.is_current(con, job, folder)):
        return None
    return snapshots.write(con, job, folder, job.sequence + 1)


def _note(con: DuckDBPyConnection, job: Job, plan: Plan, snapshot: Snapshot | None) -> None:
    if not plan.decisions and snapshot is None:
        return
    changed = plan.changes_table or snapshot is not None
    policy = policy_text(job.contract.load) if plan.loads else job.policy_before
    note = statement(
        "records",
        "note_dataset",
        dataset=literal(job.contract.name),
        policy=literal(policy),
        sequence=job.sequence + changed,
        moment=records.microseconds(job.moment),
    )
    con.execute(note)


def _in_order(requests: Sequence[LoadRequest], outcomes: Mapping[str, LoadOutcome]) -> list[LoadOutcome]:
    return [outcomes[request.object.object_id] for request in requests]
