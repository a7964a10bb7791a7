from __future__ import annotations

from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pandera.polars as pa
import polars as pl
import pytest

from tidegate.contracts import Contract
from tidegate.contracts.columns import Parse
from tidegate.contracts.registry import Registry
from tidegate.errors import ContractError
from tidegate.stages.model import RECORD
from tidegate.stages.parse import check_rules, parse
from tidegate.stages.schema import table_columns

if TYPE_CHECKING:
    from collections.abc import Mapping

ZONED = pl.Datetime("us", "UTC")
LOCAL = pl.Datetime("us")
ZURICH = Parse(time_zone="Europe/Zurich")
SHORT = Parse(formats=["%y-%m-%d %H:%M %z"])
SHORT_ZURICH = Parse(formats=["%y-%m-%d %H:%M"], time_zone="Europe/Zurich")
SWISS = Parse(decimal=".", thousands="'")
GERMAN = Parse(decimal=",", thousands=".")


class Anything(pa.DataFrameModel):
    c: str


def contract(rules: Mapping[str, Parse] | None = None, **changes: Any) -> Contract:
    values: dict[str, Any] = {
        "name": "orders",
        "version": "1.2.3",
        "owner": "sales",
        "description": "Orders.",
        "keys": ["orders/*.csv"],
        "schema": Anything,
        "null_tokens": ["", "NA"],
        "parse": rules or {},
    }
    return Contract(**{**values, **changes})


def parse_one(
    text: str | None, kind: pl.DataType, rule: Parse | None = None, **changes: Any
) -> tuple[object, list[str]]:
    frame = pl.DataFrame({RECORD: [7], "c": [text]}, schema_overrides={"c": pl.String})
    parsed = parse(frame, {"c": kind}, contract({"c": rule} if rule else None, **changes))
    assert parsed.rows.schema["c"] == kind
    assert parsed.unread["value"].to_list() == [text] * parsed.unread.height
    return parsed.rows["c"].item(), parsed.unread["message"].to_list()


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("12", pl.Int64(), 12),
        ("+12", pl.Int64(), 12),
        ("007", pl.Int64(), 7),
        ("-0", pl.Int64(), 0),
        ("-128", pl.Int8(), -128),
        ("18446744073709551615", pl.UInt64(), 2**64 - 1),
        ("1.5", pl.Float64(), 1.5),
        (".5", pl.Float64(), 0.5),
        ("1e5", pl.Float64(), 1e5),
        ("3e38", pl.Float32(), 3e38),
        ("007", pl.String(), "007"),
        (" x ", pl.String(), " x "),
        ("TRUE", pl.Boolean(), True),
        ("2026-02-28", pl.Date(), date(2026, 2, 28)),
        ("13:45:00", pl.Time(), time(13, 45)),
        ("13:45:00.25", pl.Time(), time(13, 45, 0, 250000)),
        ("12.50", pl.Decimal(10, 2), Decimal("12.50")),
        (".5", pl.Decimal(10, 2), Decimal("0.50")),
        ("99999999.99", pl.Decimal(10, 2), Decimal("99999999.99")),
        ("0000000000000.5", pl.Decimal(10, 2), Decimal("0.50")),
        ("9" * 38, pl.Decimal(38, 0), Decimal("9" * 38)),
        ("2026-01-31T13:45:00Z", ZONED, datetime(2026, 1, 31, 13, 45, tzinfo=UTC)),
        ("2026-01-31 13:45:00.25+02:00", ZONED, datetime(2026, 1, 31, 11, 45, 0, 250000, tzinfo=UTC)),
        ("2026-01-31T13:45:00-0130", ZONED, datetime(2026, 1, 31, 15, 15, tzinfo=UTC)),
        ("2026-01-31T13:45:00", LOCAL, datetime(2026, 1, 31, 13, 45)),  # noqa: DTZ001
        ("9999-12-31T23:59:59.999999", LOCAL, datetime(9999, 12, 31, 23, 59, 59, 999999)),  # noqa: DTZ001
        ("2261-12-31T00:00:00", pl.Datetime("ns"), datetime(2261, 12, 31)),  # noqa: DTZ001
        ("NA", pl.Int64(), None),
        ("", pl.String(), None),
        (None, pl.Date(), None),
    ],
)
def test_a_text_that_fits_its_type_is_read(text: str | None, kind: pl.DataType, value: object) -> None:
    found, messages = parse_one(text, kind)
    assert messages == []
    assert found == (pytest.approx(value) if isinstance(value, float) else value)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        *(
            (text, pl.Int64())
            for text in ("1e5", "5.0", " 5", "5\n", "1_000", "0x1", "+", "99999999999999999999")
        ),
        *(
            (text, pl.Int64())
            for text in ("\uff11\uff12", "١٢", "½", "5\u00a0", "\u00a05", "\u22125", "5\u200b")
        ),
        ("300", pl.UInt8()),
        ("-0", pl.UInt8()),
        *(
            (text, pl.Float64())
            for text in ("1,5", "inf", "-Infinity", "NaN", "1e999", ".", "1e", "\uff11.5", "½")
        ),
        ("3.5e38", pl.Float32()),
        ("yes", pl.Boolean()),
        *((text, pl.Date()) for text in ("2026-02-30", "1/2/2026", "2026-1-2", "+2026-01-02", "2026- 1-02")),
        *(
            (text, pl.Date())
            for text in ("0000-01-01", "2026-01-02T", "\uff12026-01-02", "2026-01-02\n", "-001-01-01")
        ),
        *(
            (text, pl.Decimal(10, 2))
            for text in ("12.505", "12.500", "1e2", "123456789012.00", "1.2.3", ".", "inf")
        ),
        ("12.0", pl.Decimal(10, 0)),
        ("99999999.995", pl.Decimal(10, 2)),
        ("2026-01-31T13:45:00", ZONED),
        ("2026-01-31T13:45:00 +01:00", ZONED),
        ("2026-01-31T13:45:00+25:00", ZONED),
        ("2026-01-31T13:45:00+01:99", ZONED),
        ("2026-01-31T13:45:00Z", LOCAL),
        ("2026-01-31T25:00:00Z", ZONED),
        ("2026-01-31T13:45:60Z", ZONED),
        ("0001-01-01T00:00:00+01:00", ZONED),
        ("25:00:00", pl.Time()),
        ("13:45:60", pl.Time()),
        ("1:2:3", pl.Time()),
        (" 13:45:00", pl.Time()),
        ("13:45:00.1234567", pl.Time()),
        ("2300-01-01T00:00:00", pl.Datetime("ns")),
        ("2026-01-31T13:45:00.1234", pl.Datetime("ms")),
        ("2026-01-31T13:45:00.1234567", LOCAL),
    ],
)
def test_a_text_that_does_not_fit_is_unread_and_told(text: str, kind: pl.DataType) -> None:
    value, messages = parse_one(text, kind)
    assert value is None
    assert len(messages) == 1
    assert "', but must be " in messages[0]


