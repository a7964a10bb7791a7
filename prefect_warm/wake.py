"""Events of the server that concern a pool's runs: one was scheduled, one is to be cancelled or suspended."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.events.clients import get_events_subscriber
from prefect.events.filters import EventAnyResourceFilter, EventFilter, EventNameFilter

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun

_CANCELLING = "prefect.flow-run.Cancelling"
_SUSPENDED = "prefect.flow-run.Suspended"
_SCHEDULED = ("prefect.flow-run.Scheduled", "prefect.flow-run.AwaitingRetry")
_PREFIX = "prefect.flow-run."
#: Between attempts to reach the server's events again, and between looks for cancelled or suspended runs.
_AGAIN_SECONDS = 5.0

_logger = logging.getLogger(__name__)


class Listener(Protocol):
    """What is told of a pool's runs."""

    def wake(self) -> None: ...
    def running(self) -> list[UUID]: ...
    def cancel(self, flow_run_id: UUID) -> None: ...
    def suspend(self, flow_run: FlowRun) -> None: ...


async def watch_runs(client: PrefectClient, pool_id: UUID, listener: Listener) -> None:
    """Tell `listener` what happens, until cancelled; what events may have lost is asked for."""
    async with asyncio.TaskGroup() as both:
        both.create_task(_hear(client, pool_id, listener))
        both.create_task(_ask(client, listener))


async def _hear(client: PrefectClient, pool_id: UUID, listener: Listener) -> None:
    wanted = EventFilter(
        event=EventNameFilter(name=[*_SCHEDULED, _CANCELLING, _SUSPENDED]),
        any_resource=EventAnyResourceFilter(id=[f"prefect.work-pool.{pool_id}"]),
    )
    while True:
        try:
            async with get_events_subscriber(filter=wanted, reconnect_on_clean_close=True) as events:
                async for event in events:
                    if event.event in _SCHEDULED:
                        listener.wake()
                        continue
                    flow_run_id = UUID(event.resource.id.removeprefix(_PREFIX))
                    if event.event == _CANCELLING:
                        listener.cancel(flow_run_id)
                    elif flow_run_id in listener.running():
                        # An event is sent before its transaction ends; `_ask` sees what this misses.
                        _pass_on(await client.read_flow_run(flow_run_id), listener)
        except Exception:
            _logger.warning("The server's events can't be heard; runs are still polled for", exc_info=True)
        await asyncio.sleep(_AGAIN_SECONDS)


async def _ask(client: PrefectClient, listener: Listener) -> None:
    while True:
        await asyncio.sleep(_AGAIN_SECONDS)
        if not (running := listener.running()):
            continue
        try:
            found = await client.read_flow_runs(
                flow_run_filter=FlowRunFilter(
                    id=FlowRunFilterId(any_=running),
                    state=FlowRunFilterState(
                        type=FlowRunFilterStateType(any_=[StateType.CANCELLING, StateType.PAUSED])
                    ),
                )
            )
        except Exception:
            _logger.warning("Could not ask for cancelled and suspended runs", exc_info=True)
            continue
        for flow_run in found:
            _pass_on(flow_run, listener)


def _pass_on(flow_run: FlowRun, listener: Listener) -> None:
    state = flow_run.state
    if state is not None and state.is_cancelling():
        listener.cancel(flow_run.id)
    elif state is not None and state.is_paused() and state.name == "Suspended":
        listener.suspend(flow_run)
