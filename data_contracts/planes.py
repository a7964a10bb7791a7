"""Planes: rows are added and corrected; the newest row of a tail number stands."""

import pandera.polars as pa

from tidegate.contracts import Contract, Merge


class Plane(pa.DataFrameModel):
    tailnum: str = pa.Field(unique=True, str_matches=r"^N[0-9A-Z]+$")
    year: int = pa.Field(nullable=True, ge=1903, le=2100)
    type: str
    manufacturer: str
    model: str
    engines: int = pa.Field(ge=1, le=8)
    seats: int = pa.Field(ge=1)
    speed: int = pa.Field(nullable=True)
    engine: str


planes = Contract(
    name="planes",
    version="1.0.0",
    owner="fleet register",
    description="Planes by tail number: maker, model, year of make.",
    keys=["planes/*.csv", "planes*.csv"],
    schema=Plane,
    null_tokens=["", "NA"],
    load=Merge(key=["tailnum"]),
)
