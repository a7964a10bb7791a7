"""Opening the DuckDB file: one holder at a time, and everybody else waits for a while.

DuckDB lets one process write a file, or several read it. Its lock is POSIX advisory: when a
process that holds it opens and closes the file once more by any other way, the lock is gone and
a second process may write (seen with DuckDB 1.5.5). So within a process, one thread at a time
has the file, and nothing but `opened` opens it.
"""

from __future__ import annotations

import atexit
import os
import random
import re
import threading
import time
import uuid
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING

import duckdb

from tidegate.errors import WarehouseLockedError
from tidegate.warehouse.statements import literal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from duckdb import DuckDBPyConnection

#: What DuckDB may use before it spills to ``<file>.tmp``.
MEMORY_LIMIT = "1GB"
#: DuckDB wants 125 MB a thread; with 64 in that limit, a load took twice as long as with 8.
_MOST_THREADS = 8
#: What a thread needs to put rows in. All that DuckDB may use, it fills with blocks that it has written:
#: with a gigabyte, 15 M rows took 0.34 GB more than 5 M, with this 0.06, in the same time.
_MB_A_THREAD = 128
#: Layout of new files, readable from that release of DuckDB on: texts are packed in half the time
#: that its default takes, which dates from 0.10.
STORAGE_VERSION = "v1.3.0"

_NAME = "warehouse"
_CONFLICT = re.compile(r"could not set lock|conflicting lock|unique file handle conflict", re.IGNORECASE)
_HOLDER = re.compile(r"\(PID (\d+)\)")
_FIRST_PAUSE = 0.005
_LONGEST_PAUSE = 0.15

_turns: dict[Path, threading.Lock] = {}
# A forked child has none of the threads that hold these.
os.register_at_fork(after_in_child=_turns.clear)


@contextmanager
def opened(
    path: Path, *, read_only: bool, lock_timeout: float, keep: bool = True, memory: str | None = None
) -> Iterator[DuckDBPyConnection]:
    """A connection to the file, attached as ``warehouse``; made when missing unless `read_only`.

    Waits up to `lock_timeout` seconds for other threads and processes, then raises
    WarehouseLockedError naming the holder. What was not committed is undone when it closes. Without
    `keep` it may be configured as one likes; else only what belongs to the connection may be set, the
    threads and the memory, of which it may use `memory`, or what is usual.
    """
    path = path.resolve()
    deadline = time.monotonic() + lock_timeout
    turn = _turns.setdefault(path, threading.Lock())
    if not turn.acquire(timeout=lock_timeout):
        raise _locked(path, lock_timeout, os.getpid())
    try:
        with (
            _engine(path, keep=keep, memory=memory or MEMORY_LIMIT) as engine,
            closing(engine.cursor()) as con,
        ):
            if not read_only and not path.exists():
                _create(con, path)
            _attach(con, path, read_only=read_only, deadline=deadline, lock_timeout=lock_timeout)
            yield con
    finally:
        turn.release()


class _Idle:
    """A DuckDB instance without a file, kept for the next use: starting and ending one takes 20 ms."""

    def __init__(self) -> None:
        self._instance: DuckDBPyConnection | None = None
        #: the file that it was for: an instance that has spilled can't do so to another place
        self._path: Path | None = None
        self._lock = threading.Lock()

    def take(self, path: Path) -> DuckDBPyConnection | None:
        with self._lock:
            if self._path != path:
                return None
            taken, self._instance = self._instance, None
        return taken

    def give(self, instance: DuckDBPyConnection, path: Path) -> None:
        with self._lock:
            other, self._instance, self._path = self._instance, instance, path
        if other is not None:
            other.close()

    def close(self) -> None:
        with self._lock:
            taken, self._instance = self._instance, None
        if taken is not None:
            taken.close()


_idle = _Idle()
atexit.register(_idle.close)
# A forked child has none of the threads of an instance, and would wait for them for ever.
os.register_at_fork(before=_idle.close)


