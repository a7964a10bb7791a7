"""Orders: eleven columns, each with its rule, and three lookups."""

from typing import Annotated

import pandera.polars as pa
import polars as pl

from tidegate.contracts import Append, Contract, Lookup


class Order(pa.DataFrameModel):
    order_id: int = pa.Field(ge=0)
    ordered_on: pl.Date
    placed_at: Annotated[pl.Datetime, "us", "UTC"]
    customer: str = pa.Field(str_matches=r"^C[0-9]{7}$")
    product: str = pa.Field(str_matches=r"^P-[0-9]{5}$")
    store: str = pa.Field(str_matches=r"^S[0-9]{3}$")
    quantity: int = pa.Field(ge=1, le=99)
    unit_price: Annotated[pl.Decimal, 10, 2] = pa.Field(ge=0)
    discount: float = pa.Field(ge=0, le=1)
    status: str = pa.Field(isin=["placed", "paid", "shipped", "returned"])
    note: str = pa.Field(nullable=True)


def add_year(rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows.with_columns(order_year=pl.col("ordered_on").dt.year())


orders = Contract(
    name="orders",
    version="1.0.0",
    owner="benchmarks",
    description="Orders with prices in euros.",
    keys=["orders*.csv"],
    schema=Order,
    normalize=[add_year],
    enrich=[
        Lookup(dataset="customers", on={"customer": "customer"}, take={"region": "region"}),
        Lookup(dataset="products", on={"product": "product"}, take={"category": "category"}),
        Lookup(dataset="stores", on={"store": "store"}, take={"city": "city"}),
    ],
    load=Append(),
)
