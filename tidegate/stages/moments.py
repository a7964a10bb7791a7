"""How the text of a date, time or moment is read, by strftime's letters and strictly.

Polars' own parser takes more than a format says: blanks and signs before a number, second 60 as the
next minute, more digits of a second than are kept. So each format becomes a regular expression that
a text has to fit as a whole before the parser sees it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Literal

import polars as pl

from tidegate.stages.numbers import literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tidegate.contracts.columns import Parse

_MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
#: Letters with a fixed number of digits.
_DIGITS = {"Y": 4, "y": 2, "M": 2, "S": 2, "j": 3}
#: Letters that one digit is enough for, unless a digit stands beside it.
_SHORT = {"d": 2, "m": 2, "H": 2, "I": 2}
_PATTERNS = {
    "S": "[0-5][0-9]",
    "b": f"(?i:{'|'.join(month[:3] for month in _MONTHS)})",
    "B": f"(?i:{'|'.join(_MONTHS)})",
    "p": "(?i:AM|PM)",
    "z": "(Z|[+-][0-9]{2}:?[0-9]{2})",
    "%": "%",
}
LETTERS = "%Y %y %m %b %B %d %j %H %I %p %M %S %f %z %%"
_DATE = frozenset("YymbBdj")
_TIME = frozenset("HIpMSfz")
#: Digits after the second's point that a type can keep; more would be cut off without a word.
_PLACES = {"ms": 3, "us": 6, "ns": 9}
_TOKEN = re.compile(r"%(.)|(.)", re.DOTALL)

_ISO_DATE = "%Y-%m-%d"
_ISO_TIME = "%H:%M:%S"


@dataclass(frozen=True)
class Layout:
    """One format, taken apart."""

    #: fits a text as a whole, or not
    pattern: str
    #: fits of these a text of the year 69 in two digits
    pattern_69: str
    #: the format for Polars' parser
    chrono: str
    #: letters used
    letters: frozenset[str]
    #: the same for two formats between which a text can't decide
    shape: str


def layout(text_format: str, *, places: int = 6, padded: bool = False, zulu: bool = False) -> Layout:
    """`text_format` taken apart; ValueError, which says what to do, when it can't be used.

    `padded`: every number has all its digits. `zulu`: %z stands for the letter Z alone.
    """
    tokens = [(found[1], found[2]) for found in _TOKEN.finditer(text_format)]
    pattern, chrono, shape = "", "", ""
    pattern_69 = ""
    for at, (letter, char) in enumerate(tokens):
        before = pattern
        alone = not padded and not _is_digit(tokens, at - 1) and not _is_digit(tokens, at + 1)
        if char == "%":
            raise ValueError("write %% for a percent sign")
        if letter is None:
            pattern += literal(char)
            chrono += char
            shape += char
        elif letter == "z" and zulu:
            pattern, chrono, shape = pattern + "Z", chrono + "Z", shape + "%z"
        elif letter == "f":
            if not chrono.endswith("."):
                raise ValueError("write the digits of a second as .%f, after a point")
            pattern += f"[0-9]{{1,{places}}}"
            chrono = chrono[:-1] + "%.f"
            shape += "%f"
        elif letter in _DIGITS or letter in _SHORT:
            digits = _DIGITS.get(letter) or _SHORT[letter]
            pattern += (
                _PATTERNS.get(letter) or f"[0-9]{{{1 if letter in _SHORT and alone else digits},{digits}}}"
            )
            chrono += f"%{letter}"
            shape += "0" * digits
        elif letter in _PATTERNS:
            pattern += _PATTERNS[letter]
            chrono += {"z": "%#z"}.get(letter, f"%{letter}")
            shape += f"%{letter}"
        else:
            msg = f"%{letter} is not among the letters that can be used: {LETTERS}"
            raise ValueError(msg)
        pattern_69 += "69" if letter == "y" else pattern[len(before) :]
    letters = [letter for letter, _ in tokens if letter and letter != "%"]
    if len(letters) != len(set(letters)):
        raise ValueError("use each letter once")
    return Layout(f"^{pattern}$", f"^{pattern_69}$", chrono, frozenset(letters), shape)


def _is_digit(tokens: Sequence[tuple[str | None, str | None]], at: int) -> bool:
    if not 0 <= at < len(tokens):
        return False
    letter, char = tokens[at]
    return letter in _DIGITS or letter in _SHORT or letter == "f" or bool(char and char in "0123456789")


def check_formats(kind: pl.DataType, rule: Parse) -> None:
    """ValueError, which says what to do, when a format can't give a value of `kind`."""
    shapes: dict[str, str] = {}
    for text_format in rule.formats:
        found = layout(text_format)
        problem = _misfit(found.letters, kind, rule)
        if problem:
            msg = f"format {text_format!r}: {problem}"
            raise ValueError(msg)
        if found.shape in shapes:
            msg = (
                f"a text can fit both {shapes[found.shape]!r} and {text_format!r}; "
                "keep one, a row can't tell which of them its supplier means"
            )
            raise ValueError(msg)
        shapes[found.shape] = text_format


