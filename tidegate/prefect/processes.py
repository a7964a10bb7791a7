"""Keep a child process alive: start it when it may, see when it is ready, start it again when it dies."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from tidegate import clock
from tidegate.errors import RetryableError
from tidegate.events.model import iso
from tidegate.operations.running import ProcessState

if TYPE_CHECKING:
    from pathlib import Path

State = Literal["waiting", "starting", "running", "failing", "stopped"]

#: Something to wait for; RetryableError puts it off.
Step = Callable[[], Coroutine[Any, Any, None]]

_LOOK_SECONDS = 0.1
_TAIL_LINES = 20
#: Begins the line in a log that tells of a start.
_STARTED = "--- started "


@dataclass(frozen=True, kw_only=True, slots=True)
class RestartPolicy:
    """How soon a dead process is started again, and when that is called failing."""

    first_seconds: float = 0.5
    #: the pause doubles up to this
    longest_seconds: float = 30.0
    #: a process that lived shorter than this died quickly
    quick_seconds: float = 15.0
    #: this many quick deaths in a row are a failure that a person should see
    quick_deaths: int = 3
    #: a process that is not ready after this long is ended as if it had died
    start_seconds: float = 120.0


def usual_stop_seconds() -> float:
    """Enough for a process that has nothing to finish."""
    return 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Program:
    """What to run, and how to know that it works."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    directory: Path
    log: Path
    #: returns when the program may start (again); RetryableError puts it off
    when: Step | None = None
    #: returns when the program works; None: it does so from its start
    ready: Step | None = None
    #: start the process at once and hold it at its gate (`tidegate.prefect.child`) until `when`
    gated: bool = False
    #: seconds that the process gets to stop before it is killed, asked when it is to stop
    stop_seconds: Callable[[], float] = usual_stop_seconds


