"""Many values in a few statements."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import bindparam, insert, update

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy import Connection, Dialect, Insert, Table, Update

    #: What makes of a column's value what the driver takes; None for what it takes as it is.
    _Processor = Callable[[Any], Any] | None

T = TypeVar("T")

#: SQLite allows 32,766 bound values a statement, Postgres about as many; a query that names two lists
#: fits still.
CHUNK = 5_000


def chunks(values: Sequence[T], size: int = CHUNK) -> Iterator[Sequence[T]]:
    """`values` in parts that a statement can name."""
    for start in range(0, len(values), size):
        yield values[start : start + size]


def insert_rows(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows that all name the same columns."""
    if rows:
        names = tuple(rows[0])
        _execute(connection, _insert(connection.dialect, table, names), rows)


def update_rows(
    connection: Connection, table: Table, key: str, names: tuple[str, ...], rows: Sequence[dict[str, Any]]
) -> None:
    """Set the columns `names` of the rows whose column `key` has the values that `rows` name."""
    if rows:
        _execute(connection, _update(connection.dialect, table, key, names), rows)


class _Prepared:
    """A statement, and its text and how to make its values where the driver takes them in order.

    SQLAlchemy prepares each row on its own and takes longer for it than SQLite for writing the row.
    """

    def __init__(
        self, dialect: Dialect, statement: Insert | Update, columns: dict[str, str], table: Table
    ) -> None:
        self.statement = statement
        #: name of a bound value -> column
        self.columns = columns
        compiled = statement.compile(dialect=dialect, column_keys=list(columns))
        self.text = str(compiled)
        self.order: list[tuple[str, _Processor]] | None = None
        if dialect.positional:
            self.order = [
                (columns[bound], table.c[columns[bound]].type.dialect_impl(dialect).bind_processor(dialect))
                for bound in compiled.positiontup or ()
            ]


@lru_cache(maxsize=256)
def _insert(dialect: Dialect, table: Table, names: tuple[str, ...]) -> _Prepared:
    return _Prepared(dialect, insert(table), {name: name for name in names}, table)


@lru_cache(maxsize=256)
def _update(dialect: Dialect, table: Table, key: str, names: tuple[str, ...]) -> _Prepared:
    columns = {f"b_{name}": name for name in (*names, key)}
    bound = {name: bindparam(f"b_{name}", type_=table.c[name].type) for name in (*names, key)}
    statement = update(table).where(table.c[key] == bound[key]).values({name: bound[name] for name in names})
    return _Prepared(dialect, statement, columns, table)


def _execute(connection: Connection, prepared: _Prepared, rows: Sequence[dict[str, Any]]) -> None:
    if prepared.order is None:
        named = [{bound: row[name] for bound, name in prepared.columns.items()} for row in rows]
        connection.execute(prepared.statement, named)
        return
    # Column by column: each value's way is looked up once, not for every row.
    values = [
        [row[name] for row in rows] if process is None else [process(row[name]) for row in rows]
        for name, process in prepared.order
    ]
    connection.exec_driver_sql(prepared.text, list(zip(*values, strict=True)))
