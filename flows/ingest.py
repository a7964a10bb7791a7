"""Ingest: take all pending objects of one dataset from the landing to the warehouse.

Started by the dispatcher whenever a dataset has pending objects; `Retry` in the UI resumes it.
Without Prefect: `tidegate.operations.ingest` holds the same steps as plain functions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prefect import flow, runtime
from prefect.client.schemas.objects import State

from tasks import claim, enrich, load, normalize, validate
from tidegate.errors import ObjectsLeftError
from tidegate.events import EventType
from tidegate.operations import ingest as operation
from tidegate.operations.handing_on import Reference, refer
from tidegate.operations.liveness import keeping_claim
from tidegate.operations.progress import telling
from tidegate.operations.project import current_project
from tidegate.operations.summary import summarize
from tidegate.prefect.progress import ProgressArtifact
from tidegate.prefect.runs import conclude, failure_text, name_run, publish_table

if TYPE_CHECKING:
    from prefect.tasks import Task

    from tasks.claimed import Claimed


@flow(name="ingest", persist_result=False, validate_parameters=True)
def ingest(dataset: str) -> State[Any]:
    """Claim, validate, normalize, enrich and load the pending objects of `dataset`."""
    project = current_project()
    flow_run_id = str(runtime.flow_run.get_id())
    claimed = claim.claim(dataset, flow_run_id)
    batch = claimed.batch
    name_run(batch)
    failure: str | None = None
    if batch.objects:
        lease_seconds = project.settings.ingest.lease_seconds
        artifact = ProgressArtifact()
        with (
            keeping_claim(project.ledger, flow_run_id, lease_seconds),
            telling(project.ledger, batch, artifact.show) as claimed.progress,
        ):
            failure = _run_stages(claimed)
        artifact.end(failure)
    operation.finish(project, batch, failure)
    summary = summarize(project.ledger, batch)
    publish_table(summary)
    return conclude(summary, failure)


def _run_stages(claimed: Claimed) -> str | None:
    """Take the batch as far as it goes; what went wrong, or None."""
    trouble: list[str] = []
    try:
        found = _stage(validate.validate, EventType.VALIDATED, trouble, claimed)
        found = _stage(normalize.normalize, EventType.NORMALIZED, trouble, claimed, found)
        found = _stage(enrich.enrich, EventType.ENRICHED, trouble, claimed, found)
        load.load(claimed, found)
    except Exception as error:  # noqa: BLE001 - the run ends Failed with this as its message
        trouble.append(failure_text(error))
    return " ".join(trouble) or None


def _stage(
    task: Task[..., Reference], stage: EventType, trouble: list[str], claimed: Claimed, *before: Reference
) -> Reference:
    """Run a stage; when some of its objects had to be left, the others go on."""
    try:
        return task(claimed, *before)
    except ObjectsLeftError as error:
        trouble.append(str(error))
        project, batch = current_project(), claimed.batch
        return refer(project, batch, stage, operation.finished(project, batch, stage))
