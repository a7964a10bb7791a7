"""Commit records: read and written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from tidegate.contracts import Replace
from tidegate.objects import ObjectVersion
from tidegate.warehouse.model import LoadOutcome, Outcome
from tidegate.warehouse.plan import Known
from tidegate.warehouse.statements import literal, statement

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from duckdb import DuckDBPyConnection

    from tidegate.contracts import LoadPolicy
    from tidegate.warehouse.job import Job
    from tidegate.warehouse.model import Commit, LoadRequest
    from tidegate.warehouse.plan import Decision, Plan

# Times as microseconds: DuckDB needs pytz to hand out TIMESTAMPTZ, and they are faster so.
_COLUMNS = """
    c.object_id, c.store, c.bucket, c.key, c.version, c.size, epoch_us(c.uploaded_at), c.sequencer,
    c.etag, c.content_sha256, c.outcome, c.reason, c.rows_read, c.rows_loaded, c.rows_rejected,
    c.rows_duplicate, c.contract_version, c.attempt, c.others, epoch_us(c.committed_at), c.active,
    c.replaced_by, epoch_us(c.order_at), c.held_attempt, c.held_reason, c.held_rows_read,
    c.held_contract_version, epoch_us(c.held_at), c.dialect
"""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def microseconds(moment: datetime) -> int:
    """Microseconds since 1970, exactly."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def moment_of(microseconds: int) -> datetime:
    """The inverse of `microseconds`."""
    return _EPOCH + timedelta(microseconds=microseconds)


def contenders(
    con: DuckDBPyConnection, dataset: str, policy: LoadPolicy, requests: Sequence[LoadRequest]
) -> dict[str, Known]:
    """The records of these objects and of all that contend with them, by object id."""
    import polars as pl

    from tidegate.warehouse.frames import temp_table

    names = ("object_id", "store", "bucket", "key")
    asked = ((getattr(request.object, name) for name in names) for request in requests)
    if not temp_table(con, "asked", dict.fromkeys(names, pl.String), map(tuple, asked)):
        return {}
    in_arena = "" if isinstance(policy, Replace) else "SEMI JOIN asked USING (store, bucket, key)"
    sql = statement("records", "known", columns=_COLUMNS, dataset=literal(dataset), in_arena=in_arena)
    return {row[0]: _known(row) for row in con.execute(sql).fetchall()}


def commits(con: DuckDBPyConnection, object_ids: Iterable[str]) -> dict[str, Commit]:
    """The newest commit record of each object (at least one), in whichever dataset."""
    # Spelled out, not as a frame: reading needs no Polars, which takes a tenth of a second to import.
    ids = ", ".join(literal(object_id) for object_id in object_ids)
    rows = con.execute(statement("records", "committed", columns=_COLUMNS, ids=ids)).fetchall()
    return {row[0]: _known(row).latest for row in rows}


def _known(row: tuple[Any, ...]) -> Known:
    one = ObjectVersion(
        store=row[1],
        bucket=row[2],
        key=row[3],
        version=row[4],
        size=row[5],
        uploaded_at=moment_of(row[6]),
        sequencer=row[7],
        etag=row[8],
    )
    commit = LoadOutcome(
        object_id=row[0],
        outcome=Outcome(row[10]),
        reason=row[11],
        rows_read=row[12],
        rows_loaded=row[13],
        rows_rejected=row[14],
        rows_duplicate=row[15],
        contract_version=row[16],
        attempt=row[17],
        others=tuple(row[18]),
        committed_at=moment_of(row[19]),
        replaced_by=row[21],
        dialect=row[28] or "",
    )
    held = None
    if row[23] is not None:
        attempt, reason, rows_read, contract_version, at = row[23:28]
        held = held_outcome(
            commit,
            attempt=attempt,
            reason=reason,
            rows_read=rows_read,
            contract_version=contract_version,
            at=moment_of(at),
        )
    return Known(
        object=one,
        content_sha256=row[9],
        commit=commit,
        held=held,
        active=row[20],
        replaced=row[21] is not None,
        order_at=moment_of(row[22]),
    )


