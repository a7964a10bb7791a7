"""The worker's side of warm children: one process, and the pool of them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import logging
    from collections.abc import Coroutine, Mapping

    from prefect_warm.configuration import Launch

#: How long a child that has nothing to do may take to end.
_LEAVE_SECONDS = 5.0
#: How long a child that imports keeps others from beginning to.
_IMPORT_SECONDS = 30.0


@dataclass(frozen=True)
class Outcome:
    """How a run ended for its child.

    `stale`: it was not begun, as the child's code is not that on disk or the child had ended.
    """

    code: int
    memory: int = 0
    stale: bool = False
    alive: bool = True


class ChildStartError(RuntimeError):
    """A child ended before it was ready."""


class Child:
    """A process that runs one flow run at a time."""

    def __init__(self, launch: Launch) -> None:
        self.launch = launch
        self.runs = 0
        self.starting: asyncio.Task[None] | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._reader: asyncio.StreamReader | None = None

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    @property
    def ended(self) -> bool:
        """True when it can take no more runs."""
        return self._reader is not None and (self._reader.at_eof() or self._returncode is not None)

    @property
    def _returncode(self) -> int | None:
        return self._process.returncode if self._process else None

    async def start(self) -> None:
        """Return when the child has everything imported; ChildStartError when it ended instead."""
        ours, theirs = socket.socketpair()
        try:
            await self._open(ours, theirs)
        except BaseException:
            ours.close()
            raise
        if await self._hear() is None:
            code = await self._process.wait() if self._process else None
            msg = (
                f"A warm child ended with exit code {code} before it was ready. Its output says why; "
                f"it ran in {self.launch.directory} and was to import {list(self.launch.preload)}."
            )
            raise ChildStartError(msg)

    async def _open(self, ours: socket.socket, theirs: socket.socket) -> None:
        with theirs:
            self._process = await asyncio.create_subprocess_exec(
                *self.launch.command,
                f"--channel={theirs.fileno()}",
                cwd=self.launch.directory,
                env=dict(self.launch.environment),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                # Ctrl-C in a terminal is for the worker, which lets runs finish.
                start_new_session=True,
            )
        self._reader, self._writer = await asyncio.open_connection(sock=ours)

    async def run(self, assignment: Mapping[str, Any]) -> Outcome:
        """Run a flow run to its end; `assignment` is what the child is told of it."""
        self.runs += 1
        self._tell(**assignment)
        reply = await self._hear()
        if reply is None:
            # It was about to end by itself, as its code was edited, when it was told of the run.
            return Outcome(code=0, stale=True, alive=False)
        if "begun" in reply:
            reply = await self._hear()
        if reply is None:
            return Outcome(code=await self._exit_code(), alive=False)
        if "stale" in reply:
            return Outcome(code=0, stale=True, alive=False)
        return Outcome(code=reply["code"], memory=reply["memory"], alive=reply["code"] == 0)

    def cancel(self, flow_run_id: str) -> None:
        """Ask for the end of a run; the child ends with it."""
        self._tell(cancel=flow_run_id)

    def suspend(self, flow_run_id: str, state: Any) -> None:
        """Ask a run to stop at its next task."""
        self._tell(suspend=flow_run_id, state=state)

    def kill(self) -> None:
        """End the process, and what it started, at once."""
        if self._process and self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def gone(self) -> None:
        """Return when the process has ended."""
        if self._process is not None:
            await self._process.wait()

    async def leave(self, seconds: float = _LEAVE_SECONDS) -> None:
        """Let a child that runs nothing end; after `seconds` it is killed."""
        if self._writer is not None:
            self._writer.close()
        if self._process is None:
            return
        try:
            await asyncio.wait_for(self._process.wait(), seconds)
        except TimeoutError:
            self.kill()
            await self._process.wait()

    def _tell(self, **message: object) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(json.dumps(message).encode() + b"\n")

    async def _hear(self) -> dict[str, Any] | None:
        """The next message; None when the child is gone."""
        if self._reader is None:
            return None
        try:
            line = await self._reader.readline()
        except ConnectionResetError:
            return None
        found: dict[str, Any] | None = json.loads(line) if line.endswith(b"\n") else None
        return found

    async def _exit_code(self) -> int:
        """Why a child that said nothing more is gone; never 0, as its run has no end."""
        if self._process is None:
            return 1
        return await self._process.wait() or 1


class Children:
    """At most `size` children; while fewer than that are busy, one is kept ready."""

    def __init__(self, size: int, logger: logging.Logger | logging.LoggerAdapter[Any]) -> None:
        self._size = size
        self._logger = logger
        self._idle: list[Child] = []
        self._busy: list[Child] = []
        self._leaving: set[asyncio.Task[None]] = set()
        self._guards: set[asyncio.Task[None]] = set()
        #: who waits: the child that starts for it, and the one that it is given instead
        self._waiting: list[tuple[Child, asyncio.Future[Child]]] = []
        # Imports take one processor each: all at once, they would hold up each other and the runs.
        self._importing = asyncio.Semaphore(max(1, (os.cpu_count() or 1) // 2))

    async def take(self, launch: Launch) -> Child:
        """A ready child for a run; ChildStartError when none can be started."""
        self._drop_ended()
        child = next((one for one in self._idle if one.launch == launch), None)
        if child is None:
            self._make_room()
            child = self._begin(launch)
        else:
            self._idle.remove(child)
        self._busy.append(child)
        self.keep_ready(launch)
        return await self._first_free(child)

    async def _first_free(self, child: Child) -> Child:
        """This child once it is ready, or one like it that is given back before."""
        freed: asyncio.Future[Child] = asyncio.get_running_loop().create_future()
        waiting = (child, freed)
        assert child.starting is not None  # noqa: S101 - set when it is made
        self._waiting.append(waiting)
        try:
            either: list[asyncio.Future[Any]] = [child.starting, freed]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if freed.done():
                return freed.result()
            await child.starting
        except BaseException:
            if freed.done():
                self.give_back(freed.result())
            else:
                self.retire(child)
            raise
        finally:
            self._waiting.remove(waiting)
        return child

    def give_back(self, child: Child) -> None:
        """Have it run others: what has waited longest for a child like it, or what comes."""
        self._busy.remove(child)
        self._idle.insert(0, child)
        self._offer(child)

    def _offer(self, child: Child) -> None:
        """Give an idle child to who waits for one like it; the one that is waited for is idle then."""
        for awaited, freed in self._waiting:
            if awaited.launch == child.launch and not freed.done() and awaited in self._busy:
                self._idle.remove(child)
                self._idle.append(awaited)
                self._busy[self._busy.index(awaited)] = child
                freed.set_result(child)
                return

    def retire(self, child: Child) -> None:
        """Have it end; it is no longer one of the pool's."""
        for children in (self._busy, self._idle):
            if child in children:
                children.remove(child)
        self._remember(self._leaving, self._end(child))

    def keep_ready(self, launch: Launch) -> None:
        """Start a child ahead of the next run, if there is room and none waits."""
        self._drop_ended()
        if not self._idle and len(self._busy) < self._size:
            self._idle.append(self._begin(launch))

    async def close(self) -> None:
        """End all idle children and wait until every child is gone."""
        for child in [*self._idle, *self._busy]:
            self.retire(child)
        while self._leaving:
            await asyncio.wait(self._leaving)
        for guard in self._guards:
            guard.cancel()

    def _begin(self, launch: Launch) -> Child:
        child = Child(launch)
        child.starting = asyncio.create_task(self._start(child))
        child.starting.add_done_callback(partial(self._started, child))
        self._remember(self._guards, self._guard(child))
        return child

    async def _start(self, child: Child) -> None:
        async with self._importing:
            starting = asyncio.create_task(child.start())
            try:
                # One that hangs must not hold up all others.
                await asyncio.wait([starting], timeout=_IMPORT_SECONDS)
            except asyncio.CancelledError:
                starting.cancel()
                # A process that is just being made ends with it.
                await asyncio.wait([starting])
                raise
        await starting

    def _started(self, child: Child, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return
        if error := task.exception():
            self._logger.error("%s", error)
        elif child in self._idle:
            self._offer(child)

    def _make_room(self) -> None:
        if self._idle and len(self._idle) + len(self._busy) >= self._size:
            self.retire(self._idle[-1])

    def _drop_ended(self) -> None:
        for child in list(self._idle):
            if child.ended or (child.starting and child.starting.done() and child.starting.exception()):
                self.retire(child)

    def _remember(self, tasks: set[asyncio.Task[None]], work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def _guard(self, child: Child) -> None:
        """Have another ready when an idle child ends by itself, as it does when its code was edited."""
        if child.starting is None:
            return
        await asyncio.wait([child.starting])
        if child.starting.cancelled() or child.starting.exception():
            return  # another would fail like it; the next run tries again
        await child.gone()
        if child in self._idle:
            self.retire(child)
            self.keep_ready(child.launch)

    async def _end(self, child: Child) -> None:
        if child.starting is not None and not child.starting.done():
            # It would go on importing for seconds before it heard that nobody wants it.
            child.kill()
            child.starting.cancel()
            await asyncio.wait([child.starting])
        await child.leave()
