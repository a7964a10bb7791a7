"""Words of reading: kinds of lines, the engine's columns, and a block of records."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from tidegate.reading.encoding import original_offsets, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from tidegate.reading.lines import Lines

#: The engine's own columns: the record's number in its file, and the physical line it begins on.
RECORD = "_record"
LINE = "_line"
#: Byte offset of a record's first byte in the decompressed object.
OFFSET = "_offset"

#: Columns of rejections: one row a broken rule.
REJECTION_SCHEMA: dict[str, pl.DataType] = {
    "record": pl.Int64(),
    "line": pl.Int64(),
    "offset": pl.Int64(),
    "column": pl.String(),
    "rule": pl.String(),
    "value": pl.String(),
    "message": pl.String(),
    "raw": pl.String(),
}

#: How much of a record's text is kept with its rejection, in characters.
RAW_LIMIT = 64 * 1024
#: A record longer than this, in bytes, is refused.
RECORD_LIMIT = 16 * 1024 * 1024


class LineKind(IntEnum):
    """What a physical line is; each line is of exactly one kind."""

    ACCEPTED = 0
    REJECTED = 1
    HEADER = 2
    PREAMBLE = 3
    BLANK = 4
    COMMENT = 5
    FOOTER = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a block stands in its object; all counts are of what lies before it."""

    #: physical lines
    lines: int = 0
    #: records
    records: int = 0
    #: bytes of the decompressed object
    offset: int = 0
    #: the object's encoding
    encoding: str = "utf-8"


@dataclass(frozen=True, kw_only=True)
class Block:
    """Some whole records of an object, in order, and every line that stands between them."""

    place: Place
    text: bytes
    lines: Lines
    #: `LineKind` of each line, before the values are looked at
    kinds: NDArray[np.uint8]
    #: index of each record's first line, and of the line after its last
    firsts: NDArray[np.int64]
    afters: NDArray[np.int64]
    #: gives `rows`
    read: Callable[[], pl.DataFrame]
    #: damaged records, columns of `REJECTION_SCHEMA`
    damaged: pl.DataFrame

    @cached_property
    def rows(self) -> pl.DataFrame:
        """Sound records: ``_record``, ``_line``, and one text column for each column of the schema.

        Their fields are cut when they are first asked for, so by who judges the block: what comes
        after it in the object need not wait.
        """
        return self.read()

    @property
    def records(self) -> int:
        """How many records it has, damaged ones too."""
        return len(self.firsts)

    def line_kinds(self, rejected: Sequence[int] | pl.Series) -> NDArray[np.uint8]:
        """The kinds of its lines once the records of these numbers are known to be rejected, too."""
        kinds = self.kinds.copy()
        indexes = np.asarray(rejected, dtype=np.int64) - self.place.records - 1
        firsts, afters = self.firsts[indexes], self.afters[indexes]
        kinds[firsts] = LineKind.REJECTED
        longer = np.flatnonzero(afters - firsts > 1)
        for first, after in zip(firsts[longer].tolist(), afters[longer].tolist(), strict=True):
            kinds[first:after] = LineKind.REJECTED
        return kinds

    def line_ends_in_records(self) -> Counter[str]:
        """The line ends that stand within records, not at their end, by kind."""
        lasts = self.afters - 1
        longer = lasts > self.firsts
        if not longer.any():
            return Counter()
        steps = np.zeros(len(self.lines) + 1, dtype=np.int64)
        steps[self.firsts[longer]] = 1
        steps[lasts[longer]] = -1
        inner = np.flatnonzero(np.cumsum(steps[:-1]))
        widths = self.lines.starts[inner + 1] - self.lines.ends[inner]
        both = int((widths == len(b"\r\n")).sum())
        lone = int(np.isin(self.lines.ends[inner], self.lines.lone_returns).sum())
        return Counter({"\r\n": both, "\r": lone, "\n": len(inner) - both - lone})

    def origins(self, records: pl.Series) -> pl.DataFrame:
        """``line``, ``offset`` and ``raw`` of the records of these numbers, in their order."""
        indexes = records.to_numpy() - self.place.records - 1
        firsts, lasts = self.firsts[indexes], self.afters[indexes] - 1
        starts, ends = self.lines.starts[firsts], self.lines.ends[lasts]
        return pl.DataFrame(
            {
                "line": firsts + self.place.lines + 1,
                "offset": original_offsets(self.text, starts, self.place.encoding, self.place.offset),
                "raw": raw_texts(self.text, starts, ends, self.place.encoding),
            },
            schema={name: REJECTION_SCHEMA[name] for name in ("line", "offset", "raw")},
        )


def raw_texts(text: bytes, starts: NDArray[np.int64], ends: NDArray[np.int64], encoding: str) -> list[str]:
    """What stands between each start and end, as text that can always be shown."""
    pairs = zip(starts.tolist(), ends.tolist(), strict=True)
    if text.isascii():
        whole = text.decode("ascii")
        return [whole[start : min(end, start + RAW_LIMIT)] for start, end in pairs]
    return [
        shown(text[start : min(end, start + 4 * RAW_LIMIT)], encoding)[:RAW_LIMIT] for start, end in pairs
    ]
