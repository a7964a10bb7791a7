"""From Polars into DuckDB, without pyarrow: what a batch brings along, as temporary tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from duckdb import DuckDBPyConnection

MOMENT = pl.Datetime("us", "UTC")


class _Stream:
    """DuckDB asks for pyarrow when it sees a Polars frame, but not when it sees an Arrow stream."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self._frame = frame

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._frame.__arrow_c_stream__(requested_schema)


def temp_table(
    con: DuckDBPyConnection, name: str, schema: Mapping[str, Any], rows: Iterable[tuple[Any, ...]]
) -> bool:
    """Make the temporary table `name` of these rows; False, and no table, when there are none."""
    rows = list(rows)
    if not rows:
        return False
    frame = pl.DataFrame(rows, schema=dict(schema), orient="row")
    con.register("_stream", _Stream(frame))
    con.execute(f"CREATE TEMP TABLE {name} AS FROM _stream")
    con.unregister("_stream")
    return True
