"""Physical lines of a piece of text, found all at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NEWLINE, _RETURN = 10, 13
#: So many lines are taken one by one sooner than Polars has started to read.
_FEW = 4_000


@dataclass(frozen=True, slots=True)
class Lines:
    r"""Where each physical line begins and ends; ``\n``, ``\r\n`` and ``\r`` end one."""

    #: first byte
    starts: NDArray[np.int64]
    #: byte after the last one, the line end left out
    ends: NDArray[np.int64]
    #: positions of returns that end a line by themselves
    lone_returns: NDArray[np.int64]
    size: int

    def __len__(self) -> int:
        return len(self.starts)

    def count(self, byte: NDArray[np.uint8], mark: int) -> NDArray[np.int32]:
        """How often a byte that is no line end stands in each line."""
        if not len(self.starts):
            return np.zeros(0, dtype=np.int32)
        return counts_from(byte == mark, self.starts)

    def places(self, byte: NDArray[np.uint8], mark: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where a byte stands that is no line end, and in which line each time."""
        found = np.flatnonzero(byte == mark)
        return found, np.searchsorted(self.starts, found, side="right") - 1

    def having(self, byte: NDArray[np.uint8], mark: int) -> NDArray[np.bool_]:
        """Which lines hold a byte that is no line end."""
        found = np.zeros(len(self.starts), dtype=np.bool_)
        found[self.places(byte, mark)[1]] = True
        return found

    def first(self, number: int, size: int) -> Lines:
        """The first lines only, of a text that was cut to `size` bytes after them."""
        return Lines(
            starts=self.starts[:number],
            ends=self.ends[:number],
            lone_returns=self.lone_returns[self.lone_returns < size],
            size=size,
        )

    def at(self, position: int) -> int:
        """Index of the line that begins at `position`; their number at the end of the text."""
        return int(np.searchsorted(self.starts, position))


def counts_from(there: NDArray[np.bool_], starts: NDArray[np.int64]) -> NDArray[np.int32]:
    """How many are true from each start up to the next, from the last one up to the end."""
    there = there[starts[0] :]
    starts = starts - starts[0]
    # In single bytes the sums take half the time, but of 256 they make none.
    counts = np.add.reduceat(there.view(np.uint8), starts, dtype=np.uint8)
    if counts.sum(dtype=np.int64) == np.count_nonzero(there):
        return counts.astype(np.int32)
    return np.add.reduceat(there, starts, dtype=np.int32)


def split_lines(text: bytes) -> Lines:
    """All physical lines of `text`; the last one may lack its end."""
    byte = np.frombuffer(text, dtype=np.uint8)
    returns = text.count(b"\r") if b"\r" in text else 0
    crlf = text.count(b"\r\n") if returns else 0
    lone = np.zeros(0, dtype=np.int64)
    is_end = byte == _NEWLINE
    if returns > crlf:
        alone = byte == _RETURN
        alone[:-1] &= byte[1:] != _NEWLINE
        lone = np.flatnonzero(alone)
        is_end |= alone
    terminators = np.flatnonzero(is_end)
    ends = terminators.copy()
    if crlf:
        before = byte[np.maximum(terminators - 1, 0)]
        ends -= (byte[terminators] == _NEWLINE) & (terminators > 0) & (before == _RETURN)
    starts = np.concatenate((np.zeros(1, dtype=np.int64), terminators + 1))
    if starts[-1] == len(text):
        starts = starts[:-1]
    else:
        ends = np.concatenate((ends, np.array([len(text)], dtype=np.int64)))
    return Lines(starts=starts, ends=ends, lone_returns=lone, size=len(text))


def cut_after_last_line(text: bytes) -> int:
    """How much of `text` is whole lines, when more text may follow."""
    # A return at the very end may be half of a line end.
    newline = text.rfind(b"\n")
    lone = text.rfind(b"\r", newline + 1, len(text) - 1)
    return max(newline, lone) + 1


def selected(text: bytes, byte: NDArray[np.uint8], lines: Lines, indexes: NDArray[np.int64]) -> bytes:
    """These lines alone, each ended by a newline, the last perhaps not; returns before them may stay."""
    if len(indexes) == len(lines) and not len(lines.lone_returns):
        return text
    if not len(indexes):
        return b""
    if len(lines.lone_returns):
        byte = byte.copy()
        byte[lines.lone_returns] = _NEWLINE
        text = byte.tobytes()
    breaks = np.flatnonzero(np.diff(indexes) != 1)
    ends = np.append(lines.starts[1:], lines.size)
    begin = lines.starts[indexes[np.append(0, breaks + 1)]].tolist()
    end = ends[indexes[np.append(breaks, len(indexes) - 1)]].tolist()
    return b"".join(map(text.__getitem__, map(slice, begin, end)))


def line_texts(text: bytes, byte: NDArray[np.uint8], lines: Lines, indexes: NDArray[np.int64]) -> pl.Series:
    """The texts of valid lines, line ends left out."""
    if len(indexes) < _FEW:
        pairs = zip(lines.starts[indexes].tolist(), lines.ends[indexes].tolist(), strict=True)
        return pl.Series("line", [text[start:end].decode() for start, end in pairs], dtype=pl.String)
    some = selected(text, byte, lines, indexes)
    # A byte order mark at the beginning would be taken off: no text begins with a newline.
    frame = pl.read_csv(
        b"\n" + some,
        has_header=False,
        schema={"line": pl.String},
        separator="\0",
        quote_char=None,
        empty_string_is_null=False,
        infer_schema=False,
    )
    return frame["line"].slice(1)
