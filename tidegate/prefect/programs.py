"""What `tidegate up` runs: the Prefect server, sources and dispatcher, the worker, the deployments."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING

import psutil

from tidegate.errors import NotReadyError, ServerUnavailableError
from tidegate.operations.running import MARK_VARIABLE, forget_ready, is_ready, log_dir
from tidegate.prefect.api import PrefectApi
from tidegate.prefect.deployments import FILE_NAME, Deployments
from tidegate.prefect.environment import prefect_environment, server_variables
from tidegate.prefect.pool import GRACE_SECONDS, POOL_TYPE, ensure_pool, grace_seconds
from tidegate.prefect.processes import Child, Program, usual_stop_seconds
from tidegate.prefect.server import HOST

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidegate.prefect.processes import Step
    from tidegate.settings import Settings

SERVER, DISPATCHER, WORKER, DEPLOY = "server", "dispatcher", "worker", "deploy"

#: The worker's name on the Prefect server.
WORKER_NAME = "tidegate"
#: Imported while the server still boots.
#: The last one makes the worker's type known, whether or not this project is installed.
_WORKER_IMPORTS = ("prefect.cli.worker", "prefect.cli._worker_utils", "prefect_warm.worker")
#: Polars reads these when it starts. With pieces of 20,000 rows instead of 100,000, few of them held
#: before a join, lookups over 16 M rows peak at a third of the memory.
_SMALL_PIECES = {"POLARS_IDEAL_MORSEL_SIZE": "20000", "POLARS_JOIN_SAMPLE_LIMIT": "1000"}
_DEPLOY_IMPORTS = ("prefect.cli.deploy._commands", "prefect.client.orchestration")
#: Seconds beyond the runs' grace time in which the worker reports how they ended.
_LAST_WORDS = 10.0
#: Seconds in which a source finds that what it was told to watch is not there.
_FIRST_LOOK_SECONDS = 1.0
_MOST_DOUBLINGS = 3


class Programs:
    """The programs of one `tidegate up`; `port` is where the embedded server listens, if any."""

    def __init__(self, settings: Settings, mark: str, port: int | None) -> None:
        self._settings = settings
        self._mark = mark
        self._port = port
        self.api_url = settings.prefect_api_url or f"http://{HOST}:{port}/api"
        self._api = PrefectApi(self.api_url)
        self._server: Child | None = None
        self._dispatcher: Child | None = None
        self._pool = asyncio.Lock()
        self._grace = GRACE_SECONDS
        self._deployments = Deployments(settings)
        self.deploy_log = log_dir(settings) / f"{DEPLOY}.log"

    async def close(self) -> None:
        """Let go of the connection to the server."""
        await self._api.close()

    async def check_external(self, seconds: float) -> None:
        """ServerUnavailableError when a server that is not ours does not answer within `seconds`."""
        if self._port is None:
            await self._api.wait_until_healthy(seconds)

    def children(self, changed: Callable[[], None]) -> list[Child]:
        """The processes to keep alive."""
        dispatcher = self._program(DISPATCHER, "tidegate.prefect.dispatcher", ready=self._dispatches)
        self._dispatcher = Child(dispatcher, changed)
        forget_ready(self._settings, DISPATCHER)
        children = [self._dispatcher, Child(self._worker(), changed)]
        if self._port is not None:
            self._server = Child(self._prefect_server(self._port), changed)
            children.insert(0, self._server)
        return children

    async def deploy(self, say: Callable[[str], None]) -> str:
        """Register what prefect.yaml declares, when the server lacks it; what went wrong, or nothing."""
        deployments = self._deployments
        if not deployments.declared:
            say(f"There is no {FILE_NAME} in {self._settings.root}: no flow is registered")
            return ""
        fingerprint = deployments.fingerprint()
        if not deployments.changed():
            await self._pool_is_there()
            if not deployments.missing(await self._api.deployments()):
                say("deployments are registered already")
                return ""
        code = await self._deploy_once()
        if code:
            return f"`prefect deploy --all` ended with exit code {code}."
        deployments.remember(fingerprint, await self._api.deployments())
        say("deployments are registered")
        return ""

    # -- programs ------------------------------------------------------------------------------

    def _prefect_server(self, port: int) -> Program:
        return self._program(
            SERVER,
            *("prefect", "server", "start", "--host", HOST, "--port", str(port)),
            variables=server_variables(self._settings, port),
            preload=("tidegate.prefect.one_writer",),
            ready=self._serves,
        )

    def _worker(self) -> Program:
        prefect = self._settings.prefect
        pool = prefect.work_pool
        last_sign: list[str | None] = [None]

        async def when() -> None:
            await self._pool_is_there()
            known = await self._api.worker(pool, WORKER_NAME)
            last_sign[0] = known["last_heartbeat_time"] if known else None

        async def ready() -> None:
            await self._api.wait_for_worker(pool, WORKER_NAME, last_sign[0])

        return self._program(
            WORKER,
            *("prefect", "worker", "start", "--pool", pool, "--type", POOL_TYPE, "--name", WORKER_NAME),
            # Made by itself, the pool would lack this project's defaults.
            *("--limit", str(prefect.worker_limit), "--no-create-pool-if-not-found"),
            variables={name: os.environ.get(name, value) for name, value in _SMALL_PIECES.items()},
            preload=_WORKER_IMPORTS,
            when=when,
            ready=ready,
            stop_seconds=lambda: self._grace + _LAST_WORDS,
        )

    def _program(
        self,
        name: str,
        *words: str,
        variables: dict[str, str] | None = None,
        preload: tuple[str, ...] = (),
        when: Step | None = None,
        ready: Step | None = None,
        stop_seconds: Callable[[], float] = usual_stop_seconds,
    ) -> Program:
        settings = self._settings
        launcher = (sys.executable, "-m", "tidegate.prefect.child", "--parent", str(os.getpid()))
        gated = bool(preload) and when is not None
        gate = (*(("--gate",) if gated else ()), *(f"--preload={module}" for module in preload))
        environment = prefect_environment(settings, self.api_url) | (variables or {})
        return Program(
            name=name,
            command=(*launcher, *gate, *words),
            environment=environment | {MARK_VARIABLE: self._mark, "PYTHONUNBUFFERED": "1"},
            directory=settings.root,
            log=log_dir(settings) / f"{name}.log",
            when=when,
            ready=ready,
            gated=gated,
            stop_seconds=stop_seconds,
        )

    async def _deploy_once(self) -> int:
        program = self._program(
            *(DEPLOY, "prefect", "--no-prompt", "deploy", "--all"),
            preload=(*_DEPLOY_IMPORTS, *self._deployments.modules()),
            when=self._pool_is_there,
        )
        child = Child(program, lambda: None)
        try:
            return await child.once()
        finally:
            await child.stop(1)

    # -- the state of the server ---------------------------------------------------------------

    async def _serves(self) -> None:
        """Return when our server answers, and not a stranger on its port."""
        await self._api.check_health()
        pid = self._server.pid if self._server else None
        if pid is not None and not _listens(pid, self._port):
            msg = f"Another program answers on port {self._port}."
            raise ServerUnavailableError(msg)

    async def _dispatches(self) -> None:
        """Return when contracts and settings are read, and the sources have had a moment to look."""
        child = self._dispatcher
        if child is None or (pid := child.pid) is None:
            return
        # Who died before has to prove itself for longer.
        seconds = _FIRST_LOOK_SECONDS * 2 ** min(child.restarts, _MOST_DOUBLINGS)
        if not is_ready(self._settings, DISPATCHER, pid, seconds):
            msg = "It reads contracts and settings."
            raise NotReadyError(msg)

    async def _pool_is_there(self) -> None:
        if self._server is not None:
            await self._server.works.wait()
        async with self._pool:
            self._grace = grace_seconds(await ensure_pool(self._api, self._settings))


def _listens(pid: int, port: int | None) -> bool:
    try:
        open_ports = psutil.Process(pid).net_connections(kind="tcp")
    except psutil.Error:
        return False
    return any(one.status == psutil.CONN_LISTEN and one.laddr.port == port for one in open_ports)
