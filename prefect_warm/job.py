"""A run that the worker has claimed, and what it needs to know of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import Flow, FlowRun

    from prefect_warm.children import Child
    from prefect_warm.configuration import WarmJobConfiguration


class NotBegunError(RuntimeError):
    """Why no child was told to run a run that this worker had claimed."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(f"The run could not be started: {type(error).__name__}: {error}")


class Flows:
    """The server, asked once for each flow: what a run needs of one never changes."""

    def __init__(self, client: PrefectClient) -> None:
        self._client = client
        self._found: dict[UUID, Flow] = {}

    async def read_flow(self, flow_id: UUID) -> Flow:
        if flow_id not in self._found:
            self._found[flow_id] = await self._client.read_flow(flow_id)
        return self._found[flow_id]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


class Job:
    """A run and the child that has it."""

    def __init__(self, flow_run: FlowRun, configuration: WarmJobConfiguration) -> None:
        self.flow_run_id = flow_run.id
        self.configuration = configuration
        self.assignment = {
            "run": str(flow_run.id),
            "variables": dict(configuration.run_variables()),
            "flow_run": flow_run.model_dump(mode="json"),
            "deployment": configuration.where_the_flow_is(),
        }
        self.child: Child | None = None
        self.cancelled = False
        self.identifier = ""
