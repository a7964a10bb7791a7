"""rejected.csv, byte by byte: what a spreadsheet gets to see."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import polars as pl
import pytest

from tidegate.quarantine import RejectedFile
from tidegate.stages.model import REJECTION_SCHEMA
from tidegate.warehouse import HeldReason, HeldRecord

if TYPE_CHECKING:
    from pathlib import Path


def held(record: int, raw: str | None, *reasons: HeldReason, line: int | None = None) -> HeldRecord:
    return HeldRecord(
        object_id="1",
        record=record,
        line=line,
        offset=None,
        raw=raw,
        contract_version="1.0.0",
        rejected_at=datetime(2026, 1, 1, tzinfo=UTC),
        reasons=reasons,
    )


def written(path: Path, *records: HeldRecord) -> str:
    with RejectedFile(path / "rejected.csv") as file:
        file.write(records)
    return (path / "rejected.csv").read_bytes().decode()


def test_a_record_stands_with_its_place_and_all_its_reasons(tmp_path: Path) -> None:
    text = written(
        tmp_path,
        held(
            2,
            'a,"b\nc",ü',
            HeldReason("x", "type", "a", "x is wrong."),
            HeldReason(None, "twice", None, None),
        ),
        held(3, None, HeldReason("y", "range", None, None), line=7),
    )
    assert text == (
        "\ufeffraw,line,record,reasons\r\n"
        '"a,""b\nc"",ü",,2,x is wrong. | The rule twice is broken.\r\n'
        ",7,3,The rule range is broken in y.\r\n"
    )


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_is_a_formula(tmp_path: Path, start: str) -> None:
    message = HeldReason("x", "type", None, f"{start}1 is wrong.")
    line = written(tmp_path, held(1, f"{start}1+cmd", message)).split("\r\n", 1)[1]
    raw, _, _, reasons = line.removesuffix("\r\n").replace('"', "").split(",")
    assert (raw, reasons) == (f"'{start}1+cmd", f"'{start}1 is wrong.")


def test_rejections_of_a_file_check_give_the_same(tmp_path: Path) -> None:
    rows = [
        (2, 3, 10, "x", "type", "a", "x is wrong.", "=a"),
        (2, 3, 10, None, "twice", None, None, "=a"),
        (5, None, None, "y", "range", None, None, None),
    ]
    frame = pl.DataFrame(rows, schema=REJECTION_SCHEMA, orient="row")
    with RejectedFile(tmp_path / "frame.csv") as file:
        file.write_frame(frame)
    expected = written(
        tmp_path,
        held(
            2,
            "=a",
            HeldReason("x", "type", "a", "x is wrong."),
            HeldReason(None, "twice", None, None),
            line=3,
        ),
        held(5, None, HeldReason("y", "range", None, None)),
    )
    assert (tmp_path / "frame.csv").read_bytes().decode() == expected
