"""`tidegate up`: start the whole system, keep it alive, and stop it without leaving a process.

The processes are an embedded Prefect server (unless the settings name another), sources and
dispatcher, and a worker. The supervisor watches them and owns nothing else: what has to survive
is in the ledger, the warehouse and the server's database, so any of them may be killed.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import json
import logging
import os
import signal
import sys
import uuid
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import psutil

from tidegate import clock
from tidegate.errors import TidegateError
from tidegate.ledger import open_ledger
from tidegate.operations import running
from tidegate.operations.recover import release_stopped_claims
from tidegate.operations.running import RunningSystem
from tidegate.prefect import server
from tidegate.prefect.drain import stop_worker
from tidegate.prefect.environment import prepare_home
from tidegate.prefect.processes import Child, rotate, tail
from tidegate.prefect.programs import DISPATCHER, SERVER, WORKER, Programs
from tidegate.settings import Settings, load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

log = logging.getLogger("tidegate.supervisor")

Kind = Literal["step", "ready", "already", "failed", "stopping", "stopped"]

#: Seconds that a server which is not ours gets to answer.
_EXTERNAL_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Report:
    """What `tidegate up` tells while it works."""

    kind: Kind
    text: str
    #: the end of a log that shows why
    tail: str = ""


class _StartError(TidegateError):
    """The system could not be started."""

    def __init__(self, message: str, tail: str) -> None:
        super().__init__(message)
        self.tail = tail


class Supervisor:
    """One `tidegate up`, from start to stop."""

    def __init__(self, settings: Settings, report: Callable[[Report], None]) -> None:
        self._settings = settings
        self._report = report
        self._mark = f"{running.project_mark(settings)}:{uuid.uuid4()}"
        self._children: list[Child] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._system: RunningSystem | None = None
        self._news = asyncio.Event()
        #: state and restarts of each child as last reported
        self._told: dict[str, tuple[str, int]] = {}

    async def run(self) -> int:
        """Start, stay until told to stop, stop. The exit code: 1 when it could not be started."""
        with _only_one(self._settings) as alone:
            if not alone:
                self._report(Report("already", "Another `tidegate up` runs for this project."))
                return 0
            self._listen_to_signals()
            port = None
            try:
                running.sweep(running.project_mark(self._settings))
                if self._settings.prefect_api_url is None:
                    server.check_parts()
                    port = server.reserve_port(self._settings.prefect.port)
                return await self._run(port.number if port else None)
            except TidegateError as error:
                self._report(Report("failed", str(error), getattr(error, "tail", "")))
                return 1
            finally:
                if port:
                    port.release()

    async def _run(self, port: int | None) -> int:
        programs = Programs(self._settings, self._mark, port)
        self._system = _new_system(self._mark, programs.api_url)
        prepare_home(self._settings)
        for path in running.log_dir(self._settings).glob("*.log"):
            rotate(path)
        try:
            await self._start(programs)
            if not self._stop.is_set():
                self._tell("ready")
                self._report(Report("ready", self._system.ui_url))
                await self._watch()
            return 0
        finally:
            await self._shut_down()
            await programs.close()

    # -- start ---------------------------------------------------------------------------------

    async def _start(self, programs: Programs) -> None:
        """Return when everything works or a stop is asked for; `_StartError` says what does not."""
        self._children = programs.children(self._changed)
        self._tell("starting")
        await programs.check_external(_EXTERNAL_SECONDS)
        self._tasks = [asyncio.create_task(child.keep(), name=child.program.name) for child in self._children]
        names = ", ".join(child.program.name for child in self._children)
        self._report(Report("step", f"Starting {names}"))
        ready = asyncio.create_task(self._all_work(programs))
        stop = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({ready, stop, *self._tasks}, return_when=asyncio.FIRST_COMPLETED)
            for task in self._tasks:
                if task.done():
                    task.result()
            if ready.done():
                ready.result()
        finally:
            ready.cancel()
            stop.cancel()
            await asyncio.gather(ready, stop, return_exceptions=True)

    async def _all_work(self, programs: Programs) -> None:
        deployed = asyncio.create_task(programs.deploy(self._say))
        try:
            while True:
                for child in self._children:
                    if child.state == "failing":
                        msg = f"{child.program.name} {child.detail}, {child.restarts} times in a row."
                        raise _StartError(msg, child.tail())
                if deployed.done():
                    problem = deployed.result()
                    if problem:
                        raise _StartError(problem, tail(programs.deploy_log))
                    if all(child.works.is_set() for child in self._children):
                        return
                await self._next_change(deployed)
        finally:
            deployed.cancel()
            await asyncio.gather(deployed, return_exceptions=True)

    async def _next_change(self, deployed: asyncio.Task[str]) -> None:
        self._news.clear()
        news = asyncio.create_task(self._news.wait())
        watched = {news} if deployed.done() else {news, deployed}
        await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
        news.cancel()

    def _changed(self) -> None:
        self._news.set()
        for child in self._children:
            name, told = child.program.name, self._told.get(child.program.name)
            if child.state in ("running", "failing") or child.restarts != (told or ("", 0))[1]:
                now = (child.state, child.restarts)
                if now != told:
                    self._told[name] = now
                    self._say(_told_of(child))
        if self._system is not None:
            self._tell(self._system.state)

    async def _watch(self) -> None:
        """Stay until a stop is asked for. A child that breaks for good ends the system."""
        stop = asyncio.create_task(self._stop.wait())
        await asyncio.wait({stop, *self._tasks}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        for task in self._tasks:
            if task.done():
                task.result()

    # -- stop ----------------------------------------------------------------------------------

    async def _shut_down(self) -> None:
        """Stop everything, the runs first; afterwards no process with our mark is left."""
        self._tell("stopping")
        self._report(Report("stopping", "Stopping"))
        by_name = {child.program.name: child for child in self._children}
        # Without a dispatcher no new run begins; the worker reports how its runs end to the server.
        if DISPATCHER in by_name:
            await by_name[DISPATCHER].stop()
        if WORKER in by_name:
            own = {pid for child in self._children if (pid := child.pid)}
            await stop_worker(by_name[WORKER], self._mark, own, self._hurry, self._say)
        if SERVER in by_name:
            await by_name[SERVER].stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.to_thread(running.sweep, self._mark)
        await asyncio.to_thread(self._give_back)
        running.forget(self._settings)
        self._report(Report("stopped", "Stopped"))

    def _give_back(self) -> None:
        """Make objects of runs that this stop has ended pending again."""
        try:
            with closing(open_ledger(self._settings)) as ledger:
                number = release_stopped_claims(ledger)
        except TidegateError as error:
            # The next start finds them by their dead processes.
            self._say(f"What was being worked on could not be given back: {error}")
        else:
            if number:
                self._say(f"Objects that were being worked on and wait for the next start: {number}")

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, self._asked_to_stop)

    def _asked_to_stop(self) -> None:
        """The first time stop in good order, the second time at once."""
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()

    # -- tell ----------------------------------------------------------------------------------

    def _say(self, text: str) -> None:
        self._report(Report("step", text))

    def _tell(self, state: str) -> None:
        """Write `up.json`."""
        if self._system is None:
            return
        system = self._system
        processes = tuple(child.snapshot() for child in self._children)
        self._system = replace(system, state=state, processes=processes)
        running.write(self._settings, self._system)


def _told_of(child: Child) -> str:
    if child.state == "running":
        return f"{child.program.name} works"
    return f"{child.program.name} {child.detail}; it is started again. Log: {child.program.log}"


def _new_system(mark: str, api_url: str) -> RunningSystem:
    return RunningSystem(
        pid=os.getpid(),
        pid_started=psutil.Process().create_time(),
        mark=mark,
        api_url=api_url,
        ui_url=running.ui_url_of(api_url),
        started_at=clock.now(),
        state="starting",
        processes=(),
    )


@contextmanager
def _only_one(settings: Settings) -> Iterator[bool]:
    """Whether this is the only `tidegate up` of the project; it stays so until the block ends.

    The kernel gives the lock back when the process dies, however it dies.
    """
    path = running.state_file(settings).with_suffix(".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def main() -> int:
    """The detached supervisor: tells its parent, by JSON lines on a file descriptor, how it goes."""
    parser = argparse.ArgumentParser(prog="tidegate.prefect.supervisor")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--report-to", type=int, required=True)
    asked = parser.parse_args()
    os.set_inheritable(asked.report_to, False)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    pipe = os.fdopen(asked.report_to, "w")

    def report(what: Report) -> None:
        log.info("%s: %s%s", what.kind, what.text, f"\n{what.tail}" if what.tail else "")
        if pipe.closed:
            return
        try:
            pipe.write(json.dumps(asdict(what)) + "\n")
            pipe.flush()
            if what.kind == "ready":
                pipe.close()
        except BrokenPipeError:
            log.info("whoever started this no longer listens")

    return asyncio.run(Supervisor(load_settings(asked.root), report).run())


if __name__ == "__main__":
    sys.exit(main())