@pytest.mark.parametrize(
    ("text", "kind", "rule", "value"),
    [
        ("1.2.2026", pl.Date(), Parse(formats=["%d.%m.%Y"]), date(2026, 2, 1)),
        ("01.02.2026", pl.Date(), Parse(formats=["%d.%m.%Y"]), date(2026, 2, 1)),
        ("2026-02-01", pl.Date(), Parse(formats=["%d.%m.%Y", "%Y-%m-%d"]), date(2026, 2, 1)),
        ("01022026", pl.Date(), Parse(formats=["%d%m%Y"]), date(2026, 2, 1)),
        ("032/2026", pl.Date(), Parse(formats=["%j/%Y"]), date(2026, 2, 1)),
        ("1-FEB-26", pl.Date(), Parse(formats=["%d-%b-%y"]), date(2026, 2, 1)),
        ("01.02.69", pl.Date(), Parse(formats=["%d.%m.%y"]), date(1969, 2, 1)),
        ("01.02.68", pl.Date(), Parse(formats=["%d.%m.%y"]), date(2068, 2, 1)),
        ("February 1, 2026", pl.Date(), Parse(formats=["%B %d, %Y"]), date(2026, 2, 1)),
        ("100% 1.2.2026", pl.Date(), Parse(formats=["100%% %d.%m.%Y"]), date(2026, 2, 1)),
        ("01.02.2026 00:00:00", pl.Date(), Parse(formats=["%d.%m.%Y 00:00:00"]), date(2026, 2, 1)),
        ("9:30", pl.Time(), Parse(formats=["%H:%M"]), time(9, 30)),
        ("12:30 am", pl.Time(), Parse(formats=["%I:%M %p"]), time(0, 30)),
        ("1.2.2026 9:30", LOCAL, Parse(formats=["%d.%m.%Y %H:%M"]), datetime(2026, 2, 1, 9, 30)),  # noqa: DTZ001
        (
            "20260201093000.5",
            LOCAL,
            Parse(formats=["%Y%m%d%H%M%S.%f"]),
            datetime(2026, 2, 1, 9, 30, 0, 500000),  # noqa: DTZ001
        ),
        (
            "1.2.2026 9:30 +0100",
            ZONED,
            Parse(formats=["%d.%m.%Y %H:%M %z"]),
            datetime(2026, 2, 1, 8, 30, tzinfo=UTC),
        ),
        (
            "1.2.2026 9:30 Z",
            ZONED,
            Parse(formats=["%d.%m.%Y %H:%M %z"]),
            datetime(2026, 2, 1, 9, 30, tzinfo=UTC),
        ),
        ("69-01-01 00:30 +01:00", ZONED, SHORT, datetime(1968, 12, 31, 23, 30, tzinfo=UTC)),
        ("68-12-31 23:30 -01:00", ZONED, SHORT, datetime(2069, 1, 1, 0, 30, tzinfo=UTC)),
        ("69-12-31 23:30 -01:00", ZONED, SHORT, datetime(1970, 1, 1, 0, 30, tzinfo=UTC)),
        ("70-01-01 00:30 +01:00", ZONED, SHORT, datetime(1969, 12, 31, 23, 30, tzinfo=UTC)),
        ("69-01-01 00:30 Z", ZONED, SHORT, datetime(1969, 1, 1, 0, 30, tzinfo=UTC)),
        ("69-01-01 00:30", ZONED, SHORT_ZURICH, datetime(1968, 12, 31, 23, 30, tzinfo=UTC)),
        # Zurich had no summer time in 1969.
        ("69-07-01 12:00", ZONED, SHORT_ZURICH, datetime(1969, 7, 1, 11, tzinfo=UTC)),
        ("2026-07-01T12:00:00", ZONED, ZURICH, datetime(2026, 7, 1, 10, tzinfo=UTC)),
        ("2026-01-01T12:00:00", ZONED, ZURICH, datetime(2026, 1, 1, 11, tzinfo=UTC)),
        ("2026-01-01T12:00:00Z", ZONED, ZURICH, datetime(2026, 1, 1, 12, tzinfo=UTC)),
        ("1.234.567,89", pl.Decimal(12, 2), GERMAN, Decimal("1234567.89")),
        ("1234567,8", pl.Decimal(12, 2), GERMAN, Decimal("1234567.80")),
        ("-1.234", pl.Int64(), GERMAN, -1234),
        ("1'234.5", pl.Float64(), SWISS, 1234.5),
        ("1.234", pl.Float64(), GERMAN, 1234.0),
        ("1 234", pl.Int32(), Parse(thousands=" "), 1234),
        ("JA", pl.Boolean(), Parse(true=["ja", "j"], false=["nein"]), True),
        ("nein", pl.Boolean(), Parse(true=["ja", "j"], false=["nein"]), False),
        (" 5\t", pl.Int64(), Parse(trim=True), 5),
        (" NA ", pl.Int64(), Parse(trim=True), None),
        ("NA", pl.String(), Parse(null_tokens=["-"]), "NA"),
        ("-", pl.String(), Parse(null_tokens=["-"]), None),
        ("", pl.String(), Parse(null_tokens=()), ""),
    ],
)
def test_a_rule_says_how_a_text_is_read(text: str, kind: pl.DataType, rule: Parse, value: object) -> None:
    assert parse_one(text, kind, rule) == (value, [])


