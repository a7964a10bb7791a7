"""From Polars into DuckDB, without pyarrow: what a batch brings along."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import polars as pl
import polars.selectors as cs

from tidegate.errors import FatalError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from duckdb import DuckDBPyConnection

    from tidegate.warehouse.model import LoadRequest

MOMENT = pl.Datetime("us", "UTC")
#: Five of DuckDB's vectors; up to sixty, it made no difference that could be told from chance.
_ROWS_AT_ONCE = 10_240
_STAGED = "_staged"


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


@contextmanager
def side_by_side(con: DuckDBPyConnection, request: LoadRequest, columns: Sequence[str]) -> Iterator[str]:
    """Where DuckDB reads ``_record`` and these columns, which stand in several files: a stream, once.

    DuckDB itself puts rows beside each other (POSITIONAL JOIN) in one thread only. Columns have the
    types that they would have in one Parquet file. FatalError when the files can't be put together.
    """
    files: dict[Path, list[str]] = {}
    for name in ("_record", *columns):
        files.setdefault(request.beside.get(name, _file(request)), []).append(name)
    try:
        frames = [
            pl.scan_parquet(file, glob=False).select(_as_stored(names)) for file, names in files.items()
        ]
        rows = pl.concat(frames, how="horizontal")
        rows.collect_schema()  # opens the files
        batches = rows.collect_batches(chunk_size=_ROWS_AT_ONCE, maintain_order=False, engine="streaming")
    except (pl.exceptions.PolarsError, OSError) as error:
        msg = (
            f"{_file(request).parent}: {error}. Nothing was committed. Staged files are gone or damaged: "
            "process the objects again."
        )
        raise FatalError(msg) from error
    con.register(_STAGED, batches)
    try:
        yield _STAGED
    finally:
        con.unregister(_STAGED)


def _file(request: LoadRequest) -> Path:
    if request.rows is None:
        msg = f"{request.object.url} has columns, but no rows. Report this."
        raise FatalError(msg)
    return request.rows


def _as_stored(names: Sequence[str]) -> list[pl.Expr]:
    chosen = cs.by_name(*names)
    texts, times = chosen & (cs.categorical() | cs.enum()), chosen & cs.time()
    return [
        chosen - texts - times - cs.duration(),
        texts.cast(pl.String),
        # In a Parquet file DuckDB cuts off what is finer than a microsecond, in a stream it rounds.
        (times.to_physical() // 1000 * 1000).cast(pl.Time),
        (chosen & cs.duration()).to_physical(),
    ]
