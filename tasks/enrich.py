"""Enrich a batch."""

from __future__ import annotations

from prefect import task

from tasks.claimed import Claimed
from tasks.policy import RESUME, is_transient
from tidegate.events import EventType
from tidegate.operations import ingest
from tidegate.operations.handing_on import Reference, look_up, refer
from tidegate.operations.project import current_project


@task(
    name="enrich",
    persist_result=True,
    result_serializer="json",
    cache_policy=RESUME,
    retries=3,
    retry_delay_seconds=[2, 4, 8],
    retry_jitter_factor=0.5,
    retry_condition_fn=is_transient,
)
def enrich(claimed: Claimed, before: Reference) -> Reference:
    """Take columns from the reference datasets."""
    project, batch = current_project(), claimed.batch
    verdicts = ingest.enrich_batch(project, batch, look_up(project, batch, before), progress=claimed.progress)
    return refer(project, batch, EventType.ENRICHED, verdicts)
