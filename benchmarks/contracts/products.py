"""Products: a whole table, sent anew each time."""

from typing import Annotated

import pandera.polars as pa
import polars as pl

from tidegate.contracts import Contract, Replace


class Product(pa.DataFrameModel):
    product: str = pa.Field(unique=True, str_matches=r"^P-[0-9]{5}$")
    category: str
    list_price: Annotated[pl.Decimal, 10, 2] = pa.Field(ge=0)


products = Contract(
    name="products",
    version="1.0.0",
    owner="benchmarks",
    description="Products with category and list price.",
    keys=["products*.csv"],
    schema=Product,
    load=Replace(),
)
