"""Carriers: a whole small table, sent anew each time."""

import pandera.polars as pa

from tidegate.contracts import Contract, Replace


class Airline(pa.DataFrameModel):
    carrier: str = pa.Field(unique=True, str_matches=r"^[0-9A-Z]{2}$")
    name: str


airlines = Contract(
    name="airlines",
    version="1.0.0",
    owner="reference data",
    description="Carrier codes and names.",
    keys=["airlines/*.csv", "airlines*.csv"],
    schema=Airline,
    load=Replace(),
)
