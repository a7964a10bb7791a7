"""What a contract says as data, what changed between two versions, and what is recorded."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import pandera.polars as pa
import polars as pl
import pytest

from tidegate.contracts import (
    Budget,
    Columns,
    Contract,
    ControlTotals,
    Dialect,
    Lookup,
    Merge,
    Parse,
    Replace,
)
from tidegate.contracts.changes import Effect, changes, next_version
from tidegate.contracts.describe import describe
from tidegate.contracts.fingerprint import fingerprint
from tidegate.contracts.registry import Registry, load_registry
from tidegate.contracts.snapshots import Snapshots
from tidegate.contracts.widening import accepts_all, is_wider_type
from tidegate.errors import ContractError, UsageError
from tidegate.operations.contract_check import check, current

if TYPE_CHECKING:
    from collections.abc import Callable


class Order(pa.DataFrameModel):
    order_id: int = pa.Field(unique=True, ge=1)
    status: str = pa.Field(isin=["open", "paid"], description="Where it stands.")
    note: str = pa.Field(nullable=True)
    amount: Annotated[pl.Decimal, 10, 2]

    @pa.dataframe_check
    @classmethod
    def paid_has_a_note(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """Paid orders say how."""
        return data.lazyframe.select((pl.col("status") != "paid") | pl.col("note").is_not_null())


def add_double(rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows.with_columns(double=pl.col("order_id") * 2)


BASE = Contract(
    name="orders",
    version="1.2.3",
    owner="sales",
    description="Orders.",
    keys=["orders/*.csv"],
    schema=Order,
    normalize=[add_double],
)


def described(contract: Contract) -> dict[str, Any]:
    """Through JSON, as a recorded one is."""
    found: dict[str, Any] = json.loads(json.dumps(current(contract, Registry({contract.name: contract}))))
    return found


def changed(was: Contract, now: Contract) -> dict[str, Effect]:
    return {one.what: one.effect for one in changes(described(was), described(now))}


def with_(**values: Any) -> Contract:
    return dataclasses.replace(BASE, **values)


def schema_with(**changed: tuple[type, Any]) -> type[Any]:
    """Order with other or more columns: name=(type, Field)."""
    fields = {
        "order_id": (int, pa.Field(unique=True, ge=1)),
        "status": (str, pa.Field(isin=["open", "paid"], description="Where it stands.")),
        "note": (str, pa.Field(nullable=True)),
        "amount": (Annotated[pl.Decimal, 10, 2], pa.Field()),
        **changed,
    }
    body: dict[str, Any] = {name: field for name, (_, field) in fields.items()}
    body["__annotations__"] = {name: kind for name, (kind, _) in fields.items()}
    body["paid_has_a_note"] = pa.dataframe_check(classmethod(Order.__dict__["paid_has_a_note"].__func__))
    return type("Order", (pa.DataFrameModel,), body)


# -- the description -----------------------------------------------------------------------------


def test_a_description_holds_what_is_declared_and_leaves_defaults_out() -> None:
    told = described(BASE)
    assert told["columns"][:2] == [
        {
            "name": "order_id",
            "type": "Int64",
            "nullable": False,
            "unique": True,
            "checks": [{"check": "greater_than_or_equal_to", "min_value": 1}],
        },
        {
            "name": "status",
            "type": "String",
            "nullable": False,
            "unique": False,
            "description": "Where it stands.",
            "checks": [{"check": "isin", "allowed_values": ["open", "paid"]}],
        },
    ]
    assert told["table"] == {
        "order_id": "Int64",
        "status": "String",
        "note": "String",
        "amount": "Decimal[10, 2]",
        "double": "Int64",
    }
    assert (told["dialect"], told["budget"], told["load"]) == ({}, {}, {"policy": "append"})
    (row_check,) = told["row_checks"]
    assert row_check["check"] == "paid_has_a_note"
    assert row_check["description"] == "Paid orders say how."


@pytest.mark.slow
def test_equal_declarations_are_described_equally_in_another_process() -> None:
    program = (
        "import json, sys; from tidegate.contracts.registry import load_registry; from pathlib import Path;"
        "from tidegate.operations.contract_check import current;"
        "r = load_registry('data_contracts', Path.cwd());"
        "print(json.dumps([current(one, r) for one in r]))"
    )
    root = Path(__file__).parents[2]
    texts = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=root,
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(texts) == 1


def step(text: str) -> Callable[..., Any]:
    """A function from a file of its own, as contracts have them."""
    import importlib.util
    import tempfile

    path = Path(tempfile.mkdtemp()) / f"steps_{uuid.uuid4().hex}.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location("steps", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: Callable[..., Any] = module.f
    return found


PLAIN = "RATE = 2\ndef g(x):\n    return x * RATE\ndef f(rows):\n    return g(rows)\n"


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (PLAIN, True),
        (
            PLAIN.replace("def f(rows):", "def f(rows: object) -> object:\n    '''Says it.'''\n    # why"),
            True,
        ),
        (PLAIN.replace("g(rows)", "g(\n        rows\n    )"), True),
        (PLAIN.replace("x * RATE", "x + RATE"), False),
        (PLAIN.replace("RATE = 2", "RATE = 3"), False),
        (PLAIN.replace("return g(rows)", "return g(g(rows))"), False),
        ("f = lambda rows: rows", False),
    ],
)
def test_a_fingerprint_follows_what_the_code_does(other: str, same: bool) -> None:
    assert (fingerprint(step(PLAIN)) == fingerprint(step(other))) is same


def test_a_partial_counts_with_its_arguments() -> None:
    f = step("def f(rows, n):\n    return rows\n")
    one, two = (fingerprint(functools.partial(f, n=n)) for n in (1, 2))
    assert one != two


# -- changes ---------------------------------------------------------------------------------------


OK, SUPPLIERS, READERS, TEXT = Effect.COMPATIBLE, Effect.SUPPLIERS, Effect.READERS, Effect.TEXT


@pytest.mark.parametrize(
    ("was", "now", "expected"),
    [
        ({}, {}, {}),
        ({}, {"owner": "shop"}, {"owner": TEXT}),
        ({}, {"keys": ["orders/*.csv", "o*.csv"]}, {"keys": OK}),
        ({}, {"keys": ["o*.csv"]}, {"keys": SUPPLIERS}),
        ({}, {"dialect": Dialect(delimiter=";")}, {"dialect.delimiter": SUPPLIERS}),
        ({}, {"dialect": Dialect(delimiter="detect")}, {"dialect.delimiter": OK}),
        ({}, {"columns": Columns(extra="ignore")}, {"column_policy.extra": OK}),
        ({"columns": Columns(extra="ignore")}, {}, {"column_policy.extra": SUPPLIERS}),
        ({}, {"columns": Columns(aliases={"id": "order_id"})}, {"column_policy.aliases": OK}),
        ({"columns": Columns(aliases={"id": "order_id"})}, {}, {"column_policy.aliases": SUPPLIERS}),
        ({"null_tokens": ["", "NA"]}, {}, {"null_tokens": SUPPLIERS}),
        ({}, {"null_tokens": ["", "NA"]}, {"null_tokens": SUPPLIERS}),
        ({}, {"trim": True}, {"trim": OK}),
        ({}, {"parse": {"amount": Parse(decimal=",")}}, {"parse.amount.decimal": SUPPLIERS}),
        ({}, {"parse": {"amount": Parse(thousands="'")}}, {"parse.amount.thousands": OK}),
        ({}, {"parse": {"note": Parse(null_tokens=["", "-"])}}, {"parse.note.null_tokens": OK}),
        ({}, {"parse": {"note": Parse(null_tokens=[""])}}, {}),
        ({}, {"normalize": []}, {"normalize": OK, "table.double": READERS}),
        ({}, {"load": Replace()}, {"load": READERS}),
        ({"load": Merge(key=["order_id"])}, {"load": Merge(key=["note"])}, {"load.key": READERS}),
        ({"load": Replace()}, {"load": Replace(allow_empty=True)}, {"load.allow_empty": OK}),
        ({}, {"budget": Budget(max_rows=5)}, {"budget.max_rows": SUPPLIERS}),
        ({"budget": Budget(max_rows=5)}, {"budget": Budget(max_rows=6)}, {"budget.max_rows": OK}),
        ({}, {"totals": ControlTotals(manifest="{key}.json", rows="n")}, {"totals": SUPPLIERS}),
        ({"totals": ControlTotals(manifest="{key}.json", rows="n")}, {}, {"totals": OK}),
        ({}, {"schema": schema_with(note=(str, pa.Field()))}, {"columns.note.nullable": SUPPLIERS}),
        (
            {},
            {"schema": schema_with(status=(str, pa.Field(isin=["open", "paid", "lost"])))},
            {"columns.status.description": TEXT, "columns.status.isin": OK},
        ),
        ({}, {"schema": schema_with(order_id=(int, pa.Field(ge=1)))}, {"columns.order_id.unique": READERS}),
        (
            {},
            {"schema": schema_with(amount=(float, pa.Field()))},
            {"columns.amount.type": OK, "table.amount": READERS},
        ),
        (
            {},
            {"schema": schema_with(city=(str, pa.Field()))},
            {"columns.city": SUPPLIERS, "table.city": OK},
        ),
        (
            {"columns": Columns(missing="null")},
            {"columns": Columns(missing="null"), "schema": schema_with(city=(str, pa.Field(nullable=True)))},
            {"columns.city": OK, "table.city": OK},
        ),
    ],
)  # fmt: skip
def test_each_change_is_told_with_whom_it_breaks(
    was: dict[str, Any], now: dict[str, Any], expected: dict[str, Effect]
) -> None:
    found = changed(with_(**was), with_(**now))
    # Where a type was built anew its checks' code may stand elsewhere; that is no change.
    assert {what: effect for what, effect in found.items() if what != "columns' order"} == expected


def test_a_lookup_that_refuses_rows_breaks_suppliers_and_one_that_stops_breaks_readers() -> None:
    shops = Contract(
        name="shops", version="1.0.0", owner="o", description="d", keys=["s.csv"], schema=schema_with()
    )

    def told(unmatched: Any) -> dict[str, Any]:
        lookup = Lookup(dataset="shops", on={"note": "note"}, take={"state": "status"}, unmatched=unmatched)
        orders = with_(enrich=[lookup])
        return current(orders, Registry({"orders": orders, "shops": shops}))

    (one,) = changes(told("keep"), told("reject"))
    assert (one.what, one.effect) == ("enrich.shops by note.unmatched", SUPPLIERS)
    (one,) = changes(told("reject"), told("keep"))
    assert one.effect is READERS


@pytest.mark.parametrize(
    ("version", "effects", "least"),
    [
        ("1.2.3", [], "1.2.3"),
        ("1.2.3", [TEXT], "1.2.4"),
        ("1.2.3", [TEXT, OK], "1.3.0"),
        ("1.2.3", [OK, READERS], "2.0.0"),
        ("0.2.3", [SUPPLIERS], "0.3.0"),
        ("0.2.3", [OK], "0.2.4"),
    ],
)
def test_the_version_that_follows(version: str, effects: list[Effect], least: str) -> None:
    from tidegate.contracts.changes import Change

    assert next_version(version, [Change("x", 1, 2, effect) for effect in effects]) == least


@pytest.mark.parametrize(
    ("was", "now", "wider"),
    [
        ("Int32", "Int64", True),
        ("Int64", "Int32", False),
        ("UInt8", "Int8", False),
        ("UInt8", "Int16", True),
        ("Int8", "UInt16", False),
        ("Int64", "Float64", True),
        ("Float64", "Int64", False),
        ("Decimal[10, 2]", "Decimal[12, 4]", True),
        ("Decimal[10, 2]", "Decimal[10, 4]", False),
        ("Date", "String", True),
        ("String", "Date", False),
    ],
)
def test_wider_types(was: str, now: str, wider: bool) -> None:
    assert is_wider_type(was, now) is wider


@pytest.mark.parametrize(
    ("check_name", "was", "now", "wider"),
    [
        ("greater_than", {"min_value": 1}, {"min_value": 0}, True),
        ("greater_than", {"min_value": 0}, {"min_value": 1}, False),
        ("less_than", {"max_value": 1}, {"max_value": 2}, True),
        ("greater_than", {"min_value": 1}, {"min_value": "a"}, False),
        ("notin", {"forbidden_values": [1, 2]}, {"forbidden_values": [1]}, True),
        ("str_matches", {"pattern": "a"}, {"pattern": "a|b"}, False),
        ("str_length", {"min_value": 1, "max_value": 3}, {"max_value": 4}, True),
        ("str_length", {"max_value": 3}, {"max_value": 2}, False),
        ("str_length", {"exact_value": 3}, {"min_value": 3}, True),
        ("str_length", {"max_value": 3}, {"exact_value": 3}, False),
        (
            "in_range",
            {"min_value": 1, "max_value": 2, "include_min": True, "include_max": True},
            {"min_value": 1, "max_value": 2, "include_min": False, "include_max": True},
            False,
        ),
    ],
)
def test_wider_checks(check_name: str, was: dict[str, Any], now: dict[str, Any], wider: bool) -> None:
    assert accepts_all({"check": check_name, **was}, {"check": check_name, **now}) is wider


# -- what is recorded ------------------------------------------------------------------------------


@pytest.fixture
def snapshots(tmp_path: Path) -> Snapshots:
    return Snapshots(tmp_path / "_versions")


def judged(snapshots: Snapshots, *, write: bool = False, **values: Any) -> tuple[list[str], bool]:
    contract = with_(**values)
    (one,) = check(Registry({"orders": contract}), snapshots, write=write)
    return one.problems, one.recorded


def test_a_version_is_recorded_once_and_then_held_to(snapshots: Snapshots) -> None:
    problems, _ = judged(snapshots)
    assert "is not recorded; run tidegate contracts check --write" in problems[0]
    assert judged(snapshots, write=True) == ([], True)
    before = (snapshots.folder / "orders" / "1.2.3.json").read_bytes()
    assert judged(snapshots, write=True) == ([], False)
    ((problem,), recorded) = judged(snapshots, write=True, budget=Budget(max_rows=1))
    assert "changed without a step of its version: budget.max_rows was not there, is 1" in problem
    assert "at least 2.0.0 (breaking for suppliers)" in problem
    assert not recorded
    assert (snapshots.folder / "orders" / "1.2.3.json").read_bytes() == before


def test_a_step_that_is_too_small_is_refused_and_one_that_is_enough_is_recorded(snapshots: Snapshots) -> None:
    judged(snapshots, write=True)
    ((problem,), _) = judged(snapshots, write=True, version="1.2.4", trim=True)
    assert "too small a step from 1.2.3" in problem
    assert "at least 1.3.0 (compatible)" in problem
    assert judged(snapshots, write=True, version="1.10.0", trim=True) == ([], True)
    assert snapshots.versions("orders") == ["1.2.3", "1.10.0"]
    ((problem,), _) = judged(snapshots, write=True, version="1.9.0", trim=True)
    assert "comes before 1.10.0" in problem


def test_what_only_shows_with_the_steps_is_found(snapshots: Snapshots) -> None:
    problems, recorded = judged(snapshots, write=True, load=Merge(key=["order"], order_by="at"))
    assert "Merge(key=…) names 'order', which its table lacks; did you mean 'order_id'?" in problems[0]
    assert "Merge(order_by=…) names 'at'" in problems[1]
    assert not recorded

    def broken(rows: pl.LazyFrame) -> pl.LazyFrame:
        return rows.select("nothing")

    (problem,) = judged(snapshots, normalize=[broken])[0]
    assert "step broken failed" in problem


@pytest.mark.parametrize(
    ("on", "said"),
    [({"shop": "note"}, "matches on 'shop'"), ({"order_id": "note"}, "give both the same type")],
)
def test_a_lookup_must_match_columns_that_are_there_and_alike(on: dict[str, str], said: str) -> None:
    shops = dataclasses.replace(BASE, name="shops", normalize=[])
    orders = with_(enrich=[Lookup(dataset="shops", on=on, take={"x": "note"})])
    with pytest.raises(ContractError, match=said):
        current(orders, Registry({"orders": orders, "shops": shops}))


def test_a_lookup_takes_no_name_that_the_rows_have() -> None:
    shops = dataclasses.replace(BASE, name="shops", normalize=[])
    twice = Lookup(dataset="shops", on={"order_id": "order_id"}, take={"x": "note"})
    for enrich in ([twice, twice], [dataclasses.replace(twice, take={"order_id": "note"})]):
        orders = with_(enrich=enrich)
        with pytest.raises(ContractError, match="a column that the rows have already"):
            current(orders, Registry({"orders": orders, "shops": shops}))


def test_a_column_that_no_table_keeps_is_found_before_a_file_comes(snapshots: Snapshots) -> None:
    def stamped(rows: pl.LazyFrame) -> pl.LazyFrame:
        return rows.with_columns(seen=pl.lit(None, dtype=pl.Datetime("ns", "UTC")))

    (problem,), recorded = judged(snapshots, write=True, normalize=[stamped])
    assert "no column type keeps Datetime(time_unit='ns', time_zone='UTC') exactly" in problem
    assert not recorded


def test_a_record_that_is_none_says_what_to_do(snapshots: Snapshots) -> None:
    with pytest.raises(UsageError, match="Recorded versions: none"):
        snapshots.read("orders", "9.9.9")
    path = snapshots.folder / "orders" / "1.0.0.json"
    path.parent.mkdir(parents=True)
    for text in ("{", "[]", '{"format": 2}'):
        path.write_text(text)
        with pytest.raises(ContractError, match="recorded contract"):
            snapshots.read("orders", "1.0.0")


def test_the_example_contracts_are_as_recorded() -> None:
    registry = load_registry("data_contracts", Path(__file__).parents[2])
    problems = [one.problems for one in check(registry, Snapshots.of_package("data_contracts"))]
    assert problems == [[]] * 5


def test_describing_needs_no_table() -> None:
    assert "table" not in describe(BASE)


# -- nothing is forgotten when a declaration gets a new field --------------------------------------


def test_every_field_of_a_contract_is_described() -> None:
    told = set(describe(BASE))
    renamed = {"schema": "columns", "columns": "column_policy"}
    fields = {renamed.get(field.name, field.name) for field in dataclasses.fields(Contract)}
    assert fields - told == set()


OTHER: dict[str, Any] = {
    "reordered": "hold",
    "missing": "null",
    "extra": "ignore",
    "aliases": {"id": "order_id"},
    "ignore_case": True,
    "null_tokens": ["", "-"],
    "trim": True,
    "formats": ["%d.%m.%Y"],
    "time_zone": "UTC",
    "decimal": ",",
    "thousands": "'",
    "true": ["yes"],
    "false": ["no"],
    "delimiter": ";",
    "quote": "'",
    "escape": "\\",
    "encoding": "latin-1",
    "compression": "gzip",
    "preamble_lines": 1,
    "header_lines": 2,
    "comment": "#",
    "footer": "^T",
    "max_rows": 1,
    "max_share": 0.5,
}


@pytest.mark.parametrize(
    ("kind", "field"),
    [(kind, field.name) for kind in (Dialect, Columns, Parse, Budget) for field in dataclasses.fields(kind)],
)
def test_a_change_of_any_field_is_noticed(kind: type[Any], field: str) -> None:
    one = kind(**{field: OTHER[field]})
    place = {Dialect: "dialect", Columns: "columns", Budget: "budget"}.get(kind)
    now = with_(**{place: one}) if place else with_(parse={"amount": one})
    for pair in ((BASE, now), (now, BASE)):
        found = changes(*(describe(contract) for contract in pair))
        assert [change.what.rpartition(".")[2] for change in found] == [field]
