"""Prefect's folder as its server's first start leaves it: making one takes longer than all later starts."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from pathlib import Path

_DATABASE = "prefect.db"
#: Whether the block types are registered is noted there.
_FILES = (_DATABASE, "memo_store.toml")


def prefect_home(folder: Path) -> Path:
    """Such a folder, made once by whichever process of the tests comes first."""
    made = folder / "prefect"
    with (folder / "prefect.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            part = folder / "prefect.part"
            shutil.rmtree(part, ignore_errors=True)
            _first_start(part)
            part.rename(made)
    return made


def copy_prefect_home(made: Path, target: Path) -> None:
    """Let a server that keeps its state in `target` find its database and block types there."""
    target.mkdir(parents=True, exist_ok=True)
    for name in _FILES:
        shutil.copy(made / name, target)


def _first_start(home: Path) -> None:
    home.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    variables = {
        "DO_NOT_TRACK": "1",
        "PREFECT_HOME": str(home),
        "PREFECT_PROFILES_PATH": str(home / "profiles.toml"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_ENABLED": "false",
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{home / _DATABASE}",
    }
    command = (sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", port)
    log_file = home / "server.log"
    with (
        log_file.open("wb") as log,
        subprocess.Popen(command, cwd=home, env=kept | variables, stdout=log, stderr=log) as server,
    ):
        try:
            deadline = time.monotonic() + 120
            while not _is_healthy(port):
                assert server.poll() is None, log_file.read_text()
                assert time.monotonic() < deadline, log_file.read_text()
                time.sleep(0.05)
        finally:
            server.terminate()
    with closing(sqlite3.connect(home / _DATABASE)) as database:
        # What still stands beside the file would not be copied with it.
        busy, *_ = database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        assert not busy


def _is_healthy(port: str) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/api/health").status_code == httpx.codes.OK
    except httpx.TransportError:
        return False
