"""Flights that left New York, one file a day, enriched from the four reference datasets."""

from typing import Annotated

import pandera.polars as pa
import polars as pl

from tidegate.contracts import Append, Budget, Contract, Lookup


class Flight(pa.DataFrameModel):
    year: int = pa.Field(ge=2000)
    month: int = pa.Field(ge=1, le=12)
    day: int = pa.Field(ge=1, le=31)
    dep_time: int = pa.Field(nullable=True, ge=1, le=2400)
    sched_dep_time: int = pa.Field(ge=0, le=2359)
    dep_delay: int = pa.Field(nullable=True)
    arr_time: int = pa.Field(nullable=True, ge=1, le=2400)
    sched_arr_time: int = pa.Field(ge=0, le=2359)
    arr_delay: int = pa.Field(nullable=True)
    carrier: str = pa.Field(str_matches=r"^[0-9A-Z]{2}$")
    flight: int = pa.Field(ge=1)
    tailnum: str = pa.Field(nullable=True)
    origin: str = pa.Field(isin=["EWR", "JFK", "LGA"])
    dest: str = pa.Field(str_matches=r"^[A-Z]{3}$")
    air_time: int = pa.Field(nullable=True, ge=1)
    distance: int = pa.Field(ge=1)
    hour: int = pa.Field(ge=0, le=23)
    minute: int = pa.Field(ge=0, le=59)
    time_hour: Annotated[pl.Datetime, "us", "UTC"]


def add_flight_date(rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows.with_columns(flight_date=pl.date("year", "month", "day"))


def add_plane_age(rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows.with_columns(plane_age=pl.col("year") - pl.col("plane_year")).drop("plane_year")


flights = Contract(
    name="flights",
    version="1.0.0",
    owner="flight operations",
    description="Departures of 2013 from EWR, JFK and LGA; delays and air time in minutes.",
    keys=["flights/*.csv", "flights*.csv"],
    schema=Flight,
    null_tokens=["", "NA"],
    normalize=[add_flight_date],
    enrich=[
        Lookup(dataset="airlines", on={"carrier": "carrier"}, take={"airline": "name"}),
        Lookup(dataset="airports", on={"origin": "faa"}, take={"origin_airport": "name"}),
        Lookup(dataset="airports", on={"dest": "faa"}, take={"dest_airport": "name"}),
        Lookup(
            dataset="planes",
            on={"tailnum": "tailnum"},
            take={"plane_maker": "manufacturer", "plane_year": "year"},
        ),
        add_plane_age,
        Lookup(
            dataset="weather",
            on={"origin": "origin", "time_hour": "time_hour"},
            take={"temp": "temp", "wind_speed": "wind_speed", "precip": "precip", "visib": "visib"},
        ),
    ],
    load=Append(),
    budget=Budget(max_share=0.5),
)
