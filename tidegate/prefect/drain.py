"""Stop the worker, and let its flow runs end first."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tidegate.operations.running import marked_processes

if TYPE_CHECKING:
    from collections.abc import Callable

    import psutil

    from tidegate.prefect.processes import Child

#: A worker that has nothing at work is gone before a person need be told what is waited for.
_TELL_SECONDS = 2.0


async def stop_worker(
    worker: Child, mark: str, own: set[int], hurry: asyncio.Event, say: Callable[[str], None]
) -> None:
    """Tell the worker to stop and see it gone; it lets its runs end within the pool's grace time.

    When `hurry` is set, the processes of the runs, those with `mark` beyond `own`, get SIGTERM: a
    run then reports itself as crashed, where one that is killed would be shown as running for ever.
    """
    stopped = asyncio.create_task(worker.stop())
    hurried = asyncio.create_task(hurry.wait())
    try:
        await asyncio.wait({stopped, hurried}, timeout=_TELL_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if not stopped.done() and not hurried.done():
            say("Waiting for flow runs to end (Ctrl-C again: at once)")
            await asyncio.wait({stopped, hurried}, return_when=asyncio.FIRST_COMPLETED)
        if not stopped.done():
            await asyncio.to_thread(_end, mark, own)
        await stopped
    finally:
        hurried.cancel()


def _end(mark: str, own: set[int]) -> None:
    for process in marked_processes(mark):
        if process.pid not in own:
            _terminate(process)


def _terminate(process: psutil.Process) -> None:
    import psutil

    try:
        process.terminate()
    except psutil.NoSuchProcess:
        return
