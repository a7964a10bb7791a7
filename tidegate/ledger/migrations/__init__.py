"""Bring a ledger's schema up to date, once, whoever of several processes comes first."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import inspect, text

from tidegate.errors import LedgerVersionError

if TYPE_CHECKING:
    from sqlalchemy import Connection

#: The newest revision under versions/; a test holds the two equal.
HEAD = "0006"


def current_revision(connection: Connection) -> str | None:
    """The revision the database is at; None for an empty one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def migrate(connection: Connection) -> None:
    """Upgrade to HEAD inside the caller's transaction.

    Raises LedgerVersionError when the ledger is from a newer Tidegate.
    """
    revision = current_revision(connection)
    if revision == HEAD:
        return
    if revision is not None and revision > HEAD:
        msg = (
            f"The ledger has schema {revision}, this Tidegate knows up to {HEAD}. "
            "Install the newer Tidegate that wrote it."
        )
        raise LedgerVersionError(msg)
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
