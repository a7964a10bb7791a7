"""Take a batch through the stages. The one code path for live, retry, backfill and redrive.

Each stage function does the objects it can, notes each verdict in the batch's staging folder,
appends the completion events, and returns the verdicts. When the world stands in the way of some
(a RetryableError), it does the others first and then raises ObjectsLeftError; called again, it
takes noted verdicts as they are and does only what is left.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from tidegate.errors import ClaimLostError, TidegateError
from tidegate.events import EventType
from tidegate.ledger import queries
from tidegate.operations import outcomes, reports
from tidegate.operations.liveness import this_process
from tidegate.operations.progress import BatchProgress

if TYPE_CHECKING:
    from collections.abc import Sequence

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


def validate_batch(project: Project, batch: Batch, *, progress: BatchProgress | None = None) -> list[Verdict]:
    """Fetch and check every object of the batch."""
    from tidegate.operations.working import Work, carry_out, nothing_read
    from tidegate.stages.together import groups_of, validate_together
    from tidegate.stages.validate import validate

    contract = project.registry[batch.dataset]
    staging = project.staging(batch.id)
    here = progress or BatchProgress(batch)
    here.begin("validate")
    so_far = {one.object.object_id: nothing_read(one, contract.version) for one in batch.objects}

    def alone(one: ClaimedObject) -> Verdict:
        taken = here.begin("validate", one.object.object_id)
        return validate(one, contract, project.store, staging, progress=taken)

    work = Work(
        EventType.VALIDATED,
        groups=groups_of,
        together=lambda group: validate_together(group, contract, project.store, staging),
        alone=alone,
    )
    return carry_out(project, batch, so_far, work)


def normalize_batch(
    project: Project, batch: Batch, verdicts: Sequence[Verdict], *, progress: BatchProgress | None = None
) -> list[Verdict]:
    """Run the contract's normalization over every object that passed validation."""
    from tidegate.operations.working import carry_out, going_on
    from tidegate.stages.normalize import normalize
    from tidegate.stages.normalize_together import normalize_together

    contract = project.registry[batch.dataset]
    staging = project.staging(batch.id)
    here = progress or BatchProgress(batch)
    here.begin("normalize", rows=_passed(verdicts))

    def alone(verdict: Verdict) -> Verdict:
        here.begin("normalize", verdict.object_id, rows=verdict.rows_valid)
        return normalize(verdict, contract, staging)

    work = going_on(
        EventType.NORMALIZED,
        verdicts,
        together=lambda group: normalize_together(group, contract, staging),
        alone=alone,
    )
    return carry_out(project, batch, {verdict.object_id: verdict for verdict in verdicts}, work)


def enrich_batch(
    project: Project, batch: Batch, verdicts: Sequence[Verdict], *, progress: BatchProgress | None = None
) -> list[Verdict]:
    """Take columns from the reference datasets, as of snapshots pinned for this batch."""
    from tidegate.operations.working import carry_out, going_on
    from tidegate.stages.enrich import enrich, pin_references
    from tidegate.stages.enrich_together import enrich_together

    contract = project.registry[batch.dataset]
    staging = project.staging(batch.id)
    pinned = pin_references(contract, project.references, staging)
    here = progress or BatchProgress(batch)
    here.begin("enrich", rows=_passed(verdicts))

    def alone(verdict: Verdict) -> Verdict:
        here.begin("enrich", verdict.object_id, rows=verdict.rows_valid)
        return enrich(verdict, contract, pinned, project.references, staging)

    work = going_on(
        EventType.ENRICHED,
        verdicts,
        together=lambda group: enrich_together(group, contract, pinned, project.references, staging),
        alone=alone,
    )
    return carry_out(project, batch, {verdict.object_id: verdict for verdict in verdicts}, work)


def load_batch(
    project: Project, batch: Batch, verdicts: Sequence[Verdict], *, progress: BatchProgress | None = None
) -> None:
    """Commit the batch in one warehouse transaction, tell the ledger, and report what is held.

    Raises ClaimLostError when another run has taken all of the batch's objects meanwhile.
    """
    from tidegate.stages.load import load_request
    from tidegate.stages.model import VerdictState
    from tidegate.stages.schema import table_columns

    contract = project.registry[batch.dataset]
    staging = project.staging(batch.id)
    (progress or BatchProgress(batch)).begin("load", rows=_passed(verdicts))
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


def _passed(verdicts: Sequence[Verdict]) -> int:
    """Rows that passed so far."""
    return sum(verdict.rows_valid or 0 for verdict in verdicts if verdict.rows is not None)


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
    keys = [(one.object.object_id, one.attempt) for one in batch.objects]
    return [notes[key] for key in keys if key in notes]