@pytest.mark.parametrize(
    ("text", "kind", "rule"),
    [
        *(
            (text, pl.Date(), Parse(formats=["%d.%m.%Y"]))
            for text in ("31.02.2026", "01.02.2026x", "01.02.26")
        ),
        *((text, pl.Date(), Parse(formats=["%d.%m.%Y"])) for text in (" 1.2.2026", "1. 2.2026", "+1.2.2026")),
        ("2026-02-01", pl.Date(), Parse(formats=["%d.%m.%Y"])),
        ("112026", pl.Date(), Parse(formats=["%d%m%Y"])),
        ("32/2026", pl.Date(), Parse(formats=["%j/%Y"])),
        ("366/2026", pl.Date(), Parse(formats=["%j/%Y"])),
        ("13/02/2026", pl.Date(), Parse(formats=["%m/%d/%Y"])),
        ("1 Febr 2026", pl.Date(), Parse(formats=["%d %b %Y"])),
        ("1 February 2026", pl.Date(), Parse(formats=["%d %b %Y"])),
        ("9:3", pl.Time(), Parse(formats=["%H:%M"])),
        ("24:00", pl.Time(), Parse(formats=["%H:%M"])),
        ("1.2.2026  9:30", LOCAL, Parse(formats=["%d.%m.%Y %H:%M"])),
        ("2026-03-29T02:30:00", ZONED, ZURICH),
        ("2026-10-25T02:30:00", ZONED, ZURICH),
        *(
            (text, pl.Decimal(12, 2), GERMAN)
            for text in ("1.23,4", "12.34.567", "1234.567,0", "1.234,567", "12.5")
        ),
        *((text, pl.Int64(), GERMAN) for text in ("1.23", "1234.567", ".123", "1.234.", "1..234")),
        ("1,5", pl.Int64(), GERMAN),
        ("1.5", pl.Float64(), Parse(decimal=",")),
        ("1\u00a0234", pl.Int64(), Parse(thousands=" ")),
        ("true", pl.Boolean(), Parse(true=["ja"], false=["nein"])),
        ("5\u00a0", pl.Int64(), Parse(trim=True)),
        ("", pl.Int64(), Parse(null_tokens=())),
    ],
)
def test_what_a_rule_does_not_cover_is_unread(text: str, kind: pl.DataType, rule: Parse) -> None:
    value, messages = parse_one(text, kind, rule)
    assert (value, len(messages)) == (None, 1)


