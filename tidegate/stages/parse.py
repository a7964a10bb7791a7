"""Text to typed values, column by column; what can't be read is a rejection, never a null."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from tidegate.stages.model import RECORD

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_ISO_SECOND = r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d"
_ISO_OFFSET = r"(Z|[+-]\d\d:?\d\d)"
_ISO_TIME = r"^\d\d:\d\d:\d\d$"
#: Digits after the second's point that a type can keep; more would be cut off without a word.
_PLACES = {"ms": 3, "us": 6, "ns": 9}
#: What 64 bits of nanoseconds hold, in whole years.
_NS_YEARS = (1678, 2261)
_ISO_DATE = r"^\d{4}-\d\d-\d\d$"

_EXPECTED = {
    "Boolean": "true or false",
    "Date": "a date such as 2026-01-31",
    "Datetime": "a moment such as 2026-01-31T13:45:00Z",
    "Time": "a time such as 13:45:00",
    "Decimal": "a decimal number such as 12.50 with the declared number of places",
    "Float32": "a number",
    "Float64": "a number",
}


def parse(
    text: pl.DataFrame, columns: Mapping[str, pl.DataType], null_tokens: Sequence[str]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Parse a frame of text columns (and ``_record``) into the given types.

    Returns the typed rows that could be read whole, and the rejections (columns of
    `REJECTION_SCHEMA` without ``line`` and ``raw``) of all the others.
    """
    cleaned = text.with_columns(_without_nulls(name, null_tokens) for name in columns)
    typed = cleaned.select(RECORD, *(_typed(name, kind).alias(name) for name, kind in columns.items()))
    unread = [
        cleaned.select(
            record=pl.col(RECORD),
            column=pl.lit(name),
            rule=pl.lit("type"),
            value=pl.col(name),
            message=pl.format(
                "{} is {} but must be {}.", pl.lit(name), _quoted(name), pl.lit(expected(columns[name]))
            ),
        ).filter(cleaned[name].is_not_null() & typed[name].is_null())
        for name in columns
        if columns[name] != pl.String
    ]
    rejections = pl.concat([frame for frame in unread if frame.height] or unread[:1] or [_nothing()])
    if not rejections.height:
        return typed, rejections
    bad = rejections["record"].unique()
    return typed.filter(~pl.col(RECORD).is_in(bad.implode())), rejections


def expected(kind: pl.DataType) -> str:
    """What a supplier should write for this type."""
    name = type(kind).__name__
    if kind.is_integer():
        return "a whole number" if kind == pl.Int64 else f"a whole number ({name})"
    if isinstance(kind, pl.Datetime) and kind.time_zone is None:
        return "a moment without zone such as 2026-01-31T13:45:00"
    return _EXPECTED.get(name, name)


def _nothing() -> pl.DataFrame:
    return pl.DataFrame(
        schema={
            "record": pl.Int64,
            "column": pl.String,
            "rule": pl.String,
            "value": pl.String,
            "message": pl.String,
        }
    )


def _quoted(name: str) -> pl.Expr:
    return pl.format("'{}'", pl.col(name).str.slice(0, 100))


def _without_nulls(name: str, null_tokens: Sequence[str]) -> pl.Expr:
    column = pl.col(name)
    return pl.when(~column.is_in(list(null_tokens))).then(column).alias(name)


def _typed(name: str, kind: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if isinstance(kind, pl.String):
        return column
    if kind.is_temporal():
        return _moment(column, kind) if isinstance(kind, pl.Datetime) else _day_or_time(column, kind)
    if isinstance(kind, pl.Boolean):
        lower = column.str.to_lowercase()
        return pl.when(lower == "true").then(True).when(lower == "false").then(False)
    value = column.cast(kind, strict=False)
    if isinstance(kind, pl.Decimal):
        exact = rf"^[+-]?\d+(\.\d{{1,{kind.scale}}})?$" if kind.scale else r"^[+-]?\d+$"
        return pl.when(column.str.contains(exact)).then(value)
    # "inf", "nan" and numbers too large for the type are not what a supplier means by a number.
    return pl.when(value.is_finite()).then(value) if kind.is_float() else value


def _day_or_time(column: pl.Expr, kind: pl.DataType) -> pl.Expr:
    if isinstance(kind, pl.Time):
        time = column.str.to_time("%H:%M:%S", strict=False)
        return pl.when(column.str.contains(_ISO_TIME)).then(time)
    date = column.str.to_date("%Y-%m-%d", strict=False)
    return pl.when(column.str.contains(_ISO_DATE)).then(date)


def _moment(column: pl.Expr, kind: pl.Datetime) -> pl.Expr:
    unit = kind.time_unit
    shape = _ISO_SECOND + rf"(\.\d{{1,{_PLACES[unit]}}})?"
    fits = column.str.contains(f"{shape}{_ISO_OFFSET if kind.time_zone else ''}$")
    if unit == "ns":
        fits &= column.str.slice(0, 4).cast(pl.Int32, strict=False).is_between(*_NS_YEARS)
    iso = column.str.replace(" ", "T", literal=True)
    if kind.time_zone is None:
        return pl.when(fits).then(iso.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit=unit, strict=False))
    zoned = iso.str.replace(r"Z$", "+00:00").str.replace(r"([+-]\d\d)(\d\d)$", "${1}:${2}")
    value = zoned.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%:z", time_unit=unit, time_zone="UTC", strict=False)
    return pl.when(fits).then(value.dt.convert_time_zone(kind.time_zone))
