"""``rejected.csv``: the held records of one object as a person can mend them in a spreadsheet."""

from __future__ import annotations

import csv
from itertools import groupby
from operator import itemgetter
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
        """Write rejections as a file check gives them, one row a broken rule, ordered by record."""
        for _, entries in groupby(rejections.iter_rows(named=True), key=itemgetter("record")):
            rows = list(entries)
            raw = next((row["raw"] for row in rows if row["raw"] is not None), "")
            reasons = " | ".join(row["message"] or sentence_of(row["rule"], row["column"]) for row in rows)
            self._writer.writerow((_safe(raw), rows[0]["line"], rows[0]["record"], _safe(reasons)))


def sentence(reason: HeldReason) -> str:
    """A reason for people; it names the rule where the message does not."""
    return reason.message or sentence_of(reason.rule, reason.column)


def sentence_of(rule: str, column: str | None) -> str:
    """What to say of a broken rule that has no message."""
    where = f" in {column}" if column else ""
    return f"The rule {rule} is broken{where}."


def _safe(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text
