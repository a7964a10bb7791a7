"""Suspend a run from outside. The worker hears of it and tells the child.

Prefect's engine opens a connection of its own to the server's events for each run, which takes
longer than all else that it does before the flow begins.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from uuid import UUID

from prefect import _flow_run_suspension, flow_engine
from prefect.client.schemas.objects import State

if TYPE_CHECKING:
    from collections.abc import Iterator


def hear_from_worker() -> None:
    """From now on runs of this process listen to `suspend` alone."""
    flow_engine.observe_flow_run_suspension = _observe_nothing  # type: ignore[attr-defined]


def suspend(flow_run_id: str, state: Any) -> None:
    """Have the run stop at its next task or end, if it is at work here."""
    _flow_run_suspension.mark_flow_run_suspension_requested(UUID(flow_run_id), State.model_validate(state))


@contextmanager
def _observe_nothing(*_args: object, **_options: object) -> Iterator[None]:
    yield
