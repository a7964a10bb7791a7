"""Take a batch through the stages. The one code path for live, retry, backfill and redrive.

Each stage function does the objects it can, notes each verdict in the batch's staging folder,
appends the completion events, and returns the verdicts. When the world stands in the way of some
(a RetryableError), it does the others first and then raises ObjectsLeftError; called again, it
takes noted verdicts as they are and does only what is left.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from tidegate import clock
from tidegate.errors import (
    ClaimLostError,
    ObjectsLeftError,
    RetryableError,
    StagingUnavailableError,
    TidegateError,
    writable,
)
from tidegate.events import Event, EventType
from tidegate.events.model import event_id, iso
from tidegate.ledger import queries
from tidegate.operations import dialects, outcomes, reports
from tidegate.operations.liveness import this_process

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tidegate.ledger import Batch, ClaimedObject
    from tidegate.operations.project import Project
    from tidegate.stages.model import Verdict

log = logging.getLogger(__name__)


def claim(project: Project, dataset: str, flow_run_id: str) -> Batch:
    """Claim the batch of a flow run, and finish at once what an earlier run had committed.

    Raises ContractError before anything is claimed when no contract declares `dataset`, or its
    steps don't even run over a table without rows.
    """
    from tidegate.stages.schema import table_columns
    from tidegate.warehouse.ddl import table_types

    contract = project.registry[dataset]
    table_types(contract, table_columns(contract, project.registry))
    ingest = project.settings.ingest
    batch = project.ledger.claim(
        contract.name,
        flow_run_id,
        this_process(),
        max_objects=ingest.max_objects,
        max_bytes=ingest.max_bytes,
    )
    try:
        done = outcomes.complete_committed(project, batch)
        done |= outcomes.give_up(project, batch, done)
        if done:
            reports.write_missing(project, list(done))
    except TidegateError as error:
        # The claim ends with the run: nobody would renew it.
        project.ledger.end_claim(flow_run_id, str(error))
        raise
    remaining = tuple(one for one in batch.objects if one.object.object_id not in done)
    log.info(
        "claimed %d objects of %s",
        len(remaining),
        dataset,
        extra={"action": "batch_claimed", "flow_run_id": flow_run_id},
    )
    return type(batch)(id=batch.id, dataset=dataset, objects=remaining, resumed=batch.resumed)


def validate_batch(project: Project, batch: Batch) -> list[Verdict]:
    """Fetch and check every object of the batch."""
    from tidegate.stages.validate import validate

    contract = project.registry[batch.dataset]
    staging = project.staging(batch.id)
    return _each(
        project,
        batch,
        batch.objects,
        EventType.VALIDATED,
        lambda one: validate(one, contract, project.store, staging),
    )


def normalize_batch(project: Project, batch: Batch, verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Run the contract's normalization over every object that passed validation."""
    from tidegate.stages.normalize import normalize

    contract = project.registry[batch.dataset]
    staging = project.staging(batch.id)
    return _carry_on(
        project, batch, verdicts, EventType.NORMALIZED, lambda one: normalize(one, contract, staging)
    )


