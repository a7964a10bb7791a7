from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Annotated, Any, Optional

import pandera.polars as pa
import polars as pl
import pytest

from tidegate.contracts import Contract
from tidegate.contracts.columns import Columns
from tidegate.errors import ContractError, ObjectRejectedError
from tidegate.stages.check import check, is_rowwise, unique_columns
from tidegate.stages.model import RECORD
from tidegate.stages.parse import Parsed, parse
from tidegate.stages.schema import file_columns

if TYPE_CHECKING:
    from collections.abc import Mapping


def contract(schema: type[Any], **changes: Any) -> Contract:
    values: dict[str, Any] = {
        "name": "orders",
        "version": "1.2.3",
        "owner": "sales",
        "description": "Orders.",
        "keys": ["orders/*.csv"],
        "schema": schema,
        "null_tokens": ["", "NA"],
    }
    return Contract(**{**values, **changes})


def parsed(schema: type[Any], columns: Mapping[str, list[str]]) -> Parsed:
    declared = contract(schema)
    height = len(next(iter(columns.values())))
    return parse(pl.DataFrame({RECORD: range(1, height + 1), **columns}), file_columns(declared), declared)


def rejected(schema: type[Any], **columns: list[str]) -> list[tuple[Any, ...]]:
    found = check(parsed(schema, columns), contract(schema))
    assert found.columns == ["record", "column", "rule", "value", "message"]
    return found.drop("message").rows()


def told(schema: type[Any], **columns: list[str]) -> list[str]:
    return check(parsed(schema, columns), contract(schema))["message"].to_list()


class Order(pa.DataFrameModel):
    order_id: int = pa.Field(unique=True, ge=1)
    status: str = pa.Field(isin=["open", "paid"])
    note: str = pa.Field(nullable=True)

    @pa.dataframe_check(description="paid orders have a note")
    @classmethod
    def paid_orders_have_a_note(cls, data: pa.PolarsData) -> pl.LazyFrame:
        return data.lazyframe.select((pl.col("status") != "paid") | pl.col("note").is_not_null())


def test_every_rule_that_a_row_breaks_is_told() -> None:
    assert rejected(Order, order_id=["0", "0", "3"], status=["lost", "paid", "open"], note=["", "", ""]) == [
        (1, "order_id", "unique", "0"),
        (2, "order_id", "unique", "0"),
        (1, "order_id", "greater_than_or_equal_to(1)", "0"),
        (2, "order_id", "greater_than_or_equal_to(1)", "0"),
        (1, "status", "isin(['open', 'paid'])", "lost"),
        (2, None, "paid_orders_have_a_note", None),
    ]


def test_what_follows_from_an_unread_value_is_not_told_but_all_else_is() -> None:
    class Lines(pa.DataFrameModel):
        order_id: int
        line: int
        price: float
        note: str = pa.Field(isin=["x"])

        @pa.dataframe_check
        @classmethod
        def never(cls, data: pa.PolarsData) -> pl.LazyFrame:
            return data.lazyframe.select(pl.col("line").is_null() & pl.col("line").is_not_null())

        class Config:
            unique = ("order_id", "line")

    columns = {
        "order_id": ["1", "1", "1"],
        "line": ["1", "one", "1"],
        "price": ["x", "1", "1"],
        "note": ["y"] * 3,
    }
    assert rejected(Lines, **columns) == [
        (1, None, "unique(order_id, line)", None),
        (3, None, "unique(order_id, line)", None),
        (1, "note", "isin(['x'])", "y"),
        (2, "note", "isin(['x'])", "y"),
        (3, "note", "isin(['x'])", "y"),
        (3, None, "never", None),
    ]


def test_a_row_has_one_rejection_for_a_column_and_rule() -> None:
    class Twice(pa.DataFrameModel):
        a: int

        @pa.check("a", name="even")
        @classmethod
        def one(cls, data: pa.PolarsData) -> pl.LazyFrame:
            return data.lazyframe.select(pl.col("a") % 2 == 0)

        @pa.check("a", name="even")
        @classmethod
        def two(cls, data: pa.PolarsData) -> pl.LazyFrame:
            return data.lazyframe.select(pl.col("a") % 2 == 0)

    assert rejected(Twice, a=["1", "2"]) == [(1, "a", "even", "1")]


