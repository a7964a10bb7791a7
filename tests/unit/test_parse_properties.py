"""Any text is read as Python would by the documented grammar, or is unread; and what is written is read."""

from __future__ import annotations

import math
import re
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pandera.polars as pa
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.contracts import Contract
from tidegate.contracts.columns import Parse
from tidegate.stages.model import RECORD
from tidegate.stages.parse import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ZURICH = ZoneInfo("Europe/Zurich")
ZONED = pl.Datetime("us", "UTC")
WHOLE = [pl.Int8(), pl.Int16(), pl.Int32(), pl.Int64(), pl.UInt8(), pl.UInt16(), pl.UInt32(), pl.UInt64()]
DECIMALS = [(1, 0), (5, 2), (10, 2), (18, 18), (38, 0), (38, 10)]
MARKS = [
    Parse(),
    Parse(decimal=","),
    Parse(decimal=",", thousands="."),
    Parse(thousands="'"),
    Parse(thousands=","),
]
DATE_FORMATS = [
    "%Y-%m-%d",
    "%d.%m.%Y",
    "%m/%d/%Y",
    "%Y%m%d",
    "%d%m%Y",
    "%d-%b-%Y",
    "%B %d, %Y",
    "%Y/%j",
    "(%d) %m|%Y",
]
MOMENT_FORMATS = [
    "%Y-%m-%d %H:%M:%S.%f",
    "%d.%m.%Y %H:%M:%S.%f",
    "%Y%m%d%H%M%S.%f",
    "%b %d, %Y %I:%M:%S.%f %p",
    "%H:%M:%S.%f on %d/%m/%Y",
]

many = settings(deadline=None, max_examples=60)
#: Texts near enough to numbers and dates to be mistaken for some.
noise = st.text(
    st.one_of(st.sampled_from("0123456789+-.,eE'_:TZ/ "), st.sampled_from("\uff11\u0661\u00bd\u00a0\n\x00"))
)
anything = st.one_of(noise, noise, st.text())


class Anything(pa.DataFrameModel):
    c: str


def read(texts: Sequence[str | None], kind: pl.DataType, rule: Parse) -> list[Any]:
    """The values; what could not be read is an Ellipsis."""
    contract = Contract(
        name="any",
        version="1.0.0",
        owner="tests",
        description="Any.",
        keys=["*.csv"],
        schema=Anything,
        null_tokens=(),
        parse={"c": rule},
    )
    frame = pl.DataFrame({RECORD: range(len(texts)), "c": texts}, schema_overrides={"c": pl.String})
    parsed = parse(frame, {"c": kind}, contract)
    values = parsed.rows["c"].to_list()
    for record, message in parsed.unread.select("record", "message").rows():
        assert values[record] is None
        assert len(message.splitlines()) == 1
        values[record] = ...
    return values


def plain_number(text: str, rule: Parse) -> str | None:
    """The text as Python writes numbers, when its marks are the rule's and rightly set."""
    whole = "[0-9]+"
    if rule.thousands:
        whole = rf"(?:[0-9]+|[0-9]{{1,3}}(?:{re.escape(rule.thousands)}[0-9]{{3}})+)"
    mark = re.escape(rule.decimal)
    shape = rf"[+-]?(?:{whole}(?:{mark}[0-9]*)?|{mark}[0-9]+)(?:[eE][+-]?[0-9]+)?"
    if not re.fullmatch(shape, text):
        return None
    return text.replace(rule.thousands or "", "").replace(rule.decimal, ".")


