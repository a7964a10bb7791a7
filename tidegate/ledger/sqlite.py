"""How the ledger uses SQLite."""

from __future__ import annotations

import os
import sqlite3
import threading
from typing import TYPE_CHECKING, Any

from sqlalchemy import event
from sqlalchemy.exc import DBAPIError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

#: Seconds that a writer waits for another one to commit.
BUSY_SECONDS = 30

_PRAGMAS = (
    # Readers, such as `status`, see the last commit and hold up no writer; one writer at a time.
    "journal_mode=WAL",
    # FULL: an acknowledged upload survives a power cut, not only a killed process. Each commit costs
    # one sync of the journal, which is why a batch is one transaction a stage.
    "synchronous=FULL",
    "foreign_keys=ON",
    # 16 MB of pages a connection: the inner pages of the indexes of some million objects.
    "cache_size=-16000",
    # A burst's journal goes into the database in a few large steps. It is 16 MB then, and is cut back
    # when a long reader let it grow.
    "wal_autocheckpoint=4000",
    "journal_size_limit=67108864",
)


def configure(engine: Engine) -> None:
    """Set up each connection, and let writers take the write lock at once."""

    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, _record: Any) -> None:
        # SQLAlchemy, not the driver, says where transactions begin: see "begin" below.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in _PRAGMAS:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        # IMMEDIATE takes the write lock at once, where waiting for it works; a deferred one
        # that turns into a writer later fails with "database is locked" without waiting.
        write = connection.get_execution_options().get("tidegate_write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


class Pulse:
    """How far the log has got, on a connection of its own.

    Several threads ask twenty times a second, for nothing else tells that another process wrote. A
    connection of SQLAlchemy's would cost twenty times what the answer does.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._connection: Any = None
        self._pid = 0

    def last_seq(self) -> int:
        """Seq of the newest event; 0 when there is none."""
        query = "SELECT max(seq) FROM events"
        with self._lock:
            try:
                return self._open().execute(query).fetchone()[0] or 0
            except sqlite3.Error as error:
                self.close()
                raise DBAPIError.instance(query, None, error, sqlite3.Error) from error

    def close(self) -> None:
        """Give the connection up; the next question opens another."""
        if self._connection is not None and self._pid == os.getpid():
            self._connection.close()
        self._connection = None

    def _open(self) -> Any:
        # A forked process must not use, nor close, what its parent had opened.
        if self._connection is None or self._pid != os.getpid():
            found = self._engine.raw_connection()
            found.detach()
            self._connection, self._pid = found.dbapi_connection, os.getpid()
        return self._connection
