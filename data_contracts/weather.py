"""Hourly weather at the three airports of New York."""

from typing import Annotated

import pandera.polars as pa
import polars as pl

from tidegate.contracts import Append, Contract


class Weather(pa.DataFrameModel):
    origin: str = pa.Field(isin=["EWR", "JFK", "LGA"])
    year: int = pa.Field(ge=2000)
    month: int = pa.Field(ge=1, le=12)
    day: int = pa.Field(ge=1, le=31)
    hour: int = pa.Field(ge=0, le=23)
    temp: float = pa.Field(nullable=True)
    dewp: float = pa.Field(nullable=True)
    humid: float = pa.Field(nullable=True, ge=0, le=100)
    wind_dir: int = pa.Field(nullable=True, ge=0, le=360)
    wind_speed: float = pa.Field(nullable=True, ge=0)
    wind_gust: float = pa.Field(nullable=True, ge=0)
    precip: float = pa.Field(nullable=True, ge=0)
    pressure: float = pa.Field(nullable=True)
    visib: float = pa.Field(nullable=True, ge=0)
    time_hour: Annotated[pl.Datetime, "us", "UTC"]


weather = Contract(
    name="weather",
    version="1.0.0",
    owner="weather desk",
    description="Hourly observations; temperature in °F, wind in mph, visibility in miles.",
    keys=["weather/*.csv", "weather*.csv"],
    schema=Weather,
    null_tokens=["", "NA"],
    load=Append(),
)
