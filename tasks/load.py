"""Load a batch."""

from __future__ import annotations

from prefect import task

from tasks.claimed import Claimed
from tasks.policy import RESUME, is_transient
from tidegate.operations import ingest
from tidegate.operations.handing_on import Reference, look_up
from tidegate.operations.project import current_project


@task(
    name="load",
    persist_result=True,
    result_serializer="json",
    cache_policy=RESUME,
    retries=3,
    retry_delay_seconds=[2, 4, 8],
    retry_jitter_factor=0.5,
    retry_condition_fn=is_transient,
)
def load(claimed: Claimed, before: Reference) -> int:
    """Commit rows, rejected rows and commit records in one transaction; of how many objects."""
    project, batch = current_project(), claimed.batch
    ingest.load_batch(project, batch, look_up(project, batch, before), progress=claimed.progress)
    return before["objects"]
