"""A child process is kept alive, and stopped, as the supervisor promises."""

from __future__ import annotations

import asyncio
import os
import sys
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tidegate.errors import NotReadyError, ServerUnavailableError
from tidegate.prefect.processes import Child, Program, RestartPolicy, rotate, tail

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

QUICK = RestartPolicy(
    first_seconds=0.02, longest_seconds=0.05, quick_seconds=5, quick_deaths=3, start_seconds=5
)
FOR_EVER = "import time; time.sleep(60)"


class Watched:
    """A child, and every state it went through."""

    def __init__(self, folder: Path, code: str, policy: RestartPolicy = QUICK, **about: Any) -> None:
        self.states: list[str] = []
        self.news = asyncio.Event()
        launcher = ("-m", "tidegate.prefect.child", "--gate", "timeit", "-n1", "-r1")
        command = (*launcher, code) if about.get("gated") else ("-c", code)
        program = Program(
            name="child",
            command=(sys.executable, *command),
            environment=dict(os.environ) | {"PYTHONPATH": os.pathsep.join(sys.path)},
            directory=folder,
            log=folder / "child.log",
            **about,
        )
        self.child = Child(program, self._changed, policy)

    def _changed(self) -> None:
        self.states.append(self.child.state)
        self.news.set()

    def has_died(self, times: int) -> bool:
        return self.child.restarts == times

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                self.news.clear()
                await self.news.wait()


def keep(watched: Watched, story: Callable[[Watched], Coroutine[Any, Any, None]]) -> None:
    """Keep the child alive while the story goes on, then stop it."""

    async def play() -> None:
        keeping = asyncio.create_task(watched.child.keep())
        telling = asyncio.create_task(story(watched))
        await asyncio.wait({keeping, telling}, return_when=asyncio.FIRST_COMPLETED)
        await watched.child.stop(5)
        await telling
        await keeping

    asyncio.run(play())


def test_a_killed_child_is_started_again(tmp_path: Path) -> None:
    async def story(watched: Watched) -> None:
        child = watched.child
        await child.works.wait()
        first = child.pid
        assert first is not None
        psutil.Process(first).kill()
        await watched.until(lambda: child.restarts == 1 and child.works.is_set())
        assert child.pid != first
        assert "signal 9" not in child.detail

    watched = Watched(tmp_path, FOR_EVER)
    keep(watched, story)
    assert watched.states[-1] == "stopped"
    assert "failing" not in watched.states


def test_a_child_that_dies_again_and_again_is_failing_and_its_log_says_why(tmp_path: Path) -> None:
    async def story(watched: Watched) -> None:
        await watched.until(lambda: watched.child.state == "failing")
        assert watched.child.detail == "ended with exit code 7"
        assert watched.child.tail() == "no such table"
        restarts = watched.child.restarts
        await watched.until(lambda: watched.child.restarts > restarts)

    keep(Watched(tmp_path, "import sys; print('no such table'); sys.exit(7)"), story)


def test_a_child_that_recovers_is_no_longer_failing(tmp_path: Path) -> None:
    mended, works = tmp_path / "mended", tmp_path / "works"
    code = (
        f"from pathlib import Path; import time; assert Path({str(mended)!r}).exists(); "
        f"Path({str(works)!r}).touch(); time.sleep(60)"
    )

    async def ready() -> None:
        if not works.exists():
            msg = "not yet"
            raise NotReadyError(msg)

    async def story(watched: Watched) -> None:
        await watched.until(lambda: watched.child.state == "failing")
        mended.touch()
        await watched.until(lambda: watched.child.state == "running")

    keep(Watched(tmp_path, code, ready=ready), story)


def test_the_first_restart_comes_at_once_and_the_pause_doubles(tmp_path: Path) -> None:
    moments: list[float] = []

    async def story(watched: Watched) -> None:
        loop = asyncio.get_running_loop()
        for deaths in range(1, 5):
            await watched.until(partial(watched.has_died, deaths))
            moments.append(loop.time())

    policy = RestartPolicy(first_seconds=0.2, longest_seconds=0.8, quick_seconds=5)
    keep(Watched(tmp_path, "raise SystemExit(1)", policy), story)
    pauses = [after - before for before, after in pairwise(moments)]
    assert pauses[0] >= 0.2
    assert pauses[1] >= 0.4
    assert pauses[2] >= 0.8


def test_ready_is_asked_until_it_is_true(tmp_path: Path) -> None:
    asked = 0

    async def ready() -> None:
        nonlocal asked
        asked += 1
        if asked < 3:
            raise ServerUnavailableError("not yet")

    async def story(watched: Watched) -> None:
        await watched.child.works.wait()
        assert asked == 3

    keep(Watched(tmp_path, FOR_EVER, ready=ready), story)


def test_a_child_that_never_gets_ready_is_ended(tmp_path: Path) -> None:
    async def never() -> None:
        await asyncio.Event().wait()

    async def story(watched: Watched) -> None:
        await watched.until(lambda: watched.child.restarts == 1)
        assert "not ready" in watched.child.detail

    policy = RestartPolicy(first_seconds=0.02, start_seconds=0.3)
    keep(Watched(tmp_path, FOR_EVER, policy, ready=never), story)


@pytest.mark.parametrize("gated", [False, True])
def test_a_child_waits_for_what_it_needs(tmp_path: Path, gated: bool) -> None:
    there, asked_again = asyncio.Event(), asyncio.Event()
    asked = 0

    async def when() -> None:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise ServerUnavailableError("not there")
        asked_again.set()
        await there.wait()

    async def story(watched: Watched) -> None:
        await asked_again.wait()
        assert not watched.child.works.is_set()
        assert (watched.child.pid is not None) == gated
        there.set()
        await watched.child.works.wait()

    keep(Watched(tmp_path, FOR_EVER, when=when, gated=gated), story)


def test_stop_ends_a_child_that_waits_for_what_never_comes(tmp_path: Path) -> None:
    async def when() -> None:
        await asyncio.Event().wait()

    async def story(_: Watched) -> None:
        await asyncio.sleep(0)

    keep(Watched(tmp_path, FOR_EVER, when=when), story)


def test_a_child_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    fifo = tmp_path / "deaf"
    os.mkfifo(fifo)
    code = (
        "import pathlib, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        f"pathlib.Path({str(fifo)!r}).write_text('deaf'); time.sleep(60)"
    )

    async def play() -> None:
        watched = Watched(tmp_path, code)
        keeping = asyncio.create_task(watched.child.keep())
        await asyncio.to_thread(fifo.read_text)
        pid = watched.child.pid
        await watched.child.stop(0.2)
        await keeping
        assert pid is not None
        assert not psutil.pid_exists(pid)

    asyncio.run(play())


def test_once_runs_a_program_one_time(tmp_path: Path) -> None:
    async def play() -> int:
        return await Watched(tmp_path, "raise SystemExit(3)").child.once()

    assert asyncio.run(play()) == 3


def test_a_large_log_begins_anew_and_the_one_before_is_kept(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("old" * 10)
    rotate(log, largest=100)
    assert log.exists()
    rotate(log, largest=10)
    assert not log.exists()
    assert (tmp_path / "x.log.1").read_text() == "old" * 10
    assert tail(log) == ""
