"""Load a batch."""

from __future__ import annotations

from typing import Any

from prefect import task

from tasks.policy import RESUME, is_transient
from tasks.verdicts import verdicts_of
from tidegate.ledger import Batch
from tidegate.operations import ingest
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
def load(batch: Batch, before: list[dict[str, Any]]) -> list[str]:
    """Commit rows, rejected rows and commit records in one transaction; ids of the objects."""
    ingest.load_batch(current_project(), batch, verdicts_of(before))
    return [verdict["object_id"] for verdict in before]