@many
@given(
    st.lists(st.one_of(anything, st.integers(-(2**70), 2**70).map(str))),
    st.sampled_from(WHOLE),
    st.sampled_from(MARKS),
)
def test_whole_numbers(texts: list[str], kind: pl.DataType, rule: Parse) -> None:
    bits = int(re.sub(r"\D", "", str(kind)))
    low, high = (0, 2**bits) if kind.is_unsigned_integer() else (-(2 ** (bits - 1)), 2 ** (bits - 1))

    def expected(text: str) -> object:
        plain = plain_number(text, rule)
        if plain is None or not re.fullmatch(r"[+-]?[0-9]+", plain) or rule.decimal in text:
            return ...
        if plain.startswith("-") and not low:
            return ...
        return int(plain) if low <= int(plain) < high else ...

    assert read(texts, kind, rule) == [expected(text) for text in texts]


@many
@given(
    st.lists(
        st.one_of(anything, st.decimals(allow_nan=False).map(str), st.decimals(-200, 200, places=2).map(str))
    ),
    st.sampled_from(DECIMALS),
    st.sampled_from(MARKS),
)
def test_decimals(texts: list[str], size: tuple[int, int], rule: Parse) -> None:
    precision, scale = size

    def expected(text: str) -> object:
        plain = plain_number(text, rule)
        if plain is None or "e" in plain.lower() or len(plain.partition(".")[2]) > scale:
            return ...
        value = Decimal(plain)
        return value if abs(value) < Decimal(10) ** (precision - scale) else ...

    assert read(texts, pl.Decimal(precision, scale), rule) == [expected(text) for text in texts]


@many
@given(st.lists(st.one_of(anything, st.floats().map(str))), st.sampled_from(MARKS))
def test_floats(texts: list[str], rule: Parse) -> None:
    def expected(text: str) -> object:
        plain = plain_number(text, rule)
        return float(plain) if plain is not None and math.isfinite(float(plain)) else ...

    assert read(texts, pl.Float64(), rule) == [expected(text) for text in texts]


@many
@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False)))
def test_short_floats(values: list[float]) -> None:
    assert read([repr(value) for value in values], pl.Float32(), Parse()) == values


@many
@given(st.lists(st.one_of(anything, st.sampled_from(["true", "False", "TRUE", "ja", "0"]))))
def test_booleans(texts: list[str]) -> None:
    rule = Parse(true=["true", "ja"], false=["false"])
    read_as = {"true": True, "ja": True, "false": False}
    assert read(texts, pl.Boolean(), rule) == [read_as.get(text.lower(), ...) for text in texts]


@many
@given(st.lists(st.one_of(st.none(), anything)))
def test_a_text_stays_as_it_is(texts: list[str | None]) -> None:
    assert read(texts, pl.String(), Parse()) == texts


@many
@given(st.lists(st.dates(date(1000, 1, 1))), st.sampled_from(DATE_FORMATS))
def test_dates_written_by_a_format_are_read_back(values: list[date], text_format: str) -> None:
    texts = [value.strftime(text_format) for value in values]
    assert read(texts, pl.Date(), Parse(formats=[text_format])) == values


@many
@given(st.lists(st.dates(date(1969, 1, 1), date(2068, 12, 31))))
def test_dates_with_two_digits_for_the_year_are_read_as_strptime_does(values: list[date]) -> None:
    assert (
        read([value.strftime("%d.%m.%y") for value in values], pl.Date(), Parse(formats=["%d.%m.%y"]))
        == values
    )


@many
@given(st.lists(st.dates()), st.lists(st.times()), st.lists(st.datetimes()))
def test_iso_is_read_without_rules(days: list[date], times: list[time], moments: list[datetime]) -> None:
    assert read([day.isoformat() for day in days], pl.Date(), Parse()) == days
    assert read([moment.isoformat() for moment in times], pl.Time(), Parse()) == times
    assert read([moment.isoformat() for moment in moments], pl.Datetime("us"), Parse()) == moments


@many
@given(st.lists(st.datetimes(datetime(1000, 1, 1))), st.sampled_from(MOMENT_FORMATS))  # noqa: DTZ001
def test_moments_written_by_a_format_are_read_back(values: list[datetime], text_format: str) -> None:
    texts = [value.strftime(text_format) for value in values]
    assert read(texts, pl.Datetime("us"), Parse(formats=[text_format])) == values


