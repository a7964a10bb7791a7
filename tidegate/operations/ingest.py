"""Take a batch through the stages. The one code path for live, retry, backfill and redrive.

Each stage function does the objects it can, appends their completion events, and returns their
verdicts. An object in the way of which the world stood (a RetryableError) is left out of the
result; when the stage is tried again, or the run is retried, it is done then.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidegate import clock
from tidegate.errors import ClaimLostError, RetryableError
from tidegate.events import Event, EventType
from tidegate.events.model import event_id, iso
from tidegate.ledger import queries
from tidegate.operations import outcomes
from tidegate.operations.liveness import this_process

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tidegate.ledger import Batch, ClaimedObject
    from tidegate.operations.project import Project
    from tidegate.stages.model import Verdict

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StageResult:
    """What a stage did, and what stood in the way of the rest."""

    verdicts: list[Verdict]
    #: object id -> why it could not be done this time
    trouble: dict[str, RetryableError]


def claim(project: Project, dataset: str, flow_run_id: str) -> Batch:
    """Claim the batch of a flow run, and finish at once what an earlier run had committed.

    Raises ContractError before anything is claimed when no contract declares `dataset`.
    """
    contract = project.registry[dataset]
    ingest = project.settings.ingest
    batch = project.ledger.claim(
        contract.name,
        flow_run_id,
        this_process(),
        max_objects=ingest.max_objects,
        max_bytes=ingest.max_bytes,
    )
    done = outcomes.complete_committed(project, batch)
    remaining = tuple(one for one in batch.objects if one.object.object_id not in done)
    log.info(
        "claimed %d objects of %s",
        len(remaining),
        dataset,
        extra={"action": "batch_claimed", "flow_run_id": flow_run_id},
    )
    return type(batch)(id=batch.id, dataset=dataset, objects=remaining, resumed=batch.resumed)


def validate_batch(project: Project, batch: Batch) -> StageResult:
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


def normalize_batch(project: Project, batch: Batch, verdicts: Sequence[Verdict]) -> StageResult:
    """Run the contract's normalization over every object that passed validation."""
    from tidegate.stages.normalize import normalize

    contract = project.registry[batch.dataset]
    staging = project.staging(batch.id)
    return _carry_on(
        project, batch, verdicts, EventType.NORMALIZED, lambda one: normalize(one, contract, staging)
    )


def enrich_batch(project: Project, batch: Batch, verdicts: Sequence[Verdict]) -> StageResult:
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
    """Commit the batch in one warehouse transaction, then tell the ledger.

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
        load_request(verdict, mine[verdict.object_id].object, staging)
        for verdict in verdicts
        if verdict.state is not VerdictState.OVERWRITTEN
    ]
    results, snapshot = project.warehouse.load(
        contract,
        table_columns(contract, project.registry),
        requests,
        batch_id=batch.id,
        flow_run_id=batch.id,
        snapshot_to=project.settings.references_dir
        if contract.name in project.registry.references
        else None,
    )
    if snapshot is not None:
        project.references.publish(snapshot)
    rules = {verdict.object_id: verdict.rule for verdict in verdicts}
    outcomes.tell(project, mine, results, contract=contract, rules=rules)
    outcomes.tell_overwritten(project, mine, gone)


def finish(project: Project, batch: Batch, failure: str | None) -> None:
    """End the claim. With `failure`, objects not final wait in state ``failed`` for a retry."""
    project.ledger.end_claim(batch.id, failure)
    if failure is None:
        project.staging(batch.id).remove()


def _still_mine(project: Project, batch: Batch) -> dict[str, ClaimedObject]:
    entries = project.ledger.ask(queries.by_id, [one.object.object_id for one in batch.objects])
    mine = {
        one.object.object_id: one
        for one in batch.objects
        if (entry := entries[one.object.object_id]).flow_run_id == batch.id
        and entry.state == "running"
        and entry.attempt == one.attempt
    }
    if batch.objects and not mine:
        raise ClaimLostError(
            f"Flow run {batch.id} was taken for dead and its objects given to another run; "
            "this one stops without loading anything. Nothing needs to be done."
        )
    return mine


def _carry_on(
    project: Project,
    batch: Batch,
    verdicts: Sequence[Verdict],
    kind: EventType,
    work: Callable[[Verdict], Verdict],
) -> StageResult:
    from tidegate.stages.model import VerdictState

    passed = {v.object_id: v for v in verdicts if v.state is VerdictState.PASSED}
    result = _each(
        project,
        batch,
        [one for one in batch.objects if one.object.object_id in passed],
        kind,
        lambda one: work(passed[one.object.object_id]),
    )
    others = [verdict for verdict in verdicts if verdict.object_id not in passed]
    return StageResult([*result.verdicts, *others], result.trouble)


def _each(
    project: Project,
    batch: Batch,
    objects: Sequence[ClaimedObject],
    kind: EventType,
    work: Callable[[ClaimedObject], Verdict],
) -> StageResult:
    verdicts: list[Verdict] = []
    trouble: dict[str, RetryableError] = {}
    log_entries: list[Event] = []
    for one in objects:
        try:
            verdict = work(one)
        except RetryableError as error:
            trouble[one.object.object_id] = error
            continue
        verdicts.append(verdict)
        if verdict.rows is not None:
            log_entries.append(_completion(batch, one, verdict, kind))
    project.ledger.append(log_entries)
    return StageResult(verdicts, trouble)


def _completion(batch: Batch, one: ClaimedObject, verdict: Verdict, kind: EventType) -> Event:
    data: dict[str, object] = {
        "contract_version": verdict.contract_version,
        "staged": f"{batch.id}/{verdict.rows}",
        "flow_run_id": batch.id,
    }
    if kind is EventType.VALIDATED:
        data |= {
            "content_sha256": verdict.content_sha256,
            "rows_read": verdict.rows_read,
            "rows_valid": verdict.rows_valid,
            "rows_rejected": verdict.rows_rejected,
        }
    if kind is EventType.ENRICHED:
        data |= {"references": verdict.references, "rows_unmatched": verdict.unmatched}
    moment = clock.now()
    return Event(
        # A batch may validate an object anew in a later run; each run's completion is a fact.
        id=event_id(kind, one.object.object_id, one.attempt, batch.id),
        type=kind,
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
