"""Validate a batch."""

from __future__ import annotations

from prefect import task

from tasks.claimed import Claimed
from tasks.policy import RESUME, is_transient
from tidegate.events import EventType
from tidegate.operations import ingest
from tidegate.operations.handing_on import Reference, refer
from tidegate.operations.project import current_project


@task(
    name="validate",
    persist_result=True,
    result_serializer="json",
    cache_policy=RESUME,
    retries=3,
    retry_delay_seconds=[2, 4, 8],
    retry_jitter_factor=0.5,
    retry_condition_fn=is_transient,
)
def validate(claimed: Claimed) -> Reference:
    """Fetch every object of the batch and check each row against the contract."""
    project, batch = current_project(), claimed.batch
    return refer(
        project, batch, EventType.VALIDATED, ingest.validate_batch(project, batch, progress=claimed.progress)
    )
