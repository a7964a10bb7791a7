"""The layout of the engine's own tables: made, brought up to date, or refused when newer."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import TYPE_CHECKING

import duckdb

from tidegate.errors import FatalError
from tidegate.warehouse.connection import commit
from tidegate.warehouse.statements import statement, text

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_SCRIPT = re.compile(r"(\d{4})_layout\.sql")


def scripts() -> dict[int, str]:
    """Layout version -> name of the SQL file that leads to it from the one before."""
    names = (entry.name for entry in files("tidegate.warehouse").joinpath("sql").iterdir())
    found = (_SCRIPT.fullmatch(name) for name in names)
    return {int(match[1]): match[0].removesuffix(".sql") for match in sorted(filter(None, found), key=str)}


def newest() -> int:
    """The layout that this Tidegate works with."""
    return max(scripts())


def version(con: DuckDBPyConnection) -> int:
    """Layout version of the attached file; 0 when nothing was ever loaded. FatalError when newer."""
    try:
        rows = con.execute(statement("records", "layout")).fetchall()
    except duckdb.CatalogException:  # no such table
        return 0
    found = int(rows[0][0])
    if found > newest():
        raise FatalError(
            f"The warehouse has layout {found}; this Tidegate knows up to {newest()}. "
            "It was written by a newer Tidegate: update this one."
        )
    return found


def bring_up_to_date(con: DuckDBPyConnection) -> None:
    """Run the scripts that the file has not seen, all in one transaction."""
    found = version(con)
    missing = {number: name for number, name in scripts().items() if number > found}
    if not missing:
        return
    con.execute("BEGIN")
    for name in missing.values():
        con.execute(text(name))
    con.execute(statement("records", "note_layout", version=max(missing)))
    commit(con)