def held_outcome(
    kept: Commit, *, attempt: int, reason: str, rows_read: int, contract_version: str, at: datetime
) -> LoadOutcome:
    """A try that was held and left `kept` in force."""
    return LoadOutcome(
        object_id=kept.object_id,
        outcome=Outcome.QUARANTINED,
        reason=reason,
        rows_read=rows_read,
        rows_loaded=0,
        rows_rejected=rows_read,
        rows_duplicate=0,
        contract_version=contract_version,
        attempt=attempt,
        others=(),
        committed_at=at,
        retained=kept,
    )


def write(con: DuckDBPyConnection, job: Job, plan: Plan, outcomes: Mapping[str, LoadOutcome]) -> None:
    """Write the commit records of `plan`, and note which objects stand from now on."""
    import polars as pl

    from tidegate.warehouse.frames import MOMENT, temp_table

    dataset, moment = literal(job.contract.name), microseconds(job.moment)
    decided = [one for one in plan.decisions if not one.retained]
    if temp_table(con, "decided", _schema(), (_row(job, one, outcomes[one.object_id]) for one in decided)):
        if any(one.before is not None for one in decided):
            con.execute(statement("records", "delete_commits", dataset=dataset))
        con.execute(statement("records", "insert_commits"))
    held = (outcomes[one.object_id] for one in plan.decisions if one.retained)
    schema = {"object_id": pl.String, "attempt": pl.Int64, "reason": pl.String}
    schema |= {"rows_read": pl.Int64, "contract_version": pl.String}
    tries = ((o.object_id, o.attempt, o.reason, o.rows_read, o.contract_version) for o in held)
    if temp_table(con, "held", schema, tries):
        con.execute(statement("records", "write_held", dataset=dataset, moment=moment))
    moved_up = {"object_id": pl.String, "order_at": MOMENT}
    if temp_table(con, "moved_up", moved_up, plan.moved_up.items()):
        con.execute(statement("records", "move_up", dataset=dataset))
    if temp_table(con, "replaced", {"object_id": pl.String, "stands": pl.String}, plan.replaced.items()):
        con.execute(statement("records", "replace", dataset=dataset))


def _schema() -> dict[str, Any]:
    import polars as pl

    from tidegate.warehouse.frames import MOMENT

    text, number, flag = pl.String, pl.Int64, pl.Boolean
    return {
        "object_id": text,
        "dataset": text,
        "store": text,
        "bucket": text,
        "key": text,
        "version": text,
        "etag": text,
        "url": text,
        "size": number,
        "uploaded_at": MOMENT,
        "sequencer": text,
        "content_sha256": text,
        "outcome": text,
        "reason": text,
        "rows_read": number,
        "rows_loaded": number,
        "rows_rejected": number,
        "rows_duplicate": number,
        "contract_version": text,
        "attempt": number,
        "batch_id": text,
        "flow_run_id": text,
        "others": pl.List(text),
        "committed_at": MOMENT,
        "active": flag,
        "order_at": MOMENT,
        "dialect": text,
    }


def _row(job: Job, decision: Decision, outcome: LoadOutcome) -> tuple[Any, ...]:
    one = decision.request.object
    return (
        outcome.object_id,
        job.contract.name,
        one.store,
        one.bucket,
        one.key,
        one.version,
        one.etag,
        one.url,
        one.size,
        one.uploaded_at,
        one.sequencer,
        decision.request.content_sha256,
        outcome.outcome.value,
        outcome.reason,
        outcome.rows_read,
        outcome.rows_loaded,
        outcome.rows_rejected,
        outcome.rows_duplicate,
        outcome.contract_version,
        outcome.attempt,
        job.batch_id,
        job.flow_run_id,
        list(outcome.others),
        outcome.committed_at,
        outcome.outcome is Outcome.LOADED,
        decision.order_at,
        outcome.dialect,
    )
