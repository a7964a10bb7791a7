"""Sentences for a value that could not be read: what its supplier should have written."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import polars as pl

from tidegate.stages.moments import layout, moment_readings
from tidegate.stages.numbers import number_reading
from tidegate.stages.sentences import choice, one_line, sentence

if TYPE_CHECKING:
    from tidegate.contracts.columns import Parse

_SAMPLE = datetime(2026, 1, 31, 13, 45, tzinfo=UTC)


def type_sentence(name: str, kind: pl.DataType, rule: Parse) -> pl.Expr:
    """What is wrong, for a frame with the columns ``value`` (as written) and ``cleaned``."""
    text = pl.col("cleaned")
    wanted = pl.lit(_expected(kind, rule))
    if kind.is_integer():
        wide = number_reading(pl.Decimal(38, 0), rule)(text).is_not_null()
        wanted = (
            pl.when(wide | text.str.contains("^[+-]?[0-9]+$")).then(pl.lit(_range(kind))).otherwise(wanted)
        )
    elif isinstance(kind, pl.Decimal):
        wide = number_reading(pl.Decimal(38, kind.scale), rule)(text).is_not_null()
        wanted = pl.when(wide).then(pl.lit(_digits(kind, rule))).otherwise(wanted)
    elif kind.is_float():
        huge = text.cast(kind, strict=False).is_infinite() & text.str.contains("[0-9]")
        wanted = pl.when(huge).then(pl.lit(_span(kind))).otherwise(wanted)
    elif isinstance(kind, pl.Date):
        wanted = pl.when(_looks_right(text, rule)).then(pl.lit(_expected_day(rule))).otherwise(wanted)
    elif isinstance(kind, pl.Datetime) and rule.time_zone is not None:
        wanted = pl.when(_is_local(text, kind, rule)).then(pl.lit(_once(rule))).otherwise(wanted)
    return sentence(name, pl.col("value"), pl.format("but must be {}", wanted))


def _looks_right(text: pl.Expr, rule: Parse) -> pl.Expr:
    """Whether a date is written as it must be, so that the day itself must be at fault."""
    formats = rule.formats or ["%Y-%m-%d"]
    shapes = {re.sub("[0-9]", "0", _SAMPLE.strftime(one)) for one in formats}
    return text.str.replace_all("[0-9]", "0").is_in(sorted(shapes))


def _expected_day(rule: Parse) -> str:
    return _expected_moment(pl.Date(), rule).replace("a date", "a day of the calendar", 1)


def _is_local(text: pl.Expr, kind: pl.Datetime, rule: Parse) -> pl.Expr:
    local = [text_format for text_format in rule.formats if "z" not in layout(text_format).letters]
    if rule.formats and not local:
        return pl.lit(value=False)
    readings = moment_readings(pl.Datetime(kind.time_unit), replace(rule, formats=local))
    return pl.any_horizontal(read(text).is_not_null() for read in readings)


def _once(rule: Parse) -> str:
    known = f"a local time of {rule.time_zone} that no clock change skips or repeats"
    return known if rule.formats else f"{known}, or one with an offset such as +01:00"


def _expected(kind: pl.DataType, rule: Parse) -> str:
    if kind.is_integer():
        return f"a whole number such as {_number('1250', rule) if rule.thousands else '42'}"
    if isinstance(kind, pl.Boolean):
        return choice([*rule.true, *rule.false])
    if isinstance(kind, pl.Decimal):
        if not kind.scale:
            return f"a whole number such as {_number('1250', rule) if rule.thousands else '42'}"
        sample = _number(
            ("1250." if rule.thousands else "12.") + "50".ljust(kind.scale, "0")[: kind.scale], rule
        )
        places = f"{kind.scale} decimal place{'s' if kind.scale > 1 else ''}"
        return f"a number such as {sample} with at most {places}"
    if kind.is_float():
        return f"a number such as {_number('12.5', rule)}"
    return _expected_moment(kind, rule)


def _expected_moment(kind: pl.DataType, rule: Parse) -> str:
    from tidegate.contracts.exports.sentences import spelled

    noun = (
        "a date"
        if isinstance(kind, pl.Date)
        else "a time"
        if isinstance(kind, pl.Time)
        else "a date and time"
    )
    if rule.formats:
        sample = _SAMPLE.strftime(rule.formats[0])
        ways = " or ".join(one_line(spelled(one)) for one in rule.formats)
        return f"{noun} written as {ways}, such as {one_line(sample)}"
    if isinstance(kind, pl.Date):
        return "a date such as 2026-01-31"
    if isinstance(kind, pl.Time):
        return "a time such as 13:45:00"
    if isinstance(kind, pl.Datetime) and kind.time_zone is None:
        return "a date and time without zone such as 2026-01-31T13:45:00"
    if rule.time_zone is None:
        return "a date and time with its offset such as 2026-01-31T13:45:00Z"
    return f"a date and time such as 2026-01-31T13:45:00 (local time of {rule.time_zone})"


def _number(plain: str, rule: Parse) -> str:
    whole, point, fraction = plain.partition(".")
    if rule.thousands:
        whole = f"{int(whole):,}".replace(",", rule.thousands)
    return whole + point.replace(".", rule.decimal) + fraction


def _range(kind: pl.DataType) -> str:
    bits = int(str(kind).lstrip("UInt"))
    low, high = (0, 2**bits - 1) if kind.is_unsigned_integer() else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return f"a whole number from {low} to {high}"


def _span(kind: pl.DataType) -> str:
    bound = "3.4e38" if isinstance(kind, pl.Float32) else "1.8e308"
    return f"a number from -{bound} to {bound}"


def _digits(kind: pl.Decimal, rule: Parse) -> str:
    before = (kind.precision or 38) - kind.scale
    digits = f"{before} digit{'' if before == 1 else 's'}"
    if not kind.scale:
        return f"a whole number with at most {digits}"
    return f"a number with at most {digits} before the '{rule.decimal}'"
