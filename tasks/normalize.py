"""Normalize a batch."""

from __future__ import annotations

from typing import Any

from prefect import task

from tasks.policy import RESUME, is_transient
from tasks.verdicts import as_json, verdicts_of
from tidegate.ledger import Batch
from tidegate.operations import ingest
from tidegate.operations.project import current_project


@task(
    name="normalize",
    persist_result=True,
    result_serializer="json",
    cache_policy=RESUME,
    retries=3,
    retry_delay_seconds=[2, 4, 8],
    retry_jitter_factor=0.5,
    retry_condition_fn=is_transient,
)
def normalize(batch: Batch, before: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Run the contract's normalization over the rows that passed."""
    return as_json(ingest.normalize_batch(current_project(), batch, verdicts_of(before)))
