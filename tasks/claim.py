"""Claim a flow run's batch."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.claimed import Claimed
from tasks.policy import is_transient
from tidegate.operations import ingest
from tidegate.operations.project import current_project


@task(
    name="claim",
    persist_result=False,
    cache_policy=NO_CACHE,
    retries=3,
    retry_delay_seconds=[1, 2, 4],
    retry_condition_fn=is_transient,
)
def claim(dataset: str, flow_run_id: str) -> Claimed:
    """Take the pending objects of a dataset, or those a retried run left unfinished."""
    project = current_project()
    batch = ingest.claim(project, dataset, flow_run_id)
    return Claimed(batch, project.staging(batch.id).mark() if batch.objects else "")