def test_each_of_several_joint_unique_rules_is_held() -> None:
    # Pandera stops at the first that is broken.
    class Pairs(pa.DataFrameModel):
        a: int
        b: int
        c: int

        class Config:
            unique = [["a", "b"], ["b", "c"]]  # noqa: RUF012

    found = rejected(Pairs, a=["1", "1", "2", "3"], b=["1", "1", "5", "5"], c=["1", "2", "3", "3"])
    assert [(record, rule) for record, _, rule, _ in found] == [
        (1, "unique(a, b)"),
        (2, "unique(a, b)"),
        (3, "unique(b, c)"),
        (4, "unique(b, c)"),
    ]


def test_missing_values_are_no_duplicates_of_one_another() -> None:
    class Maybe(pa.DataFrameModel):
        a: int = pa.Field(unique=True, nullable=True)
        b: int = pa.Field(nullable=True)

        class Config:
            unique = ("a", "b")

    assert rejected(Maybe, a=["", "", "x", "x"], b=["1", "1", "", ""]) == []


def test_nulls_of_a_nullable_column_pass_its_checks() -> None:
    # pandera issue 1835
    class Maybe(pa.DataFrameModel):
        a: str = pa.Field(nullable=True, notin=["x"], str_length=3, str_matches="^...$")
        b: int = pa.Field(nullable=True, in_range={"min_value": 1, "max_value": 2})

    assert rejected(Maybe, a=["", "abc"], b=["NA", "1"]) == []


def test_checks_are_run_whatever_panderas_settings_say(monkeypatch: pytest.MonkeyPatch) -> None:
    from pandera.config import CONFIG

    monkeypatch.setattr(CONFIG, "validation_enabled", False)
    assert [rule for _, _, rule, _ in rejected(Order, order_id=["0"], status=["open"], note=[""])] == [
        "greater_than_or_equal_to(1)"
    ]


@pytest.mark.parametrize("height", [1, 3])
def test_a_check_that_judges_the_file_as_a_whole_holds_it(height: int) -> None:
    class Whole(pa.DataFrameModel):
        a: int

        @pa.dataframe_check(error="at least one row has 5")
        @classmethod
        def some_five(cls, data: pa.PolarsData) -> bool:
            return bool(data.lazyframe.select((pl.col("a") == 5).any()).collect().item())

    assert rejected(Whole, a=["5"] * height) == []
    with pytest.raises(
        ObjectRejectedError, match=r"some_five of orders 1\.2\.3: at least one row has 5"
    ) as held:
        rejected(Whole, a=["4"] * height)
    assert held.value.rule == "some_five"


def test_a_check_of_all_distinct_values_judges_the_file() -> None:
    class States(pa.DataFrameModel):
        a: str = pa.Field(unique_values_eq=["x", "y"])

    with pytest.raises(ObjectRejectedError, match="hold each of 'x', 'y', and nothing else"):
        rejected(States, a=["x", "x"])


@pytest.mark.parametrize("answer", [pl.col("no such column"), pl.col("a") + 1], ids=["fails", "numbers"])
def test_a_check_that_gives_no_verdict_is_the_authors_mistake(answer: pl.Expr) -> None:
    class Wrong(pa.DataFrameModel):
        a: int

        @pa.check("a")
        @classmethod
        def broken(cls, data: pa.PolarsData) -> pl.LazyFrame:
            return data.lazyframe.select(answer)

    with pytest.raises(
        ContractError, match=r"'orders' 1\.2\.3: the check broken of column 'a' could not be run"
    ):
        rejected(Wrong, a=["1"])


def test_a_frame_without_rows_breaks_nothing() -> None:
    assert rejected(Order, order_id=[], status=[], note=[]) == []


def field(kind: Any, **options: Any) -> type[Any]:
    body = {"__annotations__": {"c": kind}, "__module__": __name__, "c": pa.Field(**options)}
    return type("Made", (pa.DataFrameModel,), body)


