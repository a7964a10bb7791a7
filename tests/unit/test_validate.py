from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandera.polars as pa
import polars as pl
import pytest

from tidegate.contracts import Budget, Contract
from tidegate.errors import ContractError, ObjectRejectedError
from tidegate.stages.file_check import check_file
from tidegate.stages.schema import file_columns

if TYPE_CHECKING:
    from pathlib import Path


class Order(pa.DataFrameModel):
    order_id: int = pa.Field(unique=True, ge=1)
    status: str = pa.Field(isin=["open", "paid"])
    note: str = pa.Field(nullable=True)

    @pa.dataframe_check
    @classmethod
    def paid_orders_have_a_note(cls, data: pa.PolarsData) -> pl.LazyFrame:
        return data.lazyframe.select((pl.col("status") != "paid") | pl.col("note").is_not_null())


def contract(schema: type[Any] = Order, **changes: Any) -> Contract:
    values: dict[str, Any] = {
        "name": "orders",
        "version": "1.2.3",
        "owner": "sales",
        "description": "Orders.",
        "keys": ["orders/*.csv"],
        "schema": schema,
    }
    return Contract(**{**values, **changes})


def check(
    folder: Path, content: str, **changes: Any
) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]], int]:
    file = folder / "orders.csv"
    file.write_text(content)
    declared = contract(**changes)
    checked = check_file(file, declared)
    parts = list(checked.parts())
    valid = pl.concat([part.valid for part in parts]).drop("_line")
    rejections = pl.concat([part.rejections for part in parts])
    return valid.rows(), rejections.select("record", "column", "value").rows(), checked.records


def test_every_rule_that_a_row_breaks_is_told_and_good_rows_stay(tmp_path: Path) -> None:
    valid, reasons, read = check(
        tmp_path,
        "order_id,status,note\n1,open,\n0,lost,x\nfour,open,\n5,paid,\n6,paid,y\n",
    )
    assert valid == [(1, 1, "open", None), (5, 6, "paid", "y")]
    assert reasons == [
        (2, "order_id", "0"),
        (2, "status", "lost"),
        (3, "order_id", "four"),
        (4, None, None),
    ]
    assert read == 5


def test_all_rows_with_a_value_that_must_be_unique_are_refused(tmp_path: Path) -> None:
    valid, reasons, _ = check(tmp_path, "order_id,status,note\n1,open,\n1,open,\n2,open,\n")
    assert [row[0] for row in valid] == [3]
    assert reasons == [(1, "order_id", "1"), (2, "order_id", "1")]


def test_a_missing_value_where_one_must_be_is_refused(tmp_path: Path) -> None:
    valid, reasons, _ = check(tmp_path, "order_id,status,note\n,open,\n2,open,\n")
    assert [row[0] for row in valid] == [2]
    assert reasons == [(1, "order_id", None)]


def test_columns_may_stand_in_any_order(tmp_path: Path) -> None:
    valid, _, _ = check(tmp_path, "note,order_id,status\nx,1,open\n")
    assert valid == [(1, 1, "open", "x")]


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("order_id,status", "missing: 'note'"),
        ("order_id,status,note,extra", "not expected: 'extra'"),
        ("order_id,status,note,note", "more than once: 'note'"),
    ],
)
def test_a_header_that_does_not_fit_names_the_columns(tmp_path: Path, header: str, said: str) -> None:
    with pytest.raises(ObjectRejectedError, match=said) as caught:
        check(tmp_path, f"{header}\n1,open,x\n")
    assert caught.value.rule == "header"


def test_a_type_that_csv_cannot_hold_is_the_authors_mistake() -> None:
    class Wrong(pa.DataFrameModel):
        tags: pl.Object

    with pytest.raises(ContractError, match="column 'tags'"):
        file_columns(contract(Wrong))


def test_a_check_that_breaks_is_the_authors_mistake(tmp_path: Path) -> None:
    class Wrong(Order):
        @pa.check("status")
        @classmethod
        def broken(cls, data: pa.PolarsData) -> pl.LazyFrame:
            return data.lazyframe.select(pl.col("no such column"))

    with pytest.raises(ContractError, match=r"orders.*1\.2\.3"):
        check(tmp_path, "order_id,status,note\n1,open,x\n", schema=Wrong)


def test_a_schema_that_drops_rows_by_itself_is_the_authors_mistake() -> None:
    class Dropping(Order):
        class Config:
            drop_invalid_rows = True

    with pytest.raises(ContractError, match="drop_invalid_rows"):
        file_columns(contract(Dropping))


def test_a_check_of_the_whole_file_holds_the_object(tmp_path: Path) -> None:
    class Whole(pa.DataFrameModel):
        order_id: int

        @pa.dataframe_check
        @classmethod
        def at_most_two_in_sum(cls, data: pa.PolarsData) -> bool:
            return bool(data.lazyframe.select(pl.col("order_id").sum() <= 2).collect().item())

    with pytest.raises(ObjectRejectedError, match="at_most_two_in_sum"):
        check(tmp_path, "order_id\n1\n2\n", schema=Whole)


@pytest.mark.parametrize(
    ("budget", "rejected", "read", "exceeded"),
    [
        (Budget(), 9, 10, False),
        (Budget(), 10, 10, True),
        (Budget(), 0, 0, False),
        (Budget(max_rows=3), 3, 10, False),
        (Budget(max_rows=3), 4, 10, True),
        (Budget(max_share=0.1), 1, 10, False),
        (Budget(max_share=0.1), 2, 10, True),
    ],
)
def test_a_budget_is_exceeded_beyond_its_bound_and_by_all_rows(
    budget: Budget, rejected: int, read: int, exceeded: bool
) -> None:
    assert budget.exceeded_by(rejected, read) is exceeded
