"""The worker of type `warm`."""

from __future__ import annotations

import asyncio
import copy
import os
from typing import TYPE_CHECKING, Any, cast

import anyio
import anyio.abc
from prefect._internal.infrastructure_exit_codes import get_infrastructure_exit_info
from prefect.exceptions import InfrastructureNotFound, ObjectNotFound
from prefect.states import Pending
from prefect.workers.base import BaseWorker, BaseWorkerResult

from prefect_warm.children import Child, Children, ChildStartError, Outcome
from prefect_warm.configuration import WarmJobConfiguration, WarmVariables
from prefect_warm.job import Flows, Job, NotBegunError
from prefect_warm.wake import watch_runs

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun
    from prefect.client.schemas.responses import DeploymentResponse, WorkerFlowRunResponse

    from prefect_warm.configuration import Launch

#: A fresh child's code can be stale only when somebody saves files at that very moment.
_ATTEMPTS = 3
#: An event is sent before its transaction ends: the run may show only a moment later. No more
#: looks than these: each has the server write when queues were polled, and SQLite has one writer.
_LOOK_SECONDS = (0.0, 0.15)
#: A run that is over sooner is described after its end.
_DESCRIBE_SECONDS = 5.0
_MEGABYTE = 1024 * 1024


class WarmWorkerResult(BaseWorkerResult):
    """How a run's child ended."""