@pytest.mark.parametrize(
    ("schema", "text", "message"),
    [
        (field(int, eq=1), "2", "c is '2', but must be 1."),
        (field(int, ne=2), "2", "c is '2', but must not be 2."),
        (field(int, gt=2), "2", "c is '2', but must be more than 2."),
        (field(int, ge=3), "2", "c is '2', but must be at least 3."),
        (field(int, lt=2), "2", "c is '2', but must be less than 2."),
        (field(int, le=1), "2", "c is '2', but must be at most 1."),
        (
            field(pl.Date, ge=date(2026, 1, 1)),
            "2025-12-31",
            "c is '2025-12-31', but must be 2026-01-01 or later.",
        ),
        (
            field(int, in_range={"min_value": 3, "max_value": 5}),
            "2",
            "c is '2', but must be from 3 to 5.",
        ),
        (
            field(int, in_range={"min_value": 2, "max_value": 5, "include_min": False, "include_max": False}),
            "2",
            "c is '2', but must be more than 2 and less than 5.",
        ),
        (field(str, isin=["EWR", "JFK"]), "LAX", "c is 'LAX', but must be 'EWR' or 'JFK'."),
        (field(str, notin=["LAX"]), "LAX", "c is 'LAX', but must not be 'LAX'."),
        (
            field(str, str_matches="^[A-Z]+$"),
            "x",
            "c is 'x', but must match the pattern '^[A-Z]+$'.",
        ),
        (field(str, str_contains="[A-Z]"), "x", "c is 'x', but must contain a match of the pattern '[A-Z]'."),
        (field(str, str_startswith="A"), "x", "c is 'x', but must begin with 'A'."),
        (field(str, str_endswith="A"), "x", "c is 'x', but must end with 'A'."),
        (field(str, str_length=1), "xx", "c is 'xx', but must be exactly 1 character long."),
        (field(str, str_length=(3, 5)), "xx", "c is 'xx', but must be 3 to 5 characters long."),
        (field(str, str_length={"min_value": 3}), "xx", "c is 'xx', but must be at least 3 characters long."),
        (field(str, str_length={"max_value": 1}), "xx", "c is 'xx', but must be at most 1 character long."),
        (field(Annotated[pl.Decimal, 10, 2], ge=5), "1.50", "c is '1.50', but must be at least 5."),
        (field(float, le=5), "1e5", "c is '1e5', but must be at most 5."),
        (field(int), "", "c is empty, but a value is required."),
        (field(int), "NA", "c is 'NA', which means no value, but a value is required."),
    ],
)
def test_a_sentence_says_what_the_value_must_be(schema: type[Any], text: str, message: str) -> None:
    assert told(schema, c=[text]) == [message]


def test_a_sentence_for_values_that_stand_twice() -> None:
    class Lines(pa.DataFrameModel):
        order_id: int = pa.Field(unique=True)
        line: int

        class Config:
            unique = ("order_id", "line")

    assert told(Lines, order_id=["17", "17"], line=["1", "1"])[1:3] == [
        "order_id is '17', but another row of the file has the same; each value may occur only once.",
        (
            "order_id and line are '17' and '1', but another row of the file has the same; "
            "together they may occur only once."
        ),
    ]


def test_authors_words_are_told() -> None:
    class Worded(pa.DataFrameModel):
        a: int

        @pa.check("a", error="a is even.")
        @classmethod
        def one(cls, data: pa.PolarsData) -> pl.LazyFrame:
            return data.lazyframe.select(pl.col("a") % 2 == 0)

        @pa.check("a", description="a is\n  small")
        @classmethod
        def two(cls, data: pa.PolarsData) -> pl.LazyFrame:
            return data.lazyframe.select(pl.col("a") < 1)

        @pa.check("a")
        @classmethod
        def isin(cls, data: pa.PolarsData) -> pl.LazyFrame:
            return data.lazyframe.select(pl.col("a") < 1)

        @pa.dataframe_check
        @classmethod
        def fine(cls, data: pa.PolarsData) -> pl.LazyFrame:
            return data.lazyframe.select(pl.col("a") < 1)

    assert told(Worded, a=["1"]) == [
        "a is '1', which breaks a rule: a is even.",
        "a is '1', which breaks a rule: a is small.",
        "a is '1', which breaks the rule 'isin'.",
        "The row breaks the rule 'fine'.",
    ]


def test_values_are_shown_on_one_line_and_kept_whole() -> None:
    schema = field(str, isin=["x"])
    long = "a\r\n\t\x07" + "b" * 200
    assert told(schema, c=[long]) == [rf"c is 'a\r\n\t\x07{'b' * 95}…', but must be 'x'."]
    assert rejected(schema, c=[long])[0][3] == long


def test_without_the_texts_the_values_are_shown_as_parsed() -> None:
    found = parsed(field(float, le=5), {"c": ["1e5"]})
    rejections = check(Parsed(found.rows, found.unread), contract(field(float, le=5)))
    assert rejections["value"].to_list() == ["100000.0"]


def element_wise(**options: Any) -> type[Any]:
    class Single(pa.DataFrameModel):
        a: int = pa.Field(**options)

        @pa.check("a", element_wise=True)
        @classmethod
        def prime(cls, value: int) -> bool:
            return all(value % factor for factor in range(2, value))

    return Single


