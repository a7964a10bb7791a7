"""A warm child without a server: how it begins and how it ends."""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from prefect_warm.children import Child, Children, ChildStartError
from prefect_warm.configuration import WarmJobConfiguration

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def two_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    """With more, children import side by side, and which is ready first is anyone's guess."""
    monkeypatch.setattr(os, "cpu_count", lambda: 2)


@asynccontextmanager
async def pool(size: int) -> AsyncIterator[Children]:
    children = Children(size, logging.getLogger(__name__))
    try:
        yield children
    finally:
        await children.close()


def configuration(folder: Path, *preload: str) -> WarmJobConfiguration:
    return WarmJobConfiguration(working_dir=folder, preload=list(preload))


def test_a_child_ends_when_the_worker_is_gone(tmp_path: Path) -> None:
    async def live() -> None:
        child = Child(configuration(tmp_path).launch())
        await child.start()
        assert child._writer is not None
        child._writer.close()
        await asyncio.wait_for(child.gone(), 10)

    asyncio.run(live())


def test_a_run_that_a_child_was_told_of_too_late_is_for_another_child(tmp_path: Path) -> None:
    """An idle child whose code was edited ends by itself, and may do so at that very moment."""

    async def live() -> None:
        child = Child(configuration(tmp_path).launch())
        await child.start()
        os.kill(child.pid, signal.SIGSTOP)
        running = asyncio.create_task(child.run({"run": "late"}))
        await asyncio.sleep(0)
        child.kill()
        outcome = await running
        await child.leave()
        assert (outcome.stale, outcome.alive) == (True, False)

    asyncio.run(live())


def test_a_module_that_cannot_be_imported_is_an_error_that_names_it(tmp_path: Path) -> None:
    async def live() -> None:
        async with pool(2) as children:
            with pytest.raises(ChildStartError, match="no_such_module"):
                await children.take(configuration(tmp_path, "no_such_module").launch())

    asyncio.run(live())


def test_a_run_that_waits_for_a_child_takes_one_that_is_free_sooner(tmp_path: Path) -> None:
    async def live() -> None:
        launch = configuration(tmp_path).launch()
        async with pool(2) as children:
            first = await children.take(launch)
            waits = asyncio.create_task(children.take(launch))
            await asyncio.sleep(0)
            children.give_back(first)
            assert await waits is first
            second = await children.take(launch)
            assert second is not first
            assert not second.ended
            children.give_back(second)
            assert await children.take(launch) is second

    asyncio.run(live())


def test_a_run_that_gives_up_waiting_keeps_no_child(tmp_path: Path) -> None:
    async def live() -> None:
        launch = configuration(tmp_path).launch()
        async with pool(2) as children:
            first = await children.take(launch)
            waits = asyncio.create_task(children.take(launch))
            await asyncio.sleep(0)
            children.give_back(first)
            waits.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waits
            assert await children.take(launch) is first

    asyncio.run(live())


def test_children_of_which_none_is_wanted_end_before_they_have_begun(tmp_path: Path) -> None:
    async def live() -> None:
        children = Children(4, logging.getLogger(__name__))
        launch = configuration(tmp_path).launch()
        waits = [asyncio.create_task(children.take(launch)) for _ in range(3)]
        while not psutil.Process().children():  # noqa: ASYNC110 - nothing tells of a process that begins
            await asyncio.sleep(0.01)
        assert len(psutil.Process().children()) == 1, "the others are not begun"
        await asyncio.wait_for(children.close(), 20)
        ends = await asyncio.gather(*waits, return_exceptions=True)
        assert [type(end) for end in ends] == [asyncio.CancelledError] * 3
        assert psutil.Process().children() == []

    asyncio.run(live())


def test_a_child_that_hangs_does_not_hold_up_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prefect_warm.children._IMPORT_SECONDS", 0.1)
    (tmp_path / "hangs.py").write_text("import threading; threading.Event().wait()")

    async def live() -> None:
        async with pool(2) as children:
            hanging = asyncio.create_task(children.take(configuration(tmp_path, "hangs").launch()))
            await asyncio.sleep(0)
            child = await asyncio.wait_for(children.take(configuration(tmp_path).launch()), 30)
            assert not child.ended
            assert not hanging.done()
        with pytest.raises(asyncio.CancelledError):
            await hanging

    asyncio.run(live())


def test_a_run_that_waits_takes_an_idle_child_that_is_ready_first(tmp_path: Path) -> None:
    """The child that was begun for an earlier run, which took another, is ready first."""

    async def live() -> None:
        launch = configuration(tmp_path).launch()
        async with pool(3) as children:
            first = await children.take(launch)
            early = asyncio.create_task(children.take(launch))
            await asyncio.sleep(0)
            late = asyncio.create_task(children.take(launch))
            await asyncio.sleep(0)
            begun = [child for child, _ in children._waiting]
            children.give_back(first)
            assert await early is first
            assert await late is begun[0]

    asyncio.run(live())
