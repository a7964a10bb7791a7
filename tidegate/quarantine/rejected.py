"""``rejected.csv``: the held records of one object as a person can mend them in a spreadsheet."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import polars as pl

    from tidegate.warehouse import HeldReason, HeldRecord

#: ``raw`` holds the record as it stands in the object, its quotes and delimiters included.
COLUMNS = ("raw", "line", "record", "reasons")
#: A spreadsheet takes a cell that begins so for a formula, and may run it.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class RejectedFile:
    """The file being written: RFC 4180 in UTF-8 with a byte order mark, which Excel wants.

    A cell that a spreadsheet would take for a formula gets an apostrophe in front.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8-sig", newline="")
        self._writer = csv.writer(self._file)
        self._writer.writerow(COLUMNS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, records: Iterable[HeldRecord]) -> None:
        for one in records:
            reasons = " | ".join(map(sentence, one.reasons))
            self._writer.writerow((_safe(one.raw or ""), one.line, one.record, _safe(reasons)))

    def write_frame(self, rejections: pl.DataFrame) -> None:
        """Records as a check tells of them: one row a broken rule, those of a record together."""
        import polars as pl

        told = rejections.group_by("record", maintain_order=True).agg(
            pl.first("raw"), pl.first("line"), pl.col("message").str.join(" | ")
        )
        for raw, line, record, reasons in told.select("raw", "line", "record", "message").iter_rows():
            self._writer.writerow((_safe(raw or ""), line, record, _safe(reasons)))


def sentence(reason: HeldReason) -> str:
    """A reason for people; it names the rule where the message does not."""
    if reason.message:
        return reason.message
    where = f" in {reason.column}" if reason.column else ""
    return f"The rule {reason.rule} is broken{where}."


def _safe(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text
