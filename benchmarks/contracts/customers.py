"""Customers: a whole table, sent anew each time."""

import pandera.polars as pa

from tidegate.contracts import Contract, Replace


class Customer(pa.DataFrameModel):
    customer: str = pa.Field(unique=True, str_matches=r"^C[0-9]{7}$")
    customer_name: str
    region: str = pa.Field(isin=["north", "east", "south", "west"])


customers = Contract(
    name="customers",
    version="1.0.0",
    owner="benchmarks",
    description="Customers and where they live.",
    keys=["customers*.csv"],
    schema=Customer,
    load=Replace(),
)
