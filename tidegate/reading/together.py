"""The records of many small objects, read as if they stood in one.

Objects that are written alike are put one behind another and cut into records at once; where a
record could reach over the end of its own lines, or an object ends in a way of its own, it is read
by itself. Each object's records keep their numbers, lines and offsets.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from tidegate.reading.blocks import build_block
from tidegate.reading.encoding import original_offsets
from tidegate.reading.lines import split_lines
from tidegate.reading.model import Place

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tidegate.reading.model import Block
    from tidegate.reading.reader import Reading


@dataclass(frozen=True, kw_only=True, slots=True)
class Extent:
    """Where the records of one object lie in what was read together.

    Taken from a record's number, line and offset there, `before`, `lines` and `offset` leave those
    that the record has in its object.
    """

    reading: Reading
    before: int
    lines: int
    offset: int
    records: int


def read_together(bodies: Sequence[tuple[Reading, bytes]]) -> tuple[list[Block], list[Extent]]:
    """The blocks of all objects, numbered through, and where each object lies in them, in that order.

    Each object comes with its `Reading.whole_body`.
    """
    blocks: list[Block] = []
    extents: list[Extent] = []
    alike: dict[object, list[tuple[Reading, bytes]]] = {}
    for reading, body in bodies:
        if _stays_in_lines(reading, body):
            key = (reading.rules, tuple(reading.head.match.layout.items()))
            alike.setdefault(key, []).append((reading, body))
        else:
            _read_alone(reading, body, blocks, extents)
    for group in alike.values():
        _read_alike(group, blocks, extents)
    return blocks, extents


def _stays_in_lines(reading: Reading, body: bytes) -> bool:
    """Whether each line is known to be a record of its own, or none, whatever follows it."""
    rules = reading.rules
    if rules.footer is not None or rules.grammar.escape is not None or b"\0" in body:
        return False
    if b"\r" in body and body.count(b"\r") != body.count(b"\r\n"):
        return False
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError:
            return False
    quote = rules.grammar.quote
    # Where a quoted field goes on behind its line, that line has an odd number of quotes.
    return quote is None or quote not in body or not any(line.count(quote) % 2 for line in body.splitlines())


def _read_alone(reading: Reading, body: bytes, blocks: list[Block], extents: list[Extent]) -> None:
    before, place = _records(blocks), reading.place_of_body()
    records = 0
    if body:
        place = Place(lines=place.lines, records=before, offset=place.offset, encoding=place.encoding)
        block, _ = build_block(
            body,
            split_lines(body),
            reading.rules,
            reading.head.match.layout,
            place,
            beyond=None,
            patient=False,
        )
        reading.note(block)
        blocks.append(block)
        records = block.records
    extents.append(Extent(reading=reading, before=before, lines=0, offset=0, records=records))


def _read_alike(group: Sequence[tuple[Reading, bytes]], blocks: list[Block], extents: list[Extent]) -> None:
    before, first = _records(blocks), group[0][0]
    ended = [body if body.endswith(b"\n") or not body else body + b"\n" for _, body in group]
    text = b"".join(ended)
    ends = np.cumsum([len(body) for body in ended])
    starts = np.concatenate((np.zeros(1, dtype=np.int64), ends))
    encoding = first.text.encoding
    lines = split_lines(text)
    counts = np.zeros(len(starts), dtype=np.int64)
    line_starts = np.searchsorted(lines.starts, starts) if text else counts
    if text:
        place = Place(records=before, encoding=encoding)
        block, _ = build_block(
            text, lines, first.rules, first.head.match.layout, place, beyond=None, patient=False
        )
        blocks.append(block)
        counts = np.searchsorted(block.firsts, line_starts)
    offsets = original_offsets(text, starts, encoding, 0)
    for index, ((reading, body), (begin, end)) in enumerate(
        zip(group, pairwise(counts.tolist()), strict=True)
    ):
        reading.note_lines(body)
        place = reading.place_of_body()
        extents.append(
            Extent(
                reading=reading,
                before=before + begin,
                lines=int(line_starts[index]) - place.lines,
                offset=int(offsets[index]) - place.offset,
                records=end - begin,
            )
        )


def _records(blocks: Iterable[Block]) -> int:
    return sum(block.records for block in blocks)
