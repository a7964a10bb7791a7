"""Ingest: take all pending objects of one dataset from the landing to the warehouse.

Started by the dispatcher whenever a dataset has pending objects; `Retry` in the UI resumes it.
Without Prefect: `tidegate.operations.ingest` holds the same steps as plain functions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prefect import flow, runtime
from prefect.client.schemas.objects import State

from tasks import claim, enrich, load, normalize, validate
from tasks.verdicts import as_json
from tidegate.errors import ObjectsLeftError
from tidegate.events import EventType
from tidegate.operations import ingest as operation
from tidegate.operations.liveness import keeping_claim
from tidegate.operations.project import current_project
from tidegate.operations.summary import summarize
from tidegate.prefect.runs import conclude, failure_text, name_run, publish_table

if TYPE_CHECKING:
    from prefect.tasks import Task

    from tidegate.ledger import Batch


@flow(name="ingest", persist_result=False, validate_parameters=True)
def ingest(dataset: str) -> State[Any]:
    """Claim, validate, normalize, enrich and load the pending objects of `dataset`."""
    project = current_project()
    flow_run_id = str(runtime.flow_run.get_id())
    batch = claim.claim(dataset, flow_run_id)
    name_run(batch)
    failure: str | None = None
    if batch.objects:
        lease_seconds = project.settings.ingest.lease_seconds
        with keeping_claim(project.ledger, flow_run_id, lease_seconds):
            failure = _run_stages(batch)
    operation.finish(project, batch, failure)
    summary = summarize(project.ledger, batch)
    publish_table(summary)
    return conclude(summary, failure)


def _run_stages(batch: Batch) -> str | None:
    """Take the batch as far as it goes; what went wrong, or None."""
    trouble: list[str] = []
    try:
        verdicts = _stage(validate.validate, EventType.VALIDATED, trouble, batch)
        verdicts = _stage(normalize.normalize, EventType.NORMALIZED, trouble, batch, verdicts)
        verdicts = _stage(enrich.enrich, EventType.ENRICHED, trouble, batch, verdicts)
        load.load(batch, verdicts)
    except Exception as error:  # noqa: BLE001 - the run ends Failed with this as its message
        trouble.append(failure_text(error))
    return " ".join(trouble) or None


def _stage(
    task: Task[..., list[dict[str, Any]]],
    stage: EventType,
    trouble: list[str],
    batch: Batch,
    *before: list[dict[str, Any]],
) -> list[dict[str, Any]]:
    """Run a stage; when some of its objects had to be left, the others go on."""
    try:
        return task(batch, *before)
    except ObjectsLeftError as error:
        trouble.append(str(error))
        return as_json(operation.finished(current_project(), batch, stage))