class WarmWorker(BaseWorker[WarmJobConfiguration, WarmVariables, WarmWorkerResult]):
    """Runs flow runs in child processes that have Prefect and the flows imported.

    It keeps at most `limit` children (as many as there are processors, when no limit is given). It
    looks for runs when an event says that one was scheduled, when a child becomes free, and every
    PREFECT_WORKER_QUERY_SECONDS.

    What it does not do: write the state `Submitting`; run a flow's `on_crashed` hooks when the child
    died, as nothing is left to run them in; send heartbeats; run ad-hoc flows (`worker.submit`) other
    than the base class does.
    """

    type = "warm"
    job_configuration = WarmJobConfiguration
    job_configuration_variables = WarmVariables
    _description = "Execute flow runs in child processes that have everything imported already."
    _display_name = "Warm"

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._size = self._limit = self._limit or os.cpu_count() or 1
        self._jobs: dict[UUID, Job] = {}
        self._children: Children | None = None
        self._woken = asyncio.Event()
        self._looking = asyncio.Lock()
        self._more_wait = False
        self._background: list[asyncio.Task[None]] = []
        self._describing: set[asyncio.Task[None]] = set()

    # -- life ----------------------------------------------------------------------------------

    async def _initialize_after_sync(self) -> None:
        await super()._initialize_after_sync()
        if self._has_successfully_synced and self._children is None:
            self._flows = Flows(self.client)
            self._children = Children(self._size, self._logger)
            self._children.keep_ready(await self._usual_launch())
            self._background = [
                asyncio.create_task(watch_runs(self.client, self.work_pool.id, self)),
                asyncio.create_task(self._look_when_woken()),
            ]

    async def teardown(self, *exc_info: Any) -> None:
        """Stop looking for runs, let those that run finish within their grace time, end the children."""
        for task in self._background:
            task.cancel()
        try:
            await super().teardown(*exc_info)
        finally:
            for task in self._describing:
                task.cancel()
            if self._children is not None:
                with anyio.CancelScope(shield=True):
                    await self._children.close()
                self._children = None

    async def _usual_launch(self) -> Launch:
        template = self.work_pool.base_job_template
        usual = await WarmJobConfiguration.from_template_and_values(template, {}, client=self.client)
        return cast("WarmJobConfiguration", usual).launch()

    # -- looking for runs ----------------------------------------------------------------------

    def wake(self) -> None:
        """Look for runs now."""
        self._woken.set()

    def running(self) -> list[UUID]:
        """The runs that children have."""
        return list(self._jobs)

    async def get_and_submit_flow_runs(self) -> list[FlowRun]:
        """One look at a time: two would submit the same runs."""
        async with self._looking:
            return await super().get_and_submit_flow_runs()

    async def _submit_scheduled_flow_runs(
        self, flow_run_response: list[WorkerFlowRunResponse]
    ) -> list[FlowRun]:
        new = [one for one in flow_run_response if one.flow_run.id not in self._submitting_flow_run_ids]
        # A run that is at its end here and was scheduled anew waits, too.
        known = len(flow_run_response) - len(new)
        self._more_wait = bool(known) or len(new) > self.limiter.available_tokens
        return await super()._submit_scheduled_flow_runs(new)

    async def _look_when_woken(self) -> None:
        while True:
            await self._woken.wait()
            self._woken.clear()
            for pause in _LOOK_SECONDS:
                await asyncio.sleep(pause)
                if self.limiter.available_tokens < 1:
                    break
                try:
                    if await self.get_and_submit_flow_runs():
                        break
                except Exception:
                    self._logger.warning("Could not look for runs after an event", exc_info=True)
                    break

    # -- runs ----------------------------------------------------------------------------------

    async def _submit_run(self, flow_run: FlowRun) -> None:
        """Claim a run and see it to its end.

        The base class asks the server for the deployment twice, and writes a state `Submitting`,
        labels and a process id before it begins a run: half of the time that a warm run takes to
        start, and as many writes of a database that may have one writer. Here the state is left out
        and the others follow later.
        """
        try:
            configuration = await self._claim(flow_run)
            if configuration is not None:
                await self._see_through(flow_run, configuration)
        except ObjectNotFound as error:
            message = f"Something that the run needs is gone from the server: {error}"
            await self._mark_flow_run_as_cancelled(flow_run, state_updates={"message": message})
        except NotBegunError as error:
            self.get_flow_run_logger(flow_run).error("%s", error, exc_info=error.__cause__)
            await self._propose_crashed_state(flow_run, str(error))
        except Exception:  # noqa: BLE001 - it is told to the run's log
            # The run may well go on or have ended: its state is told by whoever runs it.
            self.get_flow_run_logger(flow_run).exception("The worker lost sight of the run")
        finally:
            self._release_limit_slot(flow_run.id)
            self._submitting_flow_run_ids.discard(flow_run.id)
            if self._cancelling_observer is not None:
                self._cancelling_observer.remove_in_flight_flow_run_id(flow_run.id)
            if self._more_wait:
                asyncio.get_running_loop().call_soon(self.wake)

    async def _claim(self, flow_run: FlowRun) -> WarmJobConfiguration | None:
        """The run's configuration, once the server has given the run to this worker; else None."""
        claimed, deployment = await asyncio.gather(
            self._propose_pending_state(flow_run), self._deployment_of(flow_run), return_exceptions=True
        )
        if claimed is not True:
            return None
        flow_run.state = Pending()
        if isinstance(deployment, ObjectNotFound):
            raise deployment
        if isinstance(deployment, BaseException):
            raise NotBegunError(deployment) from deployment
        try:
            return await self.job_configuration.resolve_for_flow_run(
                flow_run,
                client=cast("PrefectClient", self._flows),
                work_pool=copy.deepcopy(self.work_pool),
                worker_name=self.name,
                worker_id=self.backend_id,
                deployment=deployment,
            )
        except ObjectNotFound:
            raise
        except Exception as error:
            raise NotBegunError(error) from error

    async def _deployment_of(self, flow_run: FlowRun) -> DeploymentResponse | None:
        if flow_run.deployment_id is None:
            return None
        return await self.client.read_deployment(flow_run.deployment_id)

    async def _see_through(self, flow_run: FlowRun, configuration: WarmJobConfiguration) -> None:
        over = asyncio.Event()
        describing = asyncio.create_task(self._describe(flow_run, configuration, over))
        self._describing.add(describing)
        describing.add_done_callback(self._describing.discard)
        try:
            result = await self.run(flow_run, configuration)
            if result.status_code:
                info = get_infrastructure_exit_info(result.status_code)
                message = f"The run's process ended with exit code {result.status_code}. {info.explanation}"
                await self._propose_crashed_state(flow_run, message)
        except ChildStartError as error:
            raise NotBegunError(error) from error
        finally:
            over.set()

    async def _describe(
        self, flow_run: FlowRun, configuration: WarmJobConfiguration, over: asyncio.Event
    ) -> None:
        """Tell the server what nobody waits for: who runs this, and that it was submitted."""
        with anyio.move_on_after(_DESCRIBE_SECONDS):
            await over.wait()
        try:
            self._emit_flow_run_submitted_event(configuration)
            await self._give_worker_labels_to_flow_run(flow_run.id)
            if (job := self._jobs.get(flow_run.id)) and job.identifier:
                await self.client.update_flow_run(flow_run.id, infrastructure_pid=job.identifier)
        except Exception:
            self._logger.warning("Could not describe run %s", flow_run.id, exc_info=True)

    async def run(
        self,
        flow_run: FlowRun,
        configuration: WarmJobConfiguration,
        task_status: anyio.abc.TaskStatus[Any] | None = None,
    ) -> WarmWorkerResult:
        """Run a flow run in a child, and wait for its end."""
        job = self._jobs[flow_run.id] = Job(flow_run, configuration)
        status = task_status or anyio.TASK_STATUS_IGNORED
        try:
            outcome = await self._run_job(job, status)
            code = await self._conclude(job, flow_run, outcome)
            return WarmWorkerResult(identifier=job.identifier, status_code=code)
        finally:
            del self._jobs[flow_run.id]

    async def _run_job(self, job: Job, status: anyio.abc.TaskStatus[Any]) -> Outcome:
        children = self._children
        assert children is not None  # noqa: S101 - runs come only after the first sync
        launch = job.configuration.launch()
        outcome = Outcome(code=1, alive=False)
        for attempt in range(_ATTEMPTS):
            job.child = await children.take(launch)
            if not attempt:
                job.identifier = f"{job.child.pid}:{job.child.runs + 1}"
                status.started(job.identifier)
            if job.cancelled:
                children.give_back(job.child)
                return Outcome(code=0)
            try:
                outcome = await self._watch(job, job.child)
            finally:
                self._after_run(children, job, outcome)
            if not outcome.stale or job.cancelled:
                return outcome
        self._logger.error("No child began run %s: they ended, or its code kept changing", job.flow_run_id)
        return Outcome(code=1, alive=False)

    async def _watch(self, job: Job, child: Child) -> Outcome:
        """The child's outcome; when the worker is told to stop, the run has its grace time for it."""
        running = asyncio.create_task(child.run(job.assignment))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            with anyio.CancelScope(shield=True):
                with anyio.move_on_after(job.configuration.grace_seconds):
                    await asyncio.shield(running)
                if not running.done():
                    child.kill()
                await self._stopped(job, await running)
            raise

    async def _stopped(self, job: Job, outcome: Outcome) -> None:
        """Report a run that the worker's end has cut off: nobody else is left to do it."""
        flow_run = await self.client.read_flow_run(job.flow_run_id)
        if await self._conclude(job, flow_run, outcome):
            grace = job.configuration.grace_seconds
            message = f"The worker was stopped and the run did not finish in its grace time of {grace:g} s."
            await self._propose_crashed_state(flow_run, message)

    def _after_run(self, children: Children, job: Job, outcome: Outcome) -> None:
        child, settings = job.child, job.configuration
        job.child = None
        if child is None:
            return
        too_many = 0 < settings.runs_per_child <= child.runs
        too_big = 0 < settings.memory_limit_mb * _MEGABYTE < outcome.memory
        if outcome.alive and not (too_many or too_big or job.cancelled):
            children.give_back(child)
        else:
            children.retire(child)
            if self.is_setup:
                children.keep_ready(child.launch)

    async def _conclude(self, job: Job, flow_run: FlowRun, outcome: Outcome) -> int:
        """The code to report: 0 when the run has its end, be it by itself or by a cancel."""
        if outcome.code == 0 and not job.cancelled:
            return 0
        found = await self.client.read_flow_run(flow_run.id)
        if found.state and (found.state.is_final() or found.state.is_paused()):
            return 0
        if job.cancelled or (found.state and found.state.is_cancelling()):
            message = {"message": "The run was cancelled and its process ended."}
            await self._mark_flow_run_as_cancelled(found, state_updates=message)
            return 0
        return outcome.code or 1

    # -- cancelling ----------------------------------------------------------------------------

    def cancel(self, flow_run_id: UUID) -> None:
        """End a run that a child has; nothing when no child has it."""
        job = self._jobs.get(flow_run_id)
        if job is None or job.cancelled:
            return
        job.cancelled = True
        if job.child is not None:
            job.child.cancel(str(flow_run_id))
            grace = job.configuration.grace_seconds
            asyncio.get_running_loop().call_later(grace, self._end_of_patience, job)

    def suspend(self, flow_run: FlowRun) -> None:
        """Have a run that a child has stop at its next task."""
        job = self._jobs.get(flow_run.id)
        if job is not None and job.child is not None and flow_run.state is not None:
            job.child.suspend(str(flow_run.id), flow_run.state.model_dump(mode="json"))

    async def kill_infrastructure(
        self, infrastructure_pid: str, configuration: WarmJobConfiguration, grace_seconds: int = 30
    ) -> None:
        """End the child of a run that was cancelled before it began."""
        for job in self._jobs.values():
            if job.identifier == infrastructure_pid:
                self.cancel(job.flow_run_id)
                return
        msg = f"No child of this worker has the run {infrastructure_pid!r}."
        raise InfrastructureNotFound(msg)

    def _end_of_patience(self, job: Job) -> None:
        if job.child is not None:
            job.child.kill()
