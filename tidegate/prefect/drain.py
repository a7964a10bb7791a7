"""Let flow runs end before their worker is stopped."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import psutil

from tidegate.operations.running import marked_processes, wait_until_gone

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds that running flows get to end by themselves.
_PATIENCE = 20.0
#: Seconds for a run that was told to stop to say so to the server.
_LAST_WORDS = 5.0
_LOOK_SECONDS = 0.1


async def drain(mark: str, own: set[int], hurry: asyncio.Event, say: Callable[[str], None]) -> None:
    """Wait for the flow runs' processes, those with `mark` beyond `own`, to end.

    After a while, or when `hurry` is set, they get SIGTERM: a run then reports itself as crashed,
    where one that is killed would be shown as running for ever.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _PATIENCE
    told = 0
    while runs := await asyncio.to_thread(_runs, mark, own):
        if hurry.is_set() or loop.time() > deadline:
            await asyncio.to_thread(_end, runs)
            return
        if len(runs) != told:
            told = len(runs)
            say(f"Waiting for {told} flow run{'s' if told > 1 else ''} to end (Ctrl-C again: at once)")
        await asyncio.sleep(_LOOK_SECONDS)


def _runs(mark: str, own: set[int]) -> list[psutil.Process]:
    return [process for process in marked_processes(mark) if process.pid not in own]


def _end(runs: list[psutil.Process]) -> None:
    for process in runs:
        try:
            process.terminate()
        except psutil.NoSuchProcess:
            continue
    wait_until_gone(runs, _LAST_WORDS)
