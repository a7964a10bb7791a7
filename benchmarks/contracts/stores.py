"""Stores: a whole table, sent anew each time."""

import pandera.polars as pa

from tidegate.contracts import Contract, Replace


class Store(pa.DataFrameModel):
    store: str = pa.Field(unique=True, str_matches=r"^S[0-9]{3}$")
    city: str
    opened: int = pa.Field(ge=1900, le=2100)


stores = Contract(
    name="stores",
    version="1.0.0",
    owner="benchmarks",
    description="Stores by code.",
    keys=["stores*.csv"],
    schema=Store,
    load=Replace(),
)
