"""Airports: a whole table, sent anew each time."""

import pandera.polars as pa

from tidegate.contracts import Contract, Replace


class Airport(pa.DataFrameModel):
    faa: str = pa.Field(unique=True, str_matches=r"^[0-9A-Z]{3}$")
    name: str
    lat: float = pa.Field(ge=-90, le=90)
    lon: float = pa.Field(ge=-180, le=180)
    alt: int
    tz: int = pa.Field(ge=-12, le=14)
    dst: str = pa.Field(isin=["A", "N", "U"])
    tzone: str = pa.Field(nullable=True)


airports = Contract(
    name="airports",
    version="1.0.0",
    owner="reference data",
    description="Airports with position, altitude in feet and time zone.",
    keys=["airports/*.csv", "airports*.csv"],
    schema=Airport,
    null_tokens=["", "NA", "\\N"],
    load=Replace(),
)