def test_element_wise_checks_give_a_verdict_a_row() -> None:
    assert rejected(element_wise(), a=["4", "5"]) == [(1, "a", "prime", "4")]


class Joint(pa.DataFrameModel):
    a: int
    b: int

    class Config:
        unique = ("a", "b")


@pytest.mark.parametrize(
    ("schema", "rowwise", "unique"),
    [
        (field(int, ge=1, le=5, nullable=True), True, []),
        (field(str, str_length=5, isin=["x"]), True, []),
        (element_wise(), True, []),
        (field(int, unique=True), False, [("c",)]),
        (Joint, False, [("a", "b")]),
        (Order, False, [("order_id",)]),
        (field(str, unique_values_eq=["x"]), False, []),
    ],
)
def test_a_schema_is_rowwise_when_every_check_is_known_to_be(
    schema: type[Any], rowwise: bool, unique: list[tuple[str, ...]]
) -> None:
    assert is_rowwise(contract(schema)) is rowwise
    assert unique_columns(contract(schema)) == unique


def test_a_custom_check_is_never_taken_for_rowwise_even_by_a_known_name() -> None:
    class Custom(pa.DataFrameModel):
        a: int

        @pa.check("a", name="isin")
        @classmethod
        def isin(cls, data: pa.PolarsData) -> pl.LazyFrame:
            return data.lazyframe.select(pl.col("a") > pl.col("a").mean())

    assert not is_rowwise(contract(Custom))


def configured(**options: Any) -> type[Any]:
    class Made(pa.DataFrameModel):
        c: int = pa.Field(nullable=True)

        Config = type("Config", (), options)

    return Made


class Lacking(pa.DataFrameModel):
    c: Optional[int] = pa.Field(nullable=True)  # noqa: UP045


@pytest.mark.filterwarnings("ignore:unique_column_names=True will have no effect")
@pytest.mark.parametrize(
    ("schema", "columns", "said"),
    [
        (configured(drop_invalid_rows=True), Columns(), "remove drop_invalid_rows from Made"),
        (configured(coerce=True), Columns(), "remove coerce from Made"),
        (configured(dtype=pl.String), Columns(), "remove dtype from Made"),
        (configured(strict="filter"), Columns(), r"Columns\(extra='ignore'\)"),
        (configured(strict=True), Columns(extra="ignore"), "remove strict from Made"),
        (configured(ordered=True), Columns(), r"Columns\(reordered='hold'\)"),
        (configured(add_missing_columns=True), Columns(), r"Columns\(missing='null'\)"),
        (configured(unique_column_names=True), Columns(), "a file that names a column twice is always held"),
        (configured(unique=["c", "d"]), Columns(), "remove 'd' from unique from Made"),
        (field(int, coerce=True), Columns(), "remove coerce of column 'c'"),
        (field(int, default=5), Columns(), "remove default of column 'c'"),
        (field(int, regex=True, alias="^c.*$"), Columns(), "name each column"),
        (field(int, ge=1, raise_warning=True), Columns(), "remove raise_warning of check"),
        (field(str, str_matches="EWR|JFK"), Columns(), r"write '\^\(…\|…\)\$'"),
        (Lacking, Columns(), "remove Optional of column 'c'"),
    ],
)
def test_an_option_of_pandera_that_cannot_hold_is_the_authors_mistake(
    schema: type[Any], columns: Columns, said: str
) -> None:
    with pytest.raises(ContractError, match=said) as caught:
        file_columns(contract(schema, columns=columns))
    assert str(caught.value).startswith("Contract 'orders': ")


@pytest.mark.parametrize(
    ("schema", "columns"),
    [
        (configured(strict=True), Columns()),
        (configured(ordered=True), Columns(reordered="hold")),
        (configured(unique=["c"]), Columns()),
        (field(str, str_matches=r"^(EWR|JFK)$"), Columns()),
        (field(str, str_matches=r"[|]x\|y"), Columns()),
        (Lacking, Columns(missing="null")),
    ],
)
def test_an_option_that_holds_is_accepted(schema: type[Any], columns: Columns) -> None:
    assert list(file_columns(contract(schema, columns=columns))) == ["c"]


def test_a_parser_of_pandera_is_the_authors_mistake() -> None:
    from pandera.api.dataframe.model_components import parser

    class Parsing(pa.DataFrameModel):
        c: int

        @parser("c")
        @classmethod
        def change(cls, data: Any) -> Any:
            return data

    with pytest.raises(ContractError, match="parsers are not supported"):
        file_columns(contract(Parsing))
