"""The grammar of one record, and what is damage.

RFC 4180 with a chosen delimiter, quote and escape: a field is quoted as a whole or not at all.
Works on UTF-8 bytes; delimiter, quote and escape are single ASCII bytes, so no character of more
than one byte can be mistaken for one of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_LINE = re.compile(rb"[^\r\n]*")
_LINE_END = re.compile(rb"\r\n|\r|\n|\Z")
#: Fields of a damaged record are looked at only so far beyond the width of the header.
_SLACK = 64


STRAY = (
    "A quote stands inside a field that is not in quotes; put the field in quotes and double the one in it."
)
AFTER_CLOSE = "Text follows a closing quote; a quote that belongs to the text has to be doubled."
UNCLOSED = "A quote is opened and never closed."


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a text, or the damage in its place."""

    #: where the next physical line after it begins
    end: int
    fields: Sequence[bytes] = ()
    #: rule that it breaks, empty when it is sound
    rule: str = ""
    message: str = ""
    #: whether more text could still make it sound
    open: bool = False


@dataclass(frozen=True)
class Grammar:
    """How records of `width` fields are written."""

    delimiter: bytes
    quote: bytes | None
    escape: bytes | None
    width: int

    def record_at(self, text: bytes, start: int) -> Record:
        """The record that begins at `start`, where a physical line begins.

        Well-formed records with the wrong number of fields are damage of rule ``fields``; where the
        quotes are at fault, ``quoting``, the record is its first physical line alone, so that it
        can't swallow the lines after it.
        """
        found = self.scan(text, start, self.width)
        if found.rule or len(found.fields) == self.width:
            return found
        if found.end > self.line_end(text, start) and self._hides_records(text, start, found.end):
            return self._first_line(text, start, UNCLOSED)
        return Record(end=found.end, rule="fields", message=self.count_message(len(found.fields)))

    def scan(self, text: bytes, start: int, width: int) -> Record:
        """The fields from `start` on to the end of the record, however many they are."""
        fields: list[bytes] = []
        at = start
        most = max(4 * width, width + _SLACK)
        while True:
            if self.quote is not None and text.startswith(self.quote, at):
                quoted = self._quoted.match(text, at)
                if quoted is None:
                    return self._first_line(text, start, UNCLOSED, open_=True)
                fields.append(self._plain(quoted.group(1)))
                at = quoted.end()
            else:
                unquoted = self._unquoted.match(text, at)
                fields.append(unquoted.group() if unquoted is not None else b"")
                at += len(fields[-1])
                if self.quote is not None and text.startswith(self.quote, at):
                    return self._first_line(text, start, STRAY)
            if text.startswith(self.delimiter, at):
                at += 1
                if len(fields) > most and at > self.line_end(text, start):
                    return self._first_line(text, start, UNCLOSED)
                continue
            end = _LINE_END.match(text, at)
            if end is None:
                within = at < self.line_end(text, start)
                return self._first_line(text, start, AFTER_CLOSE if within else UNCLOSED)
            return Record(end=end.end(), fields=fields)

    def written_fields(self, text: bytes, start: int) -> list[bytes]:
        """The fields of the sound record that begins at `start` as they are written, quotes and all."""
        fields: list[bytes] = []
        at = start
        while True:
            quoted = self.quote is not None and text.startswith(self.quote, at)
            found = (self._quoted if quoted else self._unquoted).match(text, at)
            fields.append(found.group() if found is not None else b"")
            at += len(fields[-1])
            if not text.startswith(self.delimiter, at):
                return fields
            at += 1

    def count_message(self, fields: int) -> str:
        """What is wrong with a record of so many fields."""
        hint = ""
        if fields > self.width and self.quote is not None:
            hint = f"; a field that holds {_named(self.delimiter)} has to stand in quotes"
        return f"The record has {fields} field{'s' * (fields != 1)}, but must have {self.width}{hint}."

    def line_end(self, text: bytes, start: int) -> int:
        """Where the physical line after the one that begins at `start` begins."""
        return _after_line(text, start)

    @cached_property
    def sound_line(self) -> str:
        """Regular expression of a line that is one well-formed record of the right width."""
        return rf"^{self._field}(?:{self._delimiter}{self._field}){{{self.width - 1}}}$"

    @cached_property
    def whole_line(self) -> str:
        """Regular expression of a line that is one well-formed record of any width."""
        return rf"^{self._field}(?:{self._delimiter}{self._field})*$"

    @cached_property
    def open_line(self) -> str:
        """Regular expression of a line at whose end a well-begun quoted field is open."""
        quote = self._quote
        return rf"^(?:{self._field}{self._delimiter})*{quote}(?:[^{quote}]|{quote}{quote})*$"

    @cached_property
    def stray_line(self) -> str:
        """Regular expression of a line in which, after whole fields, a quote stands in an unquoted one."""
        unquoted = rf"[^{self._delimiter}{self._quote}]+"
        return rf"^(?:{self._field}{self._delimiter})*{unquoted}{self._quote}"

    @cached_property
    def badly_closing_line(self) -> str:
        """Regular expression of a line in which a quote opened before is closed in front of text."""
        quote = self._quote
        return rf"^(?:[^{quote}]|{quote}{quote})*{quote}[^{quote}{self._delimiter}]"

    @cached_property
    def quoted_part(self) -> str:
        """Regular expression of a quoted field."""
        quote = self._quote
        return rf"{quote}(?:[^{quote}]|{quote}{quote})*{quote}"

    @property
    def _delimiter(self) -> str:
        return _literal(self.delimiter)

    @property
    def _quote(self) -> str:
        return _literal(self.quote) if self.quote is not None else ""

    @property
    def _field(self) -> str:
        if self.quote is None:
            return rf"[^{self._delimiter}]*"
        return rf"(?:[^{self._delimiter}{self._quote}]*|{self.quoted_part})"

    @cached_property
    def _quoted(self) -> re.Pattern[bytes]:
        quote = self._quote
        if self.escape is None:
            return re.compile(rf"{quote}((?:[^{quote}]++|{quote}{quote})*+){quote}".encode())
        escape = _literal(self.escape)
        body = rf"(?:[^{quote}{escape}]++|{quote}{quote}|{escape}.)*+"
        return re.compile(rf"{quote}({body}){quote}".encode(), re.DOTALL)

    @cached_property
    def _unquoted(self) -> re.Pattern[bytes]:
        return re.compile(rf"[^{self._delimiter}{self._quote}\r\n]*+".encode())

    @cached_property
    def _marks(self) -> re.Pattern[bytes]:
        quote = self._quote
        if self.escape is None:
            return re.compile(rf"{quote}({quote})".encode())
        return re.compile(rf"(?:{quote}|{_literal(self.escape)})(.)".encode(), re.DOTALL)

    def _plain(self, body: bytes) -> bytes:
        """What stands between quotes, with doubled quotes and escapes taken for what they mean."""
        quote = self.quote or b""
        if quote not in body and (self.escape is None or self.escape not in body):
            return body
        return self._marks.sub(rb"\1", body)

    def _hides_records(self, text: bytes, start: int, end: int) -> bool:
        """Whether a later line before `end` is by itself a record of the right width."""
        if self.width == 1:
            return False
        at = self.line_end(text, start)
        while at < end:
            after = self.line_end(text, at)
            inner = self.scan(text, at, self.width)
            if not inner.rule and inner.end == after and len(inner.fields) == self.width:
                return True
            at = after
        return False

    def _first_line(self, text: bytes, start: int, what: str, *, open_: bool = False) -> Record:
        return Record(end=_after_line(text, start), rule="quoting", message=what, open=open_)


def _after_line(text: bytes, start: int) -> int:
    line = _LINE.match(text, start)
    at = line.end() if line is not None else start
    end = _LINE_END.match(text, at)
    return end.end() if end is not None else len(text)


def _named(mark: bytes) -> str:
    return {b"\t": "a tab", b" ": "a blank"}.get(mark) or repr(mark.decode())


def _literal(mark: bytes) -> str:
    """The mark for a regular expression, inside of brackets or not; Python's and Rust's agree on it."""
    return f"\\x{mark[0]:02x}"
