"""An object's records, block by block, in bounded memory."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tidegate.contracts.dialect import DETECT
from tidegate.errors import ObjectRejectedError
from tidegate.reading.blocks import build_block
from tidegate.reading.encoding import (
    EncodingSniffer,
    Transcoder,
    byte_order_mark,
    canonical,
    original_offsets,
)
from tidegate.reading.evidence import Evidence
from tidegate.reading.head import Head, HeadFinder
from tidegate.reading.header import Matcher
from tidegate.reading.lines import cut_after_last_line, split_lines
from tidegate.reading.marks import Rules
from tidegate.reading.model import RECORD_LIMIT, LineKind, Place
from tidegate.reading.source import Source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tidegate.contracts import Columns, Dialect
    from tidegate.reading.model import Block

#: Small enough for the processor's cache, large enough that a block's fixed cost does not count.
BLOCK_BYTES = 4 * 1024 * 1024
#: How much of an object is looked at for its header.
HEAD_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Text:
    """An object's content as UTF-8."""

    source: Source
    encoding: str
    #: length of the byte order mark
    mark: int

    def chunks(
        self, size: int, *, taken: Callable[[int], object] | None = None
    ) -> Iterator[tuple[bytes, bool]]:
        """Pieces of the text, and whether each is the last; the last may be empty.

        `taken` is told before each how many of the object's bytes, as they are stored, were read.
        """
        transcoder = Transcoder(self.encoding)
        with self.source.open() as stream:
            stream.read(self.mark)
            final = False
            while not final:
                chunk = stream.read(size)
                final = len(chunk) < size
                if taken is not None:
                    taken(stream.position)
                yield transcoder.utf8(chunk, final=final), final


