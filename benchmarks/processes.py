"""Processes that a benchmark starts: their output in files, and gone when it ends."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

_STOP_SECONDS = 20.0
#: Seconds between two looks at memory, at most.
_SAMPLE_SECONDS = 0.05


@contextmanager
def started(
    command: Sequence[str], log: Path, env: Mapping[str, str], *, stdin: int = subprocess.DEVNULL
) -> Iterator[subprocess.Popen[bytes]]:
    """A process and, when the block ends, none of its descendants left."""
    with log.open("ab") as file:
        process = subprocess.Popen(command, stdin=stdin, stdout=file, stderr=file, env=dict(env))  # noqa: S603
    try:
        yield process
    finally:
        stop(process.pid)
        if process.stdin is not None:
            process.stdin.close()
        process.wait()


def stop(pid: int) -> None:
    """Ask a process to stop; what is left of it and its descendants after a while is ended."""
    try:
        top = psutil.Process(pid)
        family = [top, *top.children(recursive=True)]
        top.terminate()
    except psutil.NoSuchProcess:
        return
    _, left = psutil.wait_procs(family, timeout=_STOP_SECONDS)
    for process in left:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(left, timeout=_STOP_SECONDS)


def wait_until(condition: Callable[[], bool], seconds: float, otherwise: str, every: float = 0.05) -> None:
    """Look until the condition holds; TimeoutError with `otherwise` when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(otherwise)
        time.sleep(every)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def clean_environment(**more: str) -> dict[str, str]:
    """This process's environment without what would lead to a person's own Prefect or project."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PREFECT_", "TIDEGATE_", "AWS_", "DLT_"))
    }
    return {**kept, **more}


def family(pid: int) -> list[psutil.Process]:
    """A process and all its descendants."""
    try:
        top = psutil.Process(pid)
        return [top, *top.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def memory_mb(processes: Sequence[psutil.Process]) -> float:
    """Memory of processes together in MB; what they share counts once (PSS)."""
    total = 0
    for process in processes:
        try:
            total += process.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return total / 1024**2


def cpu_seconds(processes: Sequence[psutil.Process]) -> float:
    """CPU time that processes, and their children that have ended, have taken so far."""
    total = 0.0
    for process in processes:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


@dataclass
class Peak:
    """The most memory that a tree of processes held while it was watched."""

    pid: int
    mb: float = 0.0
    samples: int = 0
    _over: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def watched(self) -> Iterator[Peak]:
        """Look at the tree until the block ends. Takes CPU: not for runs whose time counts."""
        thread = threading.Thread(target=self._watch, name="memory")
        thread.start()
        try:
            yield self
        finally:
            self._over.set()
            thread.join()

    def _watch(self) -> None:
        while not self._over.is_set():
            began = time.monotonic()
            self.mb = max(self.mb, memory_mb(family(self.pid)))
            self.samples += 1
            self._over.wait(max(0.0, _SAMPLE_SECONDS - (time.monotonic() - began)))