def enrich_batch(project: Project, batch: Batch, verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Take columns from the reference datasets, as of snapshots pinned for this batch."""
    from tidegate.stages.enrich import enrich, pin_references

    contract = project.registry[batch.dataset]
    staging = project.staging(batch.id)
    pinned = pin_references(contract, project.references, staging)
    return _carry_on(
        project,
        batch,
        verdicts,
        EventType.ENRICHED,
        lambda one: enrich(one, contract, pinned, project.references, staging),
    )


def load_batch(project: Project, batch: Batch, verdicts: Sequence[Verdict]) -> None:
    """Commit the batch in one warehouse transaction, tell the ledger, and report what is held.

    Raises ClaimLostError when another run has taken all of the batch's objects meanwhile.
    """
    from tidegate.stages.load import load_request
    from tidegate.stages.model import VerdictState
    from tidegate.stages.schema import table_columns

    contract = project.registry[batch.dataset]
    staging = project.staging(batch.id)
    mine = _still_mine(project, batch)
    verdicts = [verdict for verdict in verdicts if verdict.object_id in mine]
    gone = [verdict for verdict in verdicts if verdict.state is VerdictState.OVERWRITTEN]
    requests = [
        load_request(
            verdict,
            mine[verdict.object_id].object,
            staging,
            redrive=mine[verdict.object_id].redrive,
        )
        for verdict in verdicts
        if verdict.state is not VerdictState.OVERWRITTEN
    ]
    results, snapshot = project.warehouse.load(
        contract,
        table_columns(contract, project.registry),
        requests,
        batch_id=batch.id,
        flow_run_id=batch.id,
        snapshot_to=project.settings.references_dir if contract.name in project.registry.references else None,
    )
    if snapshot is not None:
        project.references.publish(snapshot)
    said = {verdict.object_id: verdict for verdict in verdicts}
    outcomes.tell(project, mine, results, contract=contract, verdicts=said)
    outcomes.tell_overwritten(project, mine, gone)
    reports.write_missing(project, list(mine))


def finish(project: Project, batch: Batch, failure: str | None) -> None:
    """End the claim. With `failure`, objects not final wait in state ``failed`` for a retry."""
    project.ledger.end_claim(batch.id, failure)
    if failure is None:
        project.staging(batch.id).remove()


def _still_mine(project: Project, batch: Batch) -> dict[str, ClaimedObject]:
    holders = project.ledger.ask(queries.holders, [one.object.object_id for one in batch.objects])
    mine = {
        one.object.object_id: one
        for one in batch.objects
        if (holder := holders[one.object.object_id]).flow_run_id == batch.id
        and holder.state == "running"
        and holder.attempt == one.attempt
    }
    if batch.objects and not mine:
        raise ClaimLostError(
            f"Flow run {batch.id} was taken for dead and its objects given to another run; "
            "this one stops without loading anything. Nothing needs to be done."
        )
    return mine


def finished(project: Project, batch: Batch, stage: EventType) -> list[Verdict]:
    """The verdicts a stage has noted for this batch: what it did before it failed."""
    contract = project.registry[batch.dataset]
    notes = project.staging(batch.id).notes(stage.verb, contract.version)
    return [notes[key] for key in _keys(batch.objects) if key in notes]


def _keys(objects: Sequence[ClaimedObject]) -> list[tuple[str, int]]:
    return [(one.object.object_id, one.attempt) for one in objects]


def _carry_on(
    project: Project,
    batch: Batch,
    verdicts: Sequence[Verdict],
    stage: EventType,
    work: Callable[[Verdict], Verdict],
) -> list[Verdict]:
    """Work on what passed the stage before; what is held or gone is handed on as it is."""
    from tidegate.stages.model import VerdictState

    before = {verdict.object_id: verdict for verdict in verdicts}

    def go_on(one: ClaimedObject) -> Verdict:
        verdict = before[one.object.object_id]
        return work(verdict) if verdict.state is VerdictState.PASSED else verdict

    objects = [one for one in batch.objects if one.object.object_id in before]
    return _each(project, batch, objects, stage, go_on, before)


def _each(
    project: Project,
    batch: Batch,
    objects: Sequence[ClaimedObject],
    stage: EventType,
    work: Callable[[ClaimedObject], Verdict],
    before: Mapping[str, Verdict] | None = None,
) -> list[Verdict]:
    version = project.registry[batch.dataset].version
    staging = project.staging(batch.id)
    noted = staging.notes(stage.verb, version)
    trouble: dict[str, RetryableError] = {}

    def so_far(one: ClaimedObject) -> Verdict:
        return (before or {}).get(one.object.object_id) or _nothing_read(one, version)

    verdicts: list[Verdict] = []
    with staging.noting(stage.verb, version) as note:
        for one, key in zip(objects, _keys(objects), strict=True):
            try:
                verdicts.append(noted.get(key) or _settled(work, note, one, so_far(one)))
            except RetryableError as error:
                trouble[one.object.url] = error
    _tell(project, batch, objects, verdicts, stage)
    if trouble:
        url, first = next(iter(trouble.items()))
        msg = f"{len(trouble)} of {len(objects)} objects could not be {stage.verb}. The first, {url}: {first}"
        raise ObjectsLeftError(msg)
    return verdicts


def _tell(
    project: Project,
    batch: Batch,
    objects: Sequence[ClaimedObject],
    verdicts: Sequence[Verdict],
    stage: EventType,
) -> None:
    """Append the completion event of each object that passed the stage."""
    done = {verdict.object_id: verdict for verdict in verdicts if verdict.rows is not None}
    said = dialects.compared(project, batch.dataset, objects, done) if stage is EventType.VALIDATED else {}
    project.ledger.append(
        [
            _completion(batch, one, done[one.object.object_id], stage, said.get(one.object.object_id, {}))
            for one in objects
            if one.object.object_id in done
        ]
    )
    dialects.warn(objects, said)


def _settled(
    work: Callable[[ClaimedObject], Verdict],
    note: Callable[[Verdict], object],
    one: ClaimedObject,
    so_far: Verdict,
) -> Verdict:
    """The verdict of `work`, noted; what goes wrong with this object's data holds this object alone.

    Rows that were refused so far are told all the same.

    The contract as such was tried on a table without rows before anything was claimed.
    """
    try:
        try:
            verdict = work(one)
            note(verdict)
        except (RetryableError, OSError):
            raise
        except Exception as error:
            log.exception("%s is held", one.object.url, extra={"action": "object_held"})
            verdict = _held_by(error, so_far)
            note(verdict)
    except OSError as error:
        msg = f"{one.object.url} could not be staged: {error}. See to the disk of the state folder."
        raise StagingUnavailableError(msg) from error
    return verdict


def _held_by(error: Exception, so_far: Verdict) -> Verdict:
    from tidegate.stages.model import VerdictState

    said = str(error) if isinstance(error, TidegateError) else f"{type(error).__name__}: {error}"
    held = {"state": VerdictState.HELD, "rule": "contract", "reason": writable(said[:2_000]), "rows": None}
    return so_far.model_copy(update=held)


def _nothing_read(one: ClaimedObject, version: str) -> Verdict:
    from tidegate.stages.model import Verdict, VerdictState

    return Verdict(
        object_id=one.object.object_id,
        attempt=one.attempt,
        state=VerdictState.PASSED,
        contract_version=version,
    )


def _completion(
    batch: Batch, one: ClaimedObject, verdict: Verdict, stage: EventType, said: Mapping[str, object]
) -> Event:
    data: dict[str, object] = {
        "contract_version": verdict.contract_version,
        "staged": f"{batch.id}/{verdict.rows}",
        "flow_run_id": batch.id,
    }
    if stage is EventType.VALIDATED:
        data |= {**said} | {
            "content_sha256": verdict.content_sha256,
            "rows_read": verdict.rows_read,
            "rows_valid": verdict.rows_valid,
            "rows_rejected": verdict.rows_rejected,
        }
    if stage is EventType.ENRICHED:
        data |= {
            "references": verdict.references,
            "rows_unmatched": verdict.unmatched,
            "rows_valid": verdict.rows_valid,
            "rows_rejected": verdict.rows_rejected,
        }
    moment = clock.now()
    return Event(
        # A batch may validate an object anew in a later run; each run's completion is a fact.
        id=event_id(stage, one.object.object_id, one.attempt, batch.id),
        type=stage,
        time=moment,
        subject=one.object.url,
        dataset=batch.dataset,
        object_id=one.object.object_id,
        correlation_id=one.correlation_id,
        causation_id=one.correlation_id,
        traceparent=one.traceparent,
        attempt=one.attempt,
        data={**data, "at": iso(moment)},
    )
