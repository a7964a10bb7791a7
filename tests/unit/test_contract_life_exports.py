"""A contract as a page, a JSON Schema and an Open Data Contract Standard document.

Golden files hold what people and programs get. To write them anew:
TIDEGATE_WRITE_GOLDEN=1 pytest tests/unit/test_contract_life_exports.py
"""

from __future__ import annotations

import json
import os
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import jsonschema
import pandera.polars as pa
import polars as pl
import pytest
import yaml

import tidegate
from tidegate.contracts import Budget, Columns, Contract, ControlTotals, Dialect, Merge, Parse
from tidegate.contracts.exports.examples import example
from tidegate.contracts.exports.json_schema import json_schema
from tidegate.contracts.exports.odcs import odcs
from tidegate.contracts.exports.sentences import bad_rows, sentence
from tidegate.contracts.registry import Registry, load_registry
from tidegate.operations.contract_check import current
from tidegate.operations.contract_show import Form, show, write_pages

if TYPE_CHECKING:
    from collections.abc import Mapping

REPOSITORY = Path(__file__).parents[2]
GOLDEN = REPOSITORY / "tests" / "golden" / "contracts"


class Everything(pa.DataFrameModel):
    code: str = pa.Field(str_matches=r"^[A-Z]{2}\d{3}$", unique=True, title="Code", description="What it is.")
    kind: str = pa.Field(isin=["a|b", "c"])
    short: str = pa.Field(str_length={"max_value": 5}, nullable=True)
    share: float = pa.Field(in_range={"min_value": 0, "max_value": 1, "include_max": False})
    price: Annotated[pl.Decimal, 10, 2] = pa.Field(gt=0)
    small: pl.UInt8 = pa.Field(le=200)
    yes: bool
    day: pl.Date = pa.Field(nullable=True)
    at: Annotated[pl.Datetime, "us", "UTC"]
    local: Annotated[pl.Datetime, "us", None]
    clock: pl.Time

    @pa.check("small")
    @classmethod
    def is_even(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """Even numbers only."""
        return data.lazyframe.select(pl.col(data.key) % 2 == 0)

    @pa.dataframe_check
    @classmethod
    def price_goes_with_share(cls, data: pa.PolarsData) -> pl.LazyFrame:
        return data.lazyframe.select(pl.col("share") >= 0)


everything = Contract(
    name="everything",
    version="2.1.0",
    owner="somebody",
    description="One column of each type.",
    keys=["everything/*.csv"],
    schema=Everything,
    dialect=Dialect(delimiter=";", comment="#", footer="^TOTAL", encoding="latin-1", preamble_lines="detect"),
    columns=Columns(missing="null", extra="ignore", aliases={"Kode": "code"}, ignore_case=True),
    null_tokens=["", "-"],
    trim=True,
    parse={
        "share": Parse(decimal=","),
        "price": Parse(decimal=",", thousands="."),
        "yes": Parse(true=["ja"], false=["nein"]),
        "day": Parse(formats=["%d.%m.%Y"], null_tokens=["", "0"]),
        "local": Parse(formats=["%d.%m.%Y %H:%M"]),
    },
    load=Merge(key=["code"]),
    budget=Budget(max_rows=3, max_share=0.1),
    totals=ControlTotals(trailer=r"TOTAL;(?P<rows>\d+)"),
)
REGISTRY = Registry({"everything": everything})


def described() -> dict[str, Any]:
    return current(everything, REGISTRY)


def golden(name: str, text: str) -> None:
    path = GOLDEN / name
    if os.environ.get("TIDEGATE_WRITE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()


@pytest.mark.parametrize("form", [Form.MARKDOWN, Form.JSON, Form.JSON_SCHEMA, Form.ODCS])
def test_what_is_shown(form: Form) -> None:
    endings = {
        Form.MARKDOWN: "md",
        Form.JSON: "json",
        Form.JSON_SCHEMA: "schema.json",
        Form.ODCS: "odcs.yaml",
    }
    golden(f"everything.{endings[form]}", show(everything, REGISTRY, form))


def test_the_pages_of_a_project(tmp_path: Path) -> None:
    registry = load_registry("data_contracts", REPOSITORY)
    names = sorted(path.name for path in write_pages(registry, tmp_path / "pages"))
    assert names == ["README.md", "airlines.md", "airports.md", "flights.md", "planes.md", "weather.md"]
    golden("flights.md", (tmp_path / "pages" / "flights.md").read_text())
    golden("README.md", (tmp_path / "pages" / "README.md").read_text())


# -- JSON Schema -----------------------------------------------------------------------------------

ROW = {
    "code": "AB123",
    "kind": "c",
    "short": None,
    "share": 0.5,
    "price": 1.5,
    "small": 4,
    "yes": True,
    "day": None,
    "at": "2026-01-31T13:45:00Z",
    "local": "2026-01-31T13:45:00",
    "clock": "13:45:00",
}


def errors(row: Mapping[str, Any]) -> list[str]:
    schema = json_schema(described())
    jsonschema.Draft202012Validator.check_schema(schema)
    return [str(one.json_path) for one in jsonschema.Draft202012Validator(schema).iter_errors(row)]


def test_a_good_row_fits_the_schema() -> None:
    assert errors(ROW) == []
    assert errors({**ROW, "more": 1}) == []
    assert errors({name: value for name, value in ROW.items() if name != "day"}) == []


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("code", "ab123"),
        ("code", None),
        ("kind", "b"),
        ("short", "longer"),
        ("share", 1),
        ("share", -0.1),
        ("price", 0),
        ("small", 201),
        ("small", -1),
        ("small", 1.5),
        ("yes", "ja"),
        ("local", "2026-01-31"),
        ("clock", "13"),
    ],
)
def test_a_row_that_breaks_a_rule_does_not(column: str, value: Any) -> None:
    assert errors({**ROW, column: value}) == [f"$.{column}"]