@contextmanager
def _engine(path: Path, *, keep: bool, memory: str) -> Iterator[DuckDBPyConnection]:
    """A DuckDB instance; after any error, and without `keep`, it is not used again."""
    engine = (_idle.take(path) if keep else None) or _connect(path)
    try:
        # Whoever had it before may have asked for less.
        engine.execute(f"SET threads = {_threads()}; SET memory_limit = {literal(memory)}")
        yield engine
        if keep:
            engine.execute(f"DETACH {_NAME}")
    except BaseException:
        engine.close()
        raise
    if keep:
        _idle.give(engine, path)
    else:
        engine.close()


def commit(con: DuckDBPyConnection) -> None:
    """The commit point: before it nothing of the transaction is there, after it all is."""
    con.execute("COMMIT")


def _threads() -> int:
    return min(os.cpu_count() or 1, _MOST_THREADS)


def little_memory() -> str:
    """What DuckDB needs to put in rows of common size, as it is said to it."""
    return f"{_MB_A_THREAD * _threads()}MB"


def ample_memory() -> str:
    """Half of this machine's memory, and not less than what is usual."""
    import psutil

    return f"{max(psutil.virtual_memory().total // 2, 10**9)}B"


def _connect(path: Path) -> DuckDBPyConnection:
    return duckdb.connect(
        ":memory:",
        config={
            "temp_directory": f"{path}.tmp",
            "autoinstall_known_extensions": "false",
            # Else the tail of every row group of a staged file becomes one of the table, and DuckDB
            # tries to merge them at each checkpoint: 15 M rows made all later loads 2.5 s longer.
            "preserve_insertion_order": "false",
            # staged files are read once
            "enable_external_file_cache": "false",
            # A thread that holds five row groups, as it does else, asks the system for fresh memory
            # all the time: a load took a tenth longer.
            "write_buffer_row_group_count": "1",
        },
    )


def _create(con: DuckDBPyConnection, path: Path) -> None:
    """Put an empty database at `path` in one step, so that no kill leaves half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
    try:
        con.execute(
            f"ATTACH {literal(str(part))} AS part (STORAGE_VERSION {literal(STORAGE_VERSION)}); DETACH part"
        )
        # Another process may have been first. Where hard links can't be had, ATTACH makes the file.
        with suppress(OSError):
            os.link(part, path)
    finally:
        part.unlink(missing_ok=True)


def _attach(
    con: DuckDBPyConnection, path: Path, *, read_only: bool, deadline: float, lock_timeout: float
) -> None:
    # Always the same name: a file called tidegate.duckdb would make `tidegate.commits` ambiguous.
    mode = " (READ_ONLY)" if read_only else ""
    pause = _FIRST_PAUSE
    while True:
        try:
            con.execute(f"ATTACH {literal(str(path))} AS {_NAME}{mode}")
        except duckdb.Error as error:
            if not _CONFLICT.search(str(error)):
                raise
            holder = _HOLDER.search(str(error))
            left = deadline - time.monotonic()
            if left <= 0:
                raise _locked(path, lock_timeout, int(holder[1]) if holder else None) from error
            time.sleep(min(left, pause * random.uniform(0.5, 1.5)))  # noqa: S311 - jitter
            pause = min(pause * 1.5, _LONGEST_PAUSE)
        else:
            con.execute(f"USE {_NAME}; SET TimeZone = 'UTC'")
            return


def _locked(path: Path, waited: float, pid: int | None) -> WarehouseLockedError:
    if pid is None:
        who = "by another process"
    elif pid == os.getpid():
        who = "in this process"
    else:
        who = f"by process {pid}{_command(pid)}"
    return WarehouseLockedError(
        f"{path} was held {who} for the {waited:g} s that this call waited. Let that finish or end "
        "it, then try again; or set [warehouse] lock_timeout_seconds higher.",
        holder_pid=pid,
    )


def _command(pid: int) -> str:
    import psutil

    try:
        words = psutil.Process(pid).cmdline()
    except psutil.Error:  # gone, or another user's
        return ""
    return f" ({' '.join(' '.join(words).split())[:100]})" if words else ""
