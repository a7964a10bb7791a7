from __future__ import annotations

from datetime import UTC, date, datetime, time
from decimal import Decimal

import polars as pl
import pytest

from tidegate.stages.model import RECORD
from tidegate.stages.parse import parse

ZONED = pl.Datetime("us", "UTC")


def parse_one(text: str, kind: pl.DataType) -> tuple[list[object], list[str]]:
    frame = pl.DataFrame({RECORD: [7], "c": [text]})
    typed, rejections = parse(frame, {"c": kind}, ["", "NA"])
    return typed["c"].to_list(), rejections["message"].to_list()


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("12", pl.Int64(), 12),
        ("+12", pl.Int64(), 12),
        ("-0", pl.Int64(), 0),
        ("1.5", pl.Float64(), 1.5),
        ("1e5", pl.Float64(), 1e5),
        ("007", pl.String(), "007"),
        (" x ", pl.String(), " x "),
        ("TRUE", pl.Boolean(), True),
        ("2026-02-28", pl.Date(), date(2026, 2, 28)),
        ("13:45:00", pl.Time(), time(13, 45)),
        ("12.50", pl.Decimal(10, 2), Decimal("12.50")),
        ("2026-01-31T13:45:00Z", ZONED, datetime(2026, 1, 31, 13, 45, tzinfo=UTC)),
        ("2026-01-31 13:45:00.25+02:00", ZONED, datetime(2026, 1, 31, 11, 45, 0, 250000, tzinfo=UTC)),
        ("2026-01-31T13:45:00-0130", ZONED, datetime(2026, 1, 31, 15, 15, tzinfo=UTC)),
        ("2026-01-31T13:45:00", pl.Datetime("us"), datetime(2026, 1, 31, 13, 45)),  # noqa: DTZ001
        ("NA", pl.Int64(), None),
        ("", pl.String(), None),
    ],
)
def test_a_text_that_fits_its_type_is_read(text: str, kind: pl.DataType, value: object) -> None:
    assert parse_one(text, kind) == ([value], [])


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("1e5", pl.Int64()),
        ("5.0", pl.Int64()),
        (" 5", pl.Int64()),
        ("99999999999999999999", pl.Int64()),
        ("300", pl.UInt8()),
        ("1,5", pl.Float64()),
        ("inf", pl.Float64()),
        ("NaN", pl.Float64()),
        ("1e999", pl.Float64()),
        ("yes", pl.Boolean()),
        ("2026-02-30", pl.Date()),
        ("1/2/2026", pl.Date()),
        ("2026-1-2", pl.Date()),
        ("12.505", pl.Decimal(10, 2)),
        ("1e2", pl.Decimal(10, 2)),
        ("123456789012.00", pl.Decimal(10, 2)),
        ("2026-01-31T13:45:00", ZONED),
        ("2026-01-31T13:45:00Z", pl.Datetime("us")),
        ("2026-01-31T25:00:00Z", ZONED),
        ("25:00:00", pl.Time()),
        ("1:2:3", pl.Time()),
        (" 13:45:00", pl.Time()),
        ("2300-01-01T00:00:00", pl.Datetime("ns")),
        ("2026-01-31T13:45:00.1234", pl.Datetime("ms")),
        ("2026-01-31T13:45:00.1234567", pl.Datetime("us")),
    ],
)
def test_a_text_that_does_not_fit_is_a_rejection_never_a_null(text: str, kind: pl.DataType) -> None:
    rows, messages = parse_one(text, kind)
    assert rows == []
    assert len(messages) == 1
    assert messages[0].startswith(f"c is '{text}' but must be ")


def test_every_column_that_cannot_be_read_is_named() -> None:
    frame = pl.DataFrame({RECORD: [1, 2], "a": ["x", "1"], "b": ["y", "2"]})
    typed, rejections = parse(frame, {"a": pl.Int64(), "b": pl.Int64()}, [""])
    assert typed.rows() == [(2, 1, 2)]
    assert rejections.select("record", "column", "value").rows() == [(1, "a", "x"), (1, "b", "y")]
