"""How the ledger uses SQLite."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import event

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine


def configure(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, _record: Any) -> None:
        # SQLAlchemy, not the driver, says where transactions begin: see "begin" below.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        # FULL: an acknowledged upload survives a power cut, not only a killed process.
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        # IMMEDIATE takes the write lock at once, where waiting for it works; a deferred one
        # that turns into a writer later fails with "database is locked" without waiting.
        write = connection.get_execution_options().get("tidegate_write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