@pytest.mark.parametrize(
    ("text", "kind", "rule", "message"),
    [
        ("x", pl.Int64(), None, "c is 'x', but must be a whole number such as 42."),
        ("300", pl.Int8(), None, "c is '300', but must be a whole number from -128 to 127."),
        (
            "12,5",
            pl.Decimal(10, 2),
            None,
            "c is '12,5', but must be a number such as 12.50 with at most 2 decimal places.",
        ),
        (
            "123456789.5",
            pl.Decimal(10, 2),
            None,
            "c is '123456789.5', but must be a number with at most 8 digits before the '.'.",
        ),
        ("x", pl.Float64(), GERMAN, "c is 'x', but must be a number such as 12,5."),
        ("1e999", pl.Float64(), None, "c is '1e999', but must be a number from -1.8e308 to 1.8e308."),
        ("x", pl.Boolean(), None, "c is 'x', but must be 'true' or 'false'."),
        (
            "31.02.2026",
            pl.Date(),
            Parse(formats=["%d.%m.%Y"]),
            "c is '31.02.2026', but must be a day of the calendar written as DD.MM.YYYY, such as 31.01.2026.",
        ),
        (
            "2026-03-29T02:30:00",
            ZONED,
            ZURICH,
            (
                "c is '2026-03-29T02:30:00', but must be "
                "a local time of Europe/Zurich that no clock change skips or repeats, "
                "or one with an offset such as +01:00."
            ),
        ),
        (
            "1.2.2026",
            ZONED,
            Parse(formats=["%d.%m.%Y %H:%M %z"], time_zone="Europe/Zurich"),
            (
                "c is '1.2.2026', but must be "
                "a date and time written as DD.MM.YYYY hh:mm +hhmm, such as 31.01.2026 13:45 +0000."
            ),
        ),
        (
            "a\nb\x00\u2028",
            pl.Int64(),
            None,
            r"c is 'a\nb\x00\u2028', but must be a whole number such as 42.",
        ),
        ("x" * 101, pl.Int64(), None, f"c is '{'x' * 100}…', but must be a whole number such as 42."),
        ("", pl.Int64(), Parse(null_tokens=()), "c is empty, but must be a whole number such as 42."),
    ],
)
def test_a_sentence_says_what_should_stand_there(
    text: str, kind: pl.DataType, rule: Parse | None, message: str
) -> None:
    assert parse_one(text, kind, rule)[1] == [message]


def test_the_contract_trims_every_column_without_a_rule_of_its_own() -> None:
    assert parse_one(" 5 ", pl.Int64(), trim=True) == (5, [])
    assert parse_one(" 5 ", pl.String(), Parse(trim=False), trim=True) == (" 5 ", [])


def test_all_records_stay_with_the_engines_columns_and_every_unread_value_is_named() -> None:
    frame = pl.DataFrame(
        {RECORD: [1, 2], "b": ["y", "2"], "_line": [3, 4], "a": ["x", "1"], "_offset": [None, 9]},
    )
    parsed = parse(frame, {"a": pl.Int64(), "b": pl.Int64()}, contract())
    assert parsed.rows.to_dict(as_series=False) == {
        RECORD: [1, 2],
        "_line": [3, 4],
        "_offset": [None, 9],
        "a": [None, 1],
        "b": [None, 2],
    }
    assert parsed.unread.select("record", "column", "rule", "value").rows() == [
        (1, "a", "type", "x"),
        (1, "b", "type", "y"),
    ]