@dataclass(kw_only=True)
class Reading:
    """One object, opened: what its header says, and its records on demand.

    `lines`, `footer`, `dialect` and `assumed` are complete once the blocks have been read to the
    end; each call of `blocks` reads the object from its beginning.
    """

    text: _Text
    head: Head
    rules: Rules
    block_bytes: int
    #: physical lines by kind, before values are looked at
    lines: Counter[LineKind] = field(default_factory=Counter)
    #: texts of the footer's lines
    footer: list[str] = field(default_factory=list)
    _line_ends: set[str] = field(default_factory=set)
    _evidence: Evidence = field(init=False)

    def __post_init__(self) -> None:
        self._evidence = Evidence(self.head.grammar)
        self._evidence.look_at(self.head.text)

    @property
    def dialect(self) -> dict[str, Any]:
        """How the object is written, as found: plain values, to be recorded and compared.

        Where they are the same for one object, its records have the same numbers.
        """
        grammar = self.head.grammar
        ends = sorted(self._line_ends)
        return {
            "encoding": self.text.encoding,
            "byte_order_mark": bool(self.text.mark),
            "compression": self.text.source.compression,
            "delimiter": grammar.delimiter.decode(),
            "quote": grammar.quote.decode() if grammar.quote is not None else None,
            "escape": grammar.escape.decode() if grammar.escape is not None else None,
            "line_end": ends[0] if len(ends) == 1 else "mixed" if ends else None,
            "preamble_lines": self.head.kinds.count(LineKind.PREAMBLE),
            "header": self.head.names,
            "header_lines": self.head.kinds.count(LineKind.HEADER),
            # Not found but declared: they decide, too, which lines are records and so their numbers.
            "comment": self.rules.comment.decode() if self.rules.comment is not None else None,
            "footer": self.rules.footer.pattern if self.rules.footer is not None else None,
        }

    @property
    def assumed(self) -> list[str]:
        """Fields of `dialect` that nothing in the object tells: another value would read it alike."""
        fields = self._evidence.missing()
        if self.text.mark or self.text.encoding.startswith("utf-16"):
            fields.discard("encoding")
        if not self._line_ends:
            fields.add("line_end")
        return sorted(fields)

    def blocks(
        self, *, patient: bool = False, taken: Callable[[int], object] | None = None
    ) -> Iterator[Block]:
        """The records in order, with all lines around them; `patient` walks every record.

        `taken` is told now and then how many of the object's bytes, as they are stored, were read.
        Raises ObjectRejectedError when the compressed data turns out to be damaged.
        """
        self.lines, self.footer = Counter(self.head.kinds), []
        place = self.place_of_body()
        pending = _Pending(self.text, len(self.head.text), self.rules.record_limit)
        for chunk, final in self.text.chunks(self.block_bytes, taken=taken):
            pending.add(chunk)
            while True:
                whole, beyond = pending.whole(final=final)
                if not whole:
                    break
                lines = split_lines(whole)
                block, used = build_block(
                    whole,
                    lines,
                    self.rules,
                    self.head.match.layout,
                    place,
                    beyond=beyond,
                    patient=patient,
                )
                if not used:
                    break
                self.note(block)
                yield block
                place = _place_after(block, pending.take(used))

    def place_of_body(self) -> Place:
        """Where the first line after the head stands."""
        head = self.head.text
        end = original_offsets(head, np.array([len(head)]), self.text.encoding, self.text.mark)
        return Place(lines=len(self.head.kinds), offset=int(end[0]), encoding=self.text.encoding)

    def note(self, block: Block) -> None:
        """Take a block into account, for what is said of the object as a whole."""
        counts = np.bincount(block.kinds, minlength=len(LineKind)).tolist()
        self.lines.update({kind: counts[kind] for kind in LineKind if counts[kind]})
        lines = block.lines
        for index in np.flatnonzero(block.kinds == LineKind.FOOTER).tolist():
            text = block.text[lines.starts[index] : lines.ends[index]]
            self.footer.append(text.decode("utf-8", "backslashreplace"))
        lone = len(lines.lone_returns)
        ended = len(lines) - (int(lines.ends[-1]) == lines.size)
        both = block.text.count(b"\r\n") if b"\r" in block.text else 0
        ends = Counter({"\r\n": both, "\r": lone, "\n": ended - both - lone})
        # A spreadsheet ends rows by CRLF and lines within a cell by LF: that is no mixture.
        ends -= block.line_ends_in_records()
        self._line_ends |= ends.keys()
        self._evidence.look_at(block.text)

    def whole_body(self) -> bytes | None:
        """All text after the head; None when there is more than a block takes."""
        text, final = next(self.text.chunks(self.block_bytes))
        return text[len(self.head.text) :] if final else None

    def note_lines(self, body: bytes) -> None:
        """Take a body into account in which no record takes several lines, and no return stands alone."""
        both = body.count(b"\r\n")
        ends = Counter({"\r\n": both, "\n": body.count(b"\n") - both})
        self._line_ends |= (+ends).keys()
        self._evidence.look_at(body)


class _Pending:
    """Text that was read and not yet taken. Of a line without end it keeps only the beginning."""

    def __init__(self, text: _Text, skip: int, record_limit: int) -> None:
        self._text = b""
        self._encoding = text.encoding
        self._skip = skip
        self._limit = record_limit
        #: bytes of the object that were dropped from a line that is too long anyway
        self._dropped = 0
        self._dropping = False

    def add(self, chunk: bytes) -> None:
        if self._skip:
            skipped = min(self._skip, len(chunk))
            self._skip, chunk = self._skip - skipped, chunk[skipped:]
        if self._dropping:
            found = _LINE_END.search(chunk)
            cut = found.start() if found is not None else len(chunk)
            self._drop(chunk[:cut])
            chunk = chunk[cut:]
            self._dropping = found is None
        self._text += chunk

    def whole(self, *, final: bool) -> tuple[bytes, int | None]:
        """The whole lines there are, and how much stands beyond them; None: nothing will."""
        if final and not self._dropped:
            return self._text, None
        end = len(self._text) if final else cut_after_last_line(self._text)
        if self._dropped and end:
            # What follows the line stands further on in the object: it is taken by itself.
            found = _WHOLE_END.search(self._text, self._limit)
            end = found.end() if found is not None else end
        endless = not end and not self._text.endswith(b"\r")
        if endless and len(self._text) > self._limit + 1 and not self._dropping:
            self._drop(self._text[self._limit + 1 :])
            self._text = self._text[: self._limit + 1]
            self._dropping = True
        return self._text[:end], len(self._text) - end

    def take(self, used: int) -> int:
        """Take so much of the text away; how many bytes were dropped in it."""
        self._text = self._text[used:]
        dropped, self._dropped = self._dropped, 0
        return dropped

    def _drop(self, text: bytes) -> None:
        self._dropped += int(original_offsets(text, np.array([len(text)]), self._encoding, 0)[0])


