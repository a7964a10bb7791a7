"""The embedded Prefect server: a port of its own, and whether the installed parts fit."""

from __future__ import annotations

import fcntl
import importlib.metadata
import os
import re
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tidegate.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator

HOST = "127.0.0.1"
_PORTS_TRIED = 200

#: With what the embedded server of Prefect 3.8.8 was seen to work. FastAPI 0.151 and later refuse
#: the nulls that Prefect's own client sends (422 from `prefect deploy`); later ones and those
#: before 0.139 keep the server from starting. With SQLAlchemy 2.1 its scheduler fails.
FITTING = {
    "prefect": ("3.8.8", "3.9"),
    "fastapi": ("0.139", "0.151"),
    "sqlalchemy": ("2.0.30", "2.1"),
}


def misfits() -> Iterator[str]:
    """What is installed in a release with which the embedded server does not work."""
    for name, (lowest, above) in FITTING.items():
        found = importlib.metadata.version(name)
        if not _release(lowest) <= _release(found) < _release(above):
            yield f"{name} {found} is installed, and >={lowest},<{above} is needed"


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


def check_parts() -> None:
    """SettingsError when the server could not work with what is installed."""
    found = list(misfits())
    if found:
        needed = " ".join(f"'{name}>={low},<{above}'" for name, (low, above) in FITTING.items())
        msg = f"Prefect's server can't run here: {'; '.join(found)}. Run: python -m pip install {needed}"
        raise SettingsError(msg)


class ReservedPort:
    """A loopback port that no other Tidegate on this machine takes as long as this lives."""

    def __init__(self, number: int, lock: int) -> None:
        self.number = number
        self._lock = lock

    def release(self) -> None:
        os.close(self._lock)


def reserve_port(first: int) -> ReservedPort:
    """The first free port from `first` on; SettingsError when there is none near.

    A lock file a port keeps two projects that start at once from choosing the same: between the
    choice and the moment the server listens, the port itself shows nothing.
    """
    for number in range(first, min(first + _PORTS_TRIED, 65_536)):
        lock = _lock_port(number)
        if lock is None:
            continue
        if _is_free(number):
            return ReservedPort(number, lock)
        os.close(lock)
    msg = f"No port from {first} on is free on {HOST}. Set another [prefect] port in tidegate.toml."
    raise SettingsError(msg)


def _lock_port(number: int) -> int | None:
    path = Path(tempfile.gettempdir()) / f"tidegate-port-{number}.lock"
    # Not O_CREAT for a file that is there: in /tmp the kernel refuses that for another user's.
    flags = os.O_RDONLY if path.exists() else os.O_RDONLY | os.O_CREAT
    lock = os.open(path, flags, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def _is_free(number: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As the server does: connections that linger after the last one don't count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, number))
        except OSError:
            return False
    return True