def test_a_file_may_mix_the_ways_a_column_can_be_written() -> None:
    texts = ["2026-01-01T00:00:00Z", "2026-01-01 01:00:00.5+01:00", "junk", None, "2026-01-01T00:00:00"]
    frame = pl.DataFrame({RECORD: range(5), "c": texts})
    parsed = parse(frame, {"c": ZONED}, contract({"c": Parse(time_zone="Asia/Tokyo")}))
    assert parsed.rows["c"].to_list() == [
        datetime(2026, 1, 1, tzinfo=UTC),
        datetime(2026, 1, 1, 0, 0, 0, 500000, tzinfo=UTC),
        None,
        None,
        datetime(2025, 12, 31, 15, tzinfo=UTC),
    ]
    assert parsed.unread["record"].to_list() == [2]


@pytest.mark.parametrize(
    ("kind", "rule", "said"),
    [
        (pl.Int64(), Parse(formats=["%d"]), "formats is for dates"),
        (pl.String(), Parse(true=["ja"]), "true is for booleans"),
        (pl.String(), Parse(false=["nein"]), "false is for booleans"),
        (pl.Date(), SWISS, "thousands is for numbers"),
        (pl.String(), Parse(decimal=","), "decimal is for numbers"),
        (LOCAL, ZURICH, "time_zone is for moments with a time zone"),
        (ZONED, Parse(time_zone="Mars/Olympus"), "no time zone 'Mars/Olympus'"),
        (pl.Datetime("us", "Mars/Olympus"), Parse(), "no time zone 'Mars/Olympus'"),
        (pl.Date(), Parse(formats=["%d.%m"]), "name one year"),
        (pl.Date(), Parse(formats=["%d.%m.%Y %H:%M"]), "a date has no time of day"),
        (pl.Date(), Parse(formats=["%d.%m.%Q"]), "%Q is not among the letters"),
        (pl.Date(), Parse(formats=["%d.%d.%Y"]), "each letter once"),
        (pl.Date(), Parse(formats=["%d.%m.%Y %"]), "%% for a percent sign"),
        (pl.Date(), Parse(formats=["%d.%m.%Y", "%m.%d.%Y"]), "a text can fit both"),
        (pl.Date(), Parse(formats=["%d.%m.%y", "%y.%m.%d"]), "a text can fit both"),
        (pl.Date(), Parse(formats=["%d%m%Y", "%Y%m%d"]), "a text can fit both"),
        (pl.Time(), Parse(formats=["%d.%m.%Y"]), "a time has no date"),
        (pl.Time(), Parse(formats=["%I:%M"]), "%I and %p belong together"),
        (pl.Time(), Parse(formats=["%H"]), "name the minute"),
        (pl.Time(), Parse(formats=["x"]), "at least hour and minute"),
        (LOCAL, Parse(formats=["%d.%m.%Y %H:%M:%S,%f"]), "after a point"),
        (LOCAL, Parse(formats=["%d.%m.%Y %H:%M %z"]), "its offset would be lost"),
        (ZONED, Parse(formats=["%d.%m.%Y %H:%M"]), "name the time zone of the texts"),
    ],
)
def test_a_rule_that_cannot_apply_is_the_authors_mistake(kind: pl.DataType, rule: Parse, said: str) -> None:
    with pytest.raises(ContractError, match=said) as caught:
        check_rules(contract({"c": rule}), {"c": kind})
    assert str(caught.value).startswith("Contract 'orders' 1.2.3: how column 'c' is read: ")


def test_rules_are_looked_at_before_any_object_is_read() -> None:
    wrong = contract({"c": ZURICH})
    with pytest.raises(ContractError, match="time_zone is for moments"):
        table_columns(wrong, Registry({"orders": wrong}))


def test_a_rule_for_a_column_that_the_schema_lacks_is_the_authors_mistake() -> None:
    with pytest.raises(ContractError, match="column 'd' is read: the schema has no such column; it has c"):
        check_rules(contract({"d": Parse(trim=True)}), {"c": pl.String()})


@pytest.mark.parametrize(
    ("kind", "rule"),
    [
        (pl.String(), Parse(trim=True, null_tokens=["-"])),
        (pl.Boolean(), Parse(true=["ja"], false=["nein"])),
        (pl.Float32(), GERMAN),
        (pl.Int8(), Parse(thousands="'")),
        (pl.Date(), Parse(formats=["%d.%m.%Y", "%Y-%m-%d", "%d %B %Y"])),
        (ZONED, Parse(formats=["%d.%m.%Y %H:%M"], time_zone="Europe/Zurich")),
        (pl.Int64(), Parse(true=["true"], formats=[])),
    ],
)
def test_a_rule_that_fits_its_column_is_accepted(kind: pl.DataType, rule: Parse) -> None:
    check_rules(contract({"c": rule}), {"c": kind})
