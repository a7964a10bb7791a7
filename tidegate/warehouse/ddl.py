"""Tables in DuckDB: names, types, and making a table fit a contract.

A column keeps its values exactly or the contract is refused, with one exception: TIME has
microseconds, and finer parts of a second are cut off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from tidegate.contracts import Merge
from tidegate.errors import ContractError
from tidegate.warehouse.statements import literal, quoted, statement

if TYPE_CHECKING:
    from collections.abc import Mapping

    from duckdb import DuckDBPyConnection

    from tidegate.contracts import Contract

#: name -> type of the columns that the engine adds to every table
ENGINE_COLUMNS = {
    "_object_id": "VARCHAR",
    "_record": "BIGINT",
    "_contract_version": "VARCHAR",
    "_loaded_at": "TIMESTAMP WITH TIME ZONE",
}

#: Spelled as DuckDB spells them in its catalog, so that they can be compared.
_TYPES: dict[type[pl.DataType], str] = {
    pl.Int8: "TINYINT",
    pl.Int16: "SMALLINT",
    pl.Int32: "INTEGER",
    pl.Int64: "BIGINT",
    pl.UInt8: "UTINYINT",
    pl.UInt16: "USMALLINT",
    pl.UInt32: "UINTEGER",
    pl.UInt64: "UBIGINT",
    pl.Float32: "FLOAT",
    pl.Float64: "DOUBLE",
    pl.Boolean: "BOOLEAN",
    pl.String: "VARCHAR",
    pl.Categorical: "VARCHAR",
    pl.Enum: "VARCHAR",
    pl.Binary: "BLOB",
    pl.Date: "DATE",
    pl.Time: "TIME",
}
#: Names that statements use beside the columns of a table.
_WORKING_NAMES = ("_object", "_object_file", "_order_id", "_order_at", "_order_key", "_place")
_MICROSECONDS = {"us": 1, "ms": 1000}
_WIDEST_DECIMAL = 38


def column_type(kind: Any) -> str | None:
    """DuckDB's type for a Polars type; None when none keeps its values."""
    kind = kind() if isinstance(kind, type) else kind
    if isinstance(kind, pl.Datetime):
        if kind.time_zone is None:
            return "TIMESTAMP_NS" if kind.time_unit == "ns" else "TIMESTAMP"
        return None if kind.time_unit == "ns" else "TIMESTAMP WITH TIME ZONE"
    if isinstance(kind, pl.Duration):
        return "INTERVAL" if kind.time_unit in _MICROSECONDS else None
    if isinstance(kind, pl.Decimal):
        return f"DECIMAL({kind.precision or _WIDEST_DECIMAL},{kind.scale})"
    return _TYPES.get(type(kind))


def table_types(contract: Contract, columns: Mapping[str, Any]) -> dict[str, str]:
    """Column name -> DuckDB type. ContractError names what can't be kept, and what to do."""
    types: dict[str, str] = {}
    taken = {*ENGINE_COLUMNS, *_WORKING_NAMES}
    for name, kind in columns.items():
        wanted = column_type(kind)
        if wanted is None:
            _refuse(contract, name, f"no column type keeps {kind} exactly; cast it in a normalize step")
        if name.casefold() in taken:
            _refuse(contract, name, "the name is taken (capitals make no difference); give it another")
        taken.add(name.casefold())
        types[name] = str(wanted)
    if isinstance(contract.load, Merge):
        order_by = contract.load.order_by
        for name in (*contract.load.key, *([order_by] if order_by else [])):
            if name not in types:
                _refuse(contract, name, "the merge wants it, but the table has no such column")
    return types


def value_of(column: str, kind: Any, wanted: str) -> str:
    """The expression that reads a column of a staged Parquet file as its table's type."""
    kind = kind() if isinstance(kind, type) else kind
    if isinstance(kind, pl.Duration):  # a plain integer in Parquet
        return f"to_microseconds(r.{quoted(column)} * {_MICROSECONDS[kind.time_unit]})"
    return f"CAST(r.{quoted(column)} AS {wanted})"


def columns_of(con: DuckDBPyConnection, table: tuple[str, str]) -> dict[str, str]:
    """Column name -> type of `table` (schema, name), engine columns left out; {} when there is none."""
    schema, name = (literal(part) for part in table)
    if not con.execute(statement("records", "has_table", schema=schema, table=name)).fetchall():
        return {}
    found = con.execute(f"DESCRIBE {_full_name(table)}").fetchall()
    return {column: kind for column, kind, *_ in found if column not in ENGINE_COLUMNS}


def fit_table(
    con: DuckDBPyConnection, table: tuple[str, str], types: Mapping[str, str], contract: Contract
) -> str:
    """Make or widen `table` (schema, name) and return its quoted name.

    Columns that the contract no longer has stay. Call it before the transaction changes a row:
    DuckDB refuses to commit a table that was altered after that.
    """
    name = _full_name(table)
    there = {column.casefold(): (column, kind) for column, kind in columns_of(con, table).items()}
    if not there:
        body = ", ".join(f"{quoted(column)} {kind}" for column, kind in {**types, **ENGINE_COLUMNS}.items())
        con.execute(f"CREATE TABLE {name} ({body})")
        return name
    for column, wanted in types.items():
        before, kind = there.get(column.casefold(), (column, None))
        if kind is None:
            con.execute(f"ALTER TABLE {name} ADD COLUMN {quoted(column)} {wanted}")
        elif kind != wanted:
            _refuse(
                contract,
                column,
                f"the table has {kind}, the contract now gives {wanted}. Cast it back in a normalize "
                "step, give the new column another name, or stop the pipeline and run ALTER TABLE "
                f"{table[0]}.{quoted(table[1])} ALTER {quoted(before)} TYPE {wanted}",
            )
    return name


def _full_name(table: tuple[str, str]) -> str:
    return ".".join(quoted(part) for part in ("warehouse", *table))


def _refuse(contract: Contract, column: str, problem: str) -> None:
    raise ContractError(f"Contract {contract.name!r} {contract.version}: column {column!r}: {problem}.")
