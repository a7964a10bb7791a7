"""What the supplier of `orders.csv` was asked to send."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Annotated

import pandera.polars as pa
import polars as pl

from tidegate.contracts import Contract, Dialect, Parse


class Order(pa.DataFrameModel):
    """One order, with a check of each kind that Pandera has."""

    id: int = pa.Field(unique=True, ge=1000, lt=9000)
    customer: str = pa.Field(str_length={"min_value": 2, "max_value": 30}, notin=["TEST", "N. N."])
    email: str = pa.Field(str_contains="@")
    day: pl.Date = pa.Field(ge=date(2026, 1, 1), lt=date(2027, 1, 1))
    price: Annotated[pl.Decimal, 7, 2] = pa.Field(gt=Decimal(0), nullable=True)
    quantity: pl.UInt16 = pa.Field(in_range={"min_value": 1, "max_value": 500})
    discount: float = pa.Field(in_range={"min_value": 0, "max_value": 1, "include_max": False}, nullable=True)
    weight: pl.Float32 = pa.Field(le=31.5, nullable=True)
    currency: str = pa.Field(isin=["EUR", "CHF", "GBP"])
    paid: bool
    postcode: str = pa.Field(str_matches=r"^[0-9]{5}$", ne="00000")
    country: str = pa.Field(str_length=2, str_matches="[A-Z]")
    reference: str = pa.Field(str_startswith="R-", str_endswith="/26", nullable=True)
    layout: int = pa.Field(eq=2)
    moment: Annotated[pl.Datetime, "us", "UTC"]
    pickup: pl.Time = pa.Field(nullable=True)
    sent: pl.Datetime
    note: str = pa.Field(nullable=True)

    @pa.check("email", description="the address must have a name before its @.")
    @classmethod
    def has_a_name(cls, data: pa.PolarsData) -> pl.LazyFrame:
        return data.lazyframe.select(~pl.col(data.key).str.starts_with("@"))

    @pa.check("email", error="mail to example.com comes back")
    @classmethod
    def not_a_trial(cls, data: pa.PolarsData) -> pl.LazyFrame:
        return data.lazyframe.select(~pl.col(data.key).str.contains("example.com", literal=True))

    @pa.check("reference")
    @classmethod
    def no_blank_inside(cls, data: pa.PolarsData) -> pl.LazyFrame:
        return data.lazyframe.select(~pl.col(data.key).str.contains(" "))

    @pa.dataframe_check(description="an order that is paid has a price")
    @classmethod
    def paid_with_price(cls, data: pa.PolarsData) -> pl.LazyFrame:
        return data.lazyframe.select(~pl.col("paid") | pl.col("price").is_not_null())

    @pa.dataframe_check
    @classmethod
    def small_parcels_are_light(cls, data: pa.PolarsData) -> pl.LazyFrame:
        return data.lazyframe.select((pl.col("quantity") > 1) | (pl.col("weight").fill_null(0) <= 20))

    class Config:
        """No customer sends two orders at one moment."""

        unique = ("customer", "moment")


contract = Contract(
    name="orders",
    version="1.0.0",
    owner="sales",
    description="Orders as a wholesaler exports them.",
    keys=["orders/*.csv"],
    schema=Order,
    dialect=Dialect(delimiter=";", preamble_lines=2, comment="#", footer="Sum of orders"),
    null_tokens=["", "-"],
    parse={
        "day": Parse(formats=["%d.%m.%Y"]),
        "price": Parse(decimal=",", thousands="."),
        "discount": Parse(decimal=","),
        "weight": Parse(decimal=","),
        "paid": Parse(true=["yes"], false=["no"]),
        "sent": Parse(formats=["%d.%m.%Y %H:%M"]),
        "moment": Parse(time_zone="Europe/Zurich"),
    },
)
