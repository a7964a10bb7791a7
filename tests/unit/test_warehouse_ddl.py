"""Every Polars type that a contract can give, through Parquet into a DuckDB table and back."""

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.conformance.warehouse_kit import Stage, contract, version
from tidegate.contracts import Append, Merge
from tidegate.errors import ContractError
from tidegate.warehouse.ddl import column_type, table_types
from tidegate.warehouse.duckdb import DuckDBWarehouse
from tidegate.warehouse.statements import listed, literal, quoted

MOMENT = datetime(2024, 2, 29, 12, 30, 15, 123456)  # noqa: DTZ001 - a time without zone is a type of its own
AWARE = MOMENT.replace(tzinfo=UTC)

KINDS: list[tuple[Any, str, list[Any]]] = [
    (pl.Int8, "TINYINT", [-128, 127]),
    (pl.Int16, "SMALLINT", [-(2**15)]),
    (pl.Int32, "INTEGER", [2**31 - 1]),
    (pl.Int64, "BIGINT", [-(2**63)]),
    (pl.UInt8, "UTINYINT", [255]),
    (pl.UInt16, "USMALLINT", [2**16 - 1]),
    (pl.UInt32, "UINTEGER", [2**32 - 1]),
    (pl.UInt64, "UBIGINT", [2**64 - 1]),
    (pl.Float32, "FLOAT", [0.5, float("inf")]),
    (pl.Float64, "DOUBLE", [0.1, -1e300]),
    (pl.Boolean, "BOOLEAN", [True, False]),
    (pl.String, "VARCHAR", ["", "ä\n\"'", "x" * 10_000]),
    (pl.Categorical, "VARCHAR", ["a", "b"]),
    (pl.Enum(["low", "high"]), "VARCHAR", ["high", "low"]),
    (pl.Binary, "BLOB", [b"\x00\xff"]),
    (pl.Date, "DATE", [date(1, 1, 1), date(9999, 12, 31)]),
    (pl.Datetime, "TIMESTAMP", [MOMENT]),
    (pl.Datetime("ms"), "TIMESTAMP", [MOMENT.replace(microsecond=123000)]),
    (pl.Datetime("us"), "TIMESTAMP", [MOMENT]),
    (pl.Datetime("ns"), "TIMESTAMP_NS", [MOMENT]),
    (pl.Datetime("us", "UTC"), "TIMESTAMP WITH TIME ZONE", [AWARE]),
    (pl.Datetime("ms", "Europe/Berlin"), "TIMESTAMP WITH TIME ZONE", [AWARE.replace(microsecond=0)]),
    (pl.Time, "TIME", [time(23, 59, 59, 999999)]),
    (pl.Decimal(38, 10), "DECIMAL(38,10)", [Decimal("1.2345678901")]),
    (pl.Decimal(9, 0), "DECIMAL(9,0)", [Decimal(123456789)]),
    (pl.Duration("us"), "INTERVAL", [timedelta(days=400, microseconds=5)]),
    (pl.Duration("ms"), "INTERVAL", [timedelta(milliseconds=-5)]),
]


def test_every_type_keeps_its_values(tmp_path: Path) -> None:
    stage = Stage(tmp_path / "staging", DuckDBWarehouse(tmp_path / "w.duckdb", 1.0), Append())
    names = [f"c{number}" for number in range(len(KINDS))]
    stage.columns = {name: kind for name, (kind, *_) in zip(names, KINDS, strict=True)}
    values = [[*some, None, None][:3] for *_, some in KINDS]
    rows = list(zip(*values, strict=True))
    for attempt in (1, 2):  # the second finds the table as the first left it
        stage.drop("a.csv", 1, rows, attempt=attempt)
        assert stage.ask(f"SELECT {', '.join(names)} FROM orders ORDER BY _record") == rows
        described = [tuple(row[:2]) for row in stage.ask("DESCRIBE orders")[: len(names)]]
        assert described == [(name, kind) for name, (_, kind, _) in zip(names, KINDS, strict=True)]


@pytest.mark.parametrize(
    "kind",
    [
        pl.Null,
        pl.Int128,
        pl.List(pl.Int64),
        pl.Struct({"a": pl.Int64}),
        pl.Duration("ns"),
        pl.Datetime("ns", "UTC"),
    ],
    ids=str,
)
def test_a_type_that_would_lose_values_is_refused(kind: Any) -> None:
    assert column_type(kind) is None
    with pytest.raises(ContractError, match=r"'orders' 1\.0\.0: column 'x': .*cast it"):
        table_types(contract(Append()), {"x": kind})


@pytest.mark.parametrize("names", [("a", "A"), ("_record",), ("_Object_ID",), ("_object_file",)])
def test_a_name_that_is_taken_is_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(ContractError, match="taken"):
        table_types(contract(Append()), dict.fromkeys(names, pl.Int64))


@pytest.mark.parametrize("missing", [Merge(key=["x"], order_by="y"), Merge(key=["y"])], ids=repr)
def test_a_merge_on_a_column_that_is_not_there_is_refused(missing: Merge) -> None:
    with pytest.raises(ContractError, match="'y': the merge wants it"):
        table_types(contract(missing), {"x": pl.Int64})


def test_any_name_can_be_a_column(tmp_path: Path) -> None:
    names = [
        "filename",
        "rowid",
        "file_index",
        "key",
        "object_id",
        "column",
        "select",
        'a"b',
        "o'clock",
        "{x}",
        "Ä b",
    ]
    warehouse = DuckDBWarehouse(tmp_path / "w'{x}.duckdb", 1.0)
    stage = Stage(tmp_path / "stag[i]ng*?", warehouse, Merge(key=[*names[:9]], order_by="{x}"))
    stage.columns = dict.fromkeys(names, pl.Int64())
    row = tuple(range(len(names)))
    stage.load(*(stage.request(version(f"{n}'.csv", n), [row, row], rejected=[(3, "x'")]) for n in range(3)))
    assert stage.ask("SELECT * EXCLUDE (_object_id, _record, _contract_version, _loaded_at) FROM orders") == [
        row
    ]


def test_a_column_that_goes_away_comes_back(tmp_path: Path) -> None:
    stage = Stage(tmp_path / "staging", DuckDBWarehouse(tmp_path / "w.duckdb", 1.0), Append())
    stage.columns = {"Id": pl.Int64(), "b": pl.String()}
    stage.drop("1.csv", 1, [(1, "x")])
    stage.contract = contract(Merge(key=["id"]), version="2.0.0")
    stage.columns = {"id": pl.Int64()}
    stage.drop("2.csv", 2, [(1,), (2,)])
    stage.drop("2.csv", 3, [])
    assert stage.table("id, b") == [(1, "x")]


def test_what_goes_into_sql_stays_one_token() -> None:
    assert quoted('a"; DROP TABLE x; --') == '"a""; DROP TABLE x; --"'
    assert literal("o'clock") == "'o''clock'"
    assert listed(["a", "b"]) == '"a", "b"'