_LINE_END = re.compile(rb"[\r\n]")
_WHOLE_END = re.compile(rb"\r\n|\r|\n")


def _place_after(block: Block, dropped: int) -> Place:
    place, text = block.place, block.text
    end = original_offsets(text, np.array([len(text)]), place.encoding, place.offset)
    return Place(
        lines=place.lines + len(block.lines),
        records=place.records + block.records,
        offset=int(end[0]) + dropped,
        encoding=place.encoding,
    )


def open_reading(
    content: Path | bytes,
    *,
    columns: Sequence[str],
    dialect: Dialect,
    policy: Columns,
    called: str = "the contract",
    block_bytes: int = BLOCK_BYTES,
    record_limit: int = RECORD_LIMIT,
) -> Reading:
    """Open an object: find out how it is written, and which field is which of `columns`.

    Messages speak of the contract as `called`.

    Raises ObjectRejectedError when it can't be read as the contract says: nothing to read, not
    text, another encoding, a header that does not fit, damaged compression.
    """
    source = Source.of(content, dialect.compression)
    text = _open_text(source, dialect)
    beginning = _beginning(text)
    finder = HeadFinder(beginning, dialect, Matcher(columns, policy), text.encoding, called)
    head = finder.find()
    rules = Rules(
        grammar=head.grammar,
        encoding=text.encoding,
        comment=dialect.comment.encode() if dialect.comment is not None else None,
        footer=re.compile(dialect.footer) if dialect.footer is not None else None,
        header=tuple(head.names) if len(head.names) > 1 else None,
        record_limit=record_limit,
    )
    return Reading(text=text, head=head, rules=rules, block_bytes=block_bytes)


def _open_text(source: Source, dialect: Dialect) -> _Text:
    with source.open() as stream:
        marked = byte_order_mark(stream.read(4))
    if dialect.encoding == DETECT:
        encoding = marked[0] if marked is not None else _sniffed(source)
        return _Text(source, encoding, marked[1] if marked is not None else 0)
    declared = canonical(dialect.encoding)
    if marked is None:
        return _Text(source, "utf-16-le" if declared == "utf-16" else declared, 0)
    if declared == "utf-16" and marked[0].startswith("utf-16"):
        declared = marked[0]
    if declared != marked[0]:
        msg = (
            f"The file begins with the byte order mark of {marked[0]}, but the contract says {declared}. "
            "Save it in that encoding, or let the contract detect the encoding."
        )
        raise ObjectRejectedError(msg, rule="encoding")
    return _Text(source, declared, marked[1])


def _sniffed(source: Source) -> str:
    sniffer = EncodingSniffer()
    with source.open() as stream:
        while chunk := stream.read(BLOCK_BYTES):
            sniffer.feed(chunk)
    sniffer.feed(b"", final=True)
    return sniffer.verdict()


def _beginning(text: _Text) -> bytes:
    """The first whole lines of the text."""
    first, final = next(text.chunks(HEAD_BYTES))
    if final:
        return first
    end = cut_after_last_line(first)
    if not end:
        if b"\0" in first:
            msg = "The file is not text: it holds NUL bytes where a header should be."
            raise ObjectRejectedError(msg, rule="not_text")
        msg = f"No line ends in the first {HEAD_BYTES:,} bytes: this is not the CSV the contract expects."
        raise ObjectRejectedError(msg, rule="header")
    return first[:end]