def test_the_example_rows_of_flights_fit_theirs() -> None:
    registry = load_registry("data_contracts", REPOSITORY)
    contract = registry["flights"]
    file = next((REPOSITORY / "examples" / "nycflights" / "flights").glob("*-01-01.csv"))
    rows = tidegate.check(file, contract).accepted
    validator = jsonschema.Draft202012Validator(json_schema(current(contract, registry)))
    frame = (
        rows.head(50)
        .drop("_record", "_line")
        .with_columns(pl.col("time_hour").dt.strftime("%Y-%m-%dT%H:%M:%SZ"))
    )
    for row in frame.rows(named=True):
        validator.validate(row)


# -- ODCS ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dataset", ["everything", "airlines", "airports", "flights", "planes", "weather"])
def test_the_document_follows_the_standard(dataset: str) -> None:
    registry = REGISTRY if dataset == "everything" else load_registry("data_contracts", REPOSITORY)
    document = yaml.safe_load(show(registry[dataset], registry, Form.ODCS))
    standard = json.loads(files("open_data_contract_standard").joinpath("schema.json").read_text())
    found = jsonschema.Draft201909Validator(standard).iter_errors(document)
    assert [f"{one.json_path}: {one.message}" for one in found] == []


def test_the_document_says_what_the_contract_says() -> None:
    document = odcs(described(), {"code": "VARCHAR"})
    sent, table = document["schema"]
    properties = {one["name"]: one for one in sent["properties"]}
    assert (document["apiVersion"], document["version"]) == ("v3.1.0", "2.1.0")
    assert properties["code"]["unique"] is properties["code"]["required"] is True
    assert properties["day"]["required"] is False
    assert properties["share"]["logicalTypeOptions"] == {"minimum": 0, "exclusiveMaximum": 1, "format": "f64"}
    assert properties["kind"]["quality"][0]["arguments"] == {"validValues": ["a|b", "c"]}
    assert [one["name"] for one in sent["quality"]] == ["price_goes_with_share"]
    key = [one for one in table["properties"] if one.get("primaryKey")]
    assert [(one["name"], one["physicalType"]) for one in key] == [("code", "VARCHAR")]


# -- sentences and examples ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unmatched", "words"),
    [
        ("keep", ""),
        ("reject", "A row whose `code` is not in `id` of the dataset codes breaks a rule."),
        (
            "hold",
            "A file with a row whose `code` is not in `id` of the dataset codes is held until it is there.",
        ),
    ],
)
def test_what_a_lookup_refuses_is_told(unmatched: Any, words: str) -> None:
    enrich = {"enrich": [{"lookup": "codes", "on": {"code": "id"}, "take": {}, "unmatched": unmatched}]}
    told = bad_rows(described() | enrich)
    assert [line for line in told if "codes" in line] == [words] * bool(words)


@pytest.mark.parametrize(
    ("check", "words"),
    [
        ({"check": "str_length", "exact_value": 3}, "3 characters long"),
        ({"check": "str_length", "min_value": 3}, "at least 3 characters long"),
        ({"check": "str_length", "min_value": 1, "max_value": 3}, "1 to 3 characters long"),
        ({"check": "notin", "forbidden_values": ["x", ""]}, "none of `x`, an empty text"),
        ({"check": "equal_to", "value": True}, "exactly true"),
        ({"check": "is_even", "code": "0"}, "is even"),
    ],
)
def test_rules_are_sentences(check: dict[str, Any], words: str) -> None:
    assert sentence(check) == words


@pytest.mark.parametrize(
    ("kind", "checks", "text"),
    [
        ("Int64", [{"check": "greater_than", "min_value": 3}], "4"),
        ("Int64", [{"check": "less_than", "max_value": 3}], "2"),
        ("Float64", [{"check": "less_than_or_equal_to", "max_value": 3}], "3.0"),
        ("Int64", [{"check": "greater_than", "min_value": 3}, {"check": "less_than", "max_value": 4}], None),
        ("String", [{"check": "str_matches", "pattern": r"^[A-Z]{2}-\d+x?$"}], "AA-1"),
        ("String", [{"check": "str_matches", "pattern": r"^(a|b)$"}], None),
        ("String", [{"check": "str_length", "exact_value": 2}], "c" * 2),
        ("String", [{"check": "own", "code": "0"}], None),
        ("Time", [], "13:45:00"),
    ],
)
def test_examples_keep_the_rules(kind: str, checks: list[dict[str, Any]], text: str | None) -> None:
    column = {"name": "c", "type": kind, "nullable": False, "unique": False, "checks": checks}
    assert example(column, {"parse": {}}) == text


@pytest.mark.parametrize("dataset", ["airlines", "airports", "flights", "planes", "weather"])
def test_the_example_file_on_the_page_is_accepted(dataset: str, tmp_path: Path) -> None:
    registry = load_registry("data_contracts", REPOSITORY)
    contract = registry[dataset]
    page = show(contract, registry, Form.MARKDOWN)
    file = tmp_path / "example.csv"
    file.write_text(page.split("```text\n")[1].split("```")[0])
    verdict = tidegate.check(file, contract)
    assert (verdict.accepted.height, verdict.rejected.rows(), verdict.ok) == (1, [], True)