@dataclass(slots=True)
class Child:
    """One process, kept alive until `stop`. `changed` is called after every change of state."""

    program: Program
    changed: Callable[[], None]
    policy: RestartPolicy = field(default_factory=RestartPolicy)
    state: State = "waiting"
    #: why it is not running
    detail: str = ""
    restarts: int = 0
    #: set while the process works
    works: asyncio.Event = field(default_factory=asyncio.Event)
    _process: asyncio.subprocess.Process | None = None
    _deaths: int = 0
    _began: float = 0.0
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def pid(self) -> int | None:
        """The pid of the living process."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    def snapshot(self) -> ProcessState:
        """The state as `up.json` has it."""
        return ProcessState(
            name=self.program.name,
            state=self.state,
            pid=self.pid,
            restarts=self.restarts,
            detail=self.detail,
            log=str(self.program.log),
        )

    async def keep(self) -> None:
        """Start the process, and again whenever it dies, until `stop` was called."""
        loop = asyncio.get_running_loop()
        while not self._stopping.is_set():
            if not self.program.gated:
                await self._may_start()
                if self._stopping.is_set():
                    break
            process = await self._start()
            self._began = loop.time()
            self.detail = await self._live(process)
            if self._stopping.is_set():
                break
            self.restarts += 1
            quick = loop.time() - self._began < self.policy.quick_seconds
            self._deaths = self._deaths + 1 if quick else 0
            failing = self._deaths >= self.policy.quick_deaths
            self._change("failing" if failing else "waiting", self.detail)
            await self._pause()
        self._change("stopped", "")

    async def once(self) -> int:
        """Run the program one time, as soon as it may start; its exit code."""
        if not self.program.gated:
            await self._may_start()
        process = await self._start()
        await self._live(process)
        return await process.wait()

    async def stop(self, patience: float | None = None) -> None:
        """SIGTERM, and SIGKILL after `patience` (or the program's) seconds; returns when it is gone."""
        self._stopping.set()
        process = self._process
        if process is None or process.returncode is not None:
            return
        _send(process.terminate)
        try:
            patience = self.program.stop_seconds() if patience is None else patience
            await asyncio.wait_for(process.wait(), patience)
        except TimeoutError:
            _send(process.kill)
            await process.wait()

    def tail(self) -> str:
        """The end of its log."""
        return tail(self.program.log)

    # -- one life ------------------------------------------------------------------------------

    async def _start(self) -> asyncio.subprocess.Process:
        program = self.program
        self._change("starting", self.detail)
        program.log.parent.mkdir(parents=True, exist_ok=True)
        with program.log.open("ab") as log:
            log.write(f"\n{_STARTED}{iso(clock.now())} {' '.join(program.command)}\n".encode())
            log.flush()
            self._process = await asyncio.create_subprocess_exec(
                *program.command,
                cwd=program.directory,
                env=dict(program.environment),
                stdin=asyncio.subprocess.PIPE if program.gated else asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C in a terminal goes to the foreground group: the supervisor alone decides
                # in which order its children stop.
                start_new_session=True,
            )
        self._change("starting", self.detail)
        return self._process

    async def _live(self, process: asyncio.subprocess.Process) -> str:
        """From start to death; how it died."""
        ended = asyncio.ensure_future(process.wait())
        try:
            if self.program.gated and await _first(self._pass_gate(process), ended):
                return _death(await ended)
            late = f"was not ready after {self.policy.start_seconds:.0f} s"
            try:
                async with asyncio.timeout(self.policy.start_seconds):
                    if await _first(self._become_ready(), ended):
                        return _death(await ended)
            except TimeoutError:
                _send(process.kill)
                await ended
                return late
            self.works.set()
            self._change("running", "")
            return _death(await ended)
        finally:
            self.works.clear()
            ended.cancel()

    async def _pass_gate(self, process: asyncio.subprocess.Process) -> None:
        await self._may_start()
        self._began = asyncio.get_running_loop().time()
        if process.stdin is not None and not self._stopping.is_set():
            process.stdin.write(b"go\n")
            process.stdin.close()

    async def _become_ready(self) -> None:
        while self.program.ready is not None:
            try:
                await self.program.ready()
            except RetryableError as error:
                # Only asking finds out whether it works by now.
                self.detail = str(error)
                await asyncio.sleep(_LOOK_SECONDS)
            else:
                return

    async def _may_start(self) -> None:
        """Wait for what the program needs, or for `stop`."""
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            while self.program.when is not None:
                try:
                    await _first(self.program.when(), stopping)
                except RetryableError as error:
                    self._change(self.state, str(error))
                    await self._pause()
                else:
                    return
        finally:
            stopping.cancel()

    async def _pause(self) -> None:
        """The pause before the next start; `stop` ends it."""
        seconds = self.policy.first_seconds * 2 ** min(max(self._deaths - 1, 0), 16)
        try:
            await asyncio.wait_for(self._stopping.wait(), min(seconds, self.policy.longest_seconds))
        except TimeoutError:
            return

    def _change(self, state: State, detail: str) -> None:
        self.state, self.detail = state, detail
        self.changed()


def tail(path: Path, lines: int = _TAIL_LINES) -> str:
    """The last lines that the program's last life left in its log; empty when there is no log."""
    if not path.exists():
        return ""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 16_384))
        text = file.read().decode("utf-8", "replace")
    last_life = text.rpartition(f"\n{_STARTED}")[2]
    return "\n".join(last_life.splitlines()[1:][-lines:])


def rotate(path: Path, largest: int = 5_000_000) -> None:
    """Begin a log anew when it has grown large; the one before is kept as ``<name>.1``."""
    if path.exists() and path.stat().st_size > largest:
        path.replace(path.with_name(path.name + ".1"))


async def _first(work: Coroutine[Any, Any, None], end: asyncio.Future[Any]) -> bool:
    """Do `work` unless `end` comes first; whether it came first. What `work` raises is raised."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task, end}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    if task.cancelled():
        return True
    task.result()
    return end.done()


def _death(code: int) -> str:
    return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"


def _send(signal: Callable[[], None]) -> None:
    try:
        signal()
    except ProcessLookupError:
        # It ended by itself a moment ago; that is what was wanted.
        return