def _misfit(letters: frozenset[str], kind: pl.DataType, rule: Parse) -> str | None:
    year, month = letters & {"Y", "y"}, letters & {"m", "b", "B"}
    whole_date = len(year) == 1 and (
        (len(month) == 1 and "d" in letters and "j" not in letters)
        or ("j" in letters and not month and "d" not in letters)
    )
    problem = None
    if isinstance(kind, pl.Time):
        if letters & _DATE or "z" in letters:
            problem = "a time has no date and no offset; use pl.Datetime, or write fixed text as it stands"
    elif not whole_date:
        problem = "name one year, one month and the day (or %j), each once"
    if isinstance(kind, pl.Date) and letters & _TIME:
        problem = "a date has no time of day; use pl.Datetime, or write fixed text such as 00:00 as it stands"
    if problem is None and letters & _TIME:
        problem = _misfit_time(letters)
    if problem is None and isinstance(kind, pl.Time) and not letters & _TIME:
        problem = "name at least hour and minute"
    if problem is None and isinstance(kind, pl.Datetime):
        if kind.time_zone is None and "z" in letters:
            problem = "the column's type has no time zone, so its offset would be lost; declare one"
        elif kind.time_zone and "z" not in letters and rule.time_zone is None:
            problem = "it has no offset (%z), so name the time zone of the texts: Parse(time_zone=…)"
    return problem


def _misfit_time(letters: frozenset[str]) -> str | None:
    if ("I" in letters) != ("p" in letters):
        return "%I and %p belong together"
    if not letters & {"H", "I"} or {"H", "I"} <= letters:
        return "name the hour once, with %H, or with %I and %p"
    if "M" not in letters or ("f" in letters and "S" not in letters):
        return "name the minute (%M), and the second (%S) before its fraction"
    return None


def moment_readings(kind: pl.DataType, rule: Parse) -> list[Callable[[pl.Expr], pl.Expr]]:
    """Ways from text to values of `kind`, to be tried in order; null where the text does not fit."""
    return [_reading(found, kind, rule) for found in _layouts(kind, rule)]


def _layouts(kind: pl.DataType, rule: Parse) -> Iterator[Layout]:
    places = _PLACES[kind.time_unit] if isinstance(kind, pl.Datetime) else 6
    for text_format in rule.formats:
        found = layout(text_format, places=places)
        if "z" in found.letters:
            # Texts that all end in Z are many times faster to read than offsets.
            yield layout(text_format, places=places, zulu=True)
        yield found
    if rule.formats:
        return
    for text_format in _iso_formats(kind, rule):
        if text_format.endswith("%z"):
            yield layout(text_format, places=places, padded=True, zulu=True)
        yield layout(text_format, places=places, padded=True)


def _iso_formats(kind: pl.DataType, rule: Parse) -> Iterator[str]:
    if isinstance(kind, pl.Date):
        yield _ISO_DATE
    elif isinstance(kind, pl.Time):
        yield from (_ISO_TIME, f"{_ISO_TIME}.%f")
    elif isinstance(kind, pl.Datetime):
        ends = [""] if kind.time_zone is None else ["%z"] if rule.time_zone is None else ["", "%z"]
        for end in ends:
            for second in (_ISO_TIME, f"{_ISO_TIME}.%f"):
                yield from (f"{_ISO_DATE}T{second}{end}", f"{_ISO_DATE} {second}{end}")


def _reading(found: Layout, kind: pl.DataType, rule: Parse) -> Callable[[pl.Expr], pl.Expr]:
    def read(text: pl.Expr) -> pl.Expr:
        fitting = pl.when(text.str.contains(found.pattern)).then(text)
        if isinstance(kind, pl.Time):
            return fitting.str.to_time(found.chrono, strict=False, cache=False)
        if isinstance(kind, pl.Datetime):
            value = _moment(fitting, found, kind, rule)
        else:
            value = _in_1969(fitting.str.to_date(found.chrono, strict=False, cache=False), fitting, found)
            value = pl.when(value >= date.min).then(value)
        return value

    return read


def _moment(text: pl.Expr, found: Layout, kind: pl.Datetime, rule: Parse) -> pl.Expr:
    offset = "%#z" in found.chrono
    value = _to_datetime(text, found, kind.time_unit, offset=offset)
    if kind.time_unit == "ns":
        # What 64 bits of nanoseconds can't hold comes out as another year, without a word.
        year = _to_datetime(text, found, "us", offset=offset).dt.year()
        value = pl.when(year.is_between(1678, 2261)).then(value)
    if kind.time_zone is None:
        return value if kind.time_unit == "ns" else pl.when(_within_calendar(value, None)).then(value)
    if not offset:
        zone = "UTC" if "z" in found.letters else rule.time_zone
        value = value.dt.replace_time_zone(zone, ambiguous="null", non_existent="null")
    if kind.time_unit != "ns":
        value = value.dt.convert_time_zone("UTC")
        value = pl.when(_within_calendar(value, "UTC")).then(value)
    return value.dt.convert_time_zone(kind.time_zone)


def _to_datetime(text: pl.Expr, found: Layout, unit: Literal["ms", "us", "ns"], *, offset: bool) -> pl.Expr:
    zone = "UTC" if offset else None
    value = text.str.to_datetime(found.chrono, time_unit=unit, time_zone=zone, strict=False, cache=False)
    return _in_1969(value, text, found)


def _in_1969(value: pl.Expr, text: pl.Expr, found: Layout) -> pl.Expr:
    """The value in 1969, as strptime and POSIX have it, where Polars has 2069.

    The text's own digits decide, and before any time zone does: an offset may make it another year,
    and another century has other offsets.
    """
    if "y" not in found.letters:
        return value
    return pl.when(text.str.contains(found.pattern_69)).then(value.dt.offset_by("-100y")).otherwise(value)


def _within_calendar(value: pl.Expr, zone: str | None) -> pl.Expr:
    last = pl.datetime(9999, 12, 31, 23, 59, 59, 999999, time_zone=zone)
    return value.is_between(pl.datetime(1, 1, 1, time_zone=zone), last)
