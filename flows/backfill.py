"""Backfill: process past objects again. Scheduled nightly for what an older contract loaded.

Also `tidegate backfill plan` and `tidegate backfill run`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from prefect import flow, runtime
from prefect.client.schemas.objects import State
from prefect.states import Completed

from tidegate.operations import backfill as operation
from tidegate.operations.project import current_project


@flow(name="backfill", persist_result=False)
def backfill(
    dataset: str | None = None,
    prefix: str = "",
    since: datetime | None = None,
    until: datetime | None = None,
    states: list[str] | None = None,
    *,
    outdated_only: bool = True,
    dry_run: bool = False,
) -> State[Any]:
    """Send the chosen objects through `ingest` again; rows loaded before are replaced, not doubled.

    By default: loaded objects whose contract has a newer version than the one they were loaded
    with. `since` and `until` are upload times; `prefix` is of the whole key.
    """
    project = current_project()
    selection = operation.Selection(
        dataset=dataset,
        prefix=prefix,
        since=since,
        until=until,
        states=tuple(states or ("loaded",)),
        outdated_only=outdated_only,
    )
    if dry_run:
        chosen = operation.plan(project.ledger, project.registry, selection, project.store)
        return Completed(message=f"{len(chosen.objects)} objects would be processed again.")
    requested_by = f"backfill flow run {runtime.flow_run.get_name()}"
    chosen = operation.run(project.ledger, project.registry, selection, requested_by, project.store)
    return Completed(message=f"{len(chosen.objects)} objects are pending again.")