@many
@given(
    st.lists(
        st.tuples(
            st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 28)),  # noqa: DTZ001
            st.integers(-14 * 60, 14 * 60),
        )
    )
)
def test_moments_with_an_offset_are_read_back(values: list[tuple[datetime, int]]) -> None:
    aware = [moment.replace(tzinfo=UTC) for moment, _ in values]
    shifted = [moment + timedelta(minutes=offset) for moment, (_, offset) in zip(aware, values, strict=True)]
    texts = [
        moment.replace(tzinfo=timezone(timedelta(minutes=offset))).isoformat()
        for moment, (_, offset) in zip(shifted, values, strict=True)
    ]
    assert read(texts, ZONED, Parse()) == aware


@many
@given(st.lists(st.datetimes(datetime(1971, 1, 1), datetime(2037, 1, 1))), st.integers(0, 200))  # noqa: DTZ001
def test_local_moments_are_read_unless_a_clock_change_makes_them_two_or_none(
    values: list[datetime], minutes: int
) -> None:
    values = [*values, datetime(2026, 3, 29, 1) + timedelta(minutes=minutes)]  # noqa: DTZ001
    values += [datetime(2026, 10, 25, 1) + timedelta(minutes=minutes)]  # noqa: DTZ001

    def expected(local: datetime) -> object:
        first, second = (local.replace(tzinfo=ZURICH, fold=fold).astimezone(UTC) for fold in (0, 1))
        return first if first == second else ...

    rule = Parse(time_zone="Europe/Zurich")
    assert read([value.isoformat() for value in values], ZONED, rule) == [expected(value) for value in values]


def _strptime(text: str, text_format: str) -> datetime | None:
    try:
        return datetime.strptime(text, text_format)  # noqa: DTZ007
    except ValueError:
        return None


near_dates = st.tuples(
    st.integers(-1, 40), st.integers(0, 14), st.integers(0, 10_000), st.sampled_from(["", "0", " "])
).map(lambda parts: f"{parts[3]}{parts[0]}.{parts[3]}{parts[1]}.{parts[2]}")


@many
@given(st.lists(st.one_of(anything, near_dates)))
def test_any_text_is_a_date_as_strptime_reads_it_or_unread(texts: list[str]) -> None:
    def expected(text: str) -> object:
        found = _strptime(text, "%d.%m.%Y")
        shape = re.fullmatch(r"[0-9]{1,2}\.[0-9]{1,2}\.[0-9]{4}", text)
        return found.date() if found and shape else ...

    assert read(texts, pl.Date(), Parse(formats=["%d.%m.%Y"])) == [expected(text) for text in texts]


@pytest.mark.parametrize(
    "kind",
    [
        pl.Date(),
        pl.Time(),
        pl.Datetime("ms"),
        pl.Datetime("us"),
        pl.Datetime("ns"),
        ZONED,
        pl.Datetime("ns", "UTC"),
    ],
    ids=str,
)
def test_any_text_at_all_is_read_or_unread_never_a_crash(kind: pl.DataType) -> None:
    @many
    @given(
        st.lists(
            st.one_of(
                anything,
                st.datetimes().map("{}Z".format),
                st.datetimes().map(str),
                st.dates().map(str),
                st.times().map(str),
            )
        )
    )
    def holds(texts: list[str]) -> None:
        canonical: Callable[[Any], str] = lambda value: value.isoformat().replace("+00:00", "Z")  # noqa: E731
        for text, value in zip(texts, read(texts, kind, Parse()), strict=True):
            if value is not ...:
                stripped = re.sub(r"(\.[0-9]*?)0+(Z?)$", r"\1\2", text.replace(" ", "T")).replace(".Z", "Z")
                again = re.sub(r"(\.[0-9]*?)0+(Z?)$", r"\1\2", canonical(value))
                assert again == stripped.rstrip(".")

    holds()
