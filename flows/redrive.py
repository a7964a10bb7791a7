"""Redrive: process what is held once more, under today's contract. Also `tidegate quarantine redrive`."""

from __future__ import annotations

from typing import Any

from prefect import flow, runtime
from prefect.client.schemas.objects import State
from prefect.states import Completed

from tidegate.operations import quarantine as operation
from tidegate.operations.project import current_project


@flow(name="redrive", persist_result=False)
def redrive(
    dataset: str | None = None,
    object: str | None = None,  # noqa: A002 - the word that the command line and the UI use
    rule: str | None = None,
    *,
    dry_run: bool = False,
) -> State[Any]:
    """Send held objects and rows through `ingest` again; rows that were loaded stay as they are.

    By default all that is held. `object` is a key, a URL, an object id or the end of a key.
    """
    project = current_project()
    selection = operation.Selection(dataset=dataset, object=object, rule=rule)
    if dry_run:
        plan = operation.plan_redrive(project, selection)
        return Completed(message=f"{plan.sentence()} would be taken up.")
    plan = operation.redrive(project, selection, f"redrive flow run {runtime.flow_run.get_name()}")
    return Completed(message=f"{plan.sentence()} taken up.")
