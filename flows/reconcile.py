"""Reconcile: record uploads whose event never came. Scheduled hourly; also `tidegate reconcile`."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from tidegate.operations import reconcile as operation
from tidegate.operations.project import current_project


@flow(name="reconcile", retries=2, retry_delay_seconds=30, persist_result=False)
def reconcile(prefix: str = "", *, dry_run: bool = False) -> State[Any]:
    """Compare the landing's listing under `prefix` with the ledger and record what it lacks."""
    project = current_project()
    found = operation.reconcile(
        project.settings,
        project.ledger,
        project.registry,
        prefix=prefix,
        dry_run=dry_run,
        store=project.store,
    )
    verb = "would be recorded" if dry_run else "recorded"
    return Completed(message=f"{found.listed} objects listed: {found.recorded} {verb}, {found.known} known.")
