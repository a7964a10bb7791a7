"""How the files of a dataset are written."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from tidegate.errors import ContractError

#: In place of a value: found out anew for each object, and recorded with it.
DETECT: Final = "detect"

#: Names that a contract may give an encoding -> the one name that is recorded.
ENCODINGS: Final = {
    "utf-8": "utf-8",
    "utf8": "utf-8",
    "utf-8-sig": "utf-8",
    "ascii": "utf-8",
    "utf-16": "utf-16",
    "utf-16-le": "utf-16-le",
    "utf-16-be": "utf-16-be",
    "latin-1": "latin-1",
    "iso-8859-1": "latin-1",
    "windows-1252": "windows-1252",
    "cp1252": "windows-1252",
}
COMPRESSIONS: Final = ("none", "gzip", "zstd", "bz2", "zip")


@dataclass(frozen=True, kw_only=True)
class Dialect:
    r"""How a file is written: RFC 4180 in UTF-8 unless something else is said here.

    Lines end with ``\n``, ``\r\n`` or ``\r``, in any mixture; blank lines are skipped. A field is
    quoted as a whole or not at all. `delimiter`, `quote`, `encoding` and `preamble_lines` may be
    "detect"; ``Dialect.detect()`` says so of all four.
    """

    #: one character, or "detect"
    delimiter: str = ","
    #: one character, None when quotes mean nothing, or "detect"
    quote: str | None = '"'
    #: character that takes the meaning of the next one inside quotes, such as a backslash; a doubled
    #: quote always stands for one
    escape: str | None = None
    #: a key of `ENCODINGS`, or "detect"; a byte order mark that fits is taken off
    encoding: str = "utf-8"
    #: one of `COMPRESSIONS`, or "detect": by the first bytes, never by the name
    compression: str = DETECT
    #: lines before the header that hold anything, or "detect": up to the line that fits the columns
    preamble_lines: int | Literal["detect"] = 0
    #: 0: no header, the fields stand in the schema's order. More than 1: the names are those of the
    #: line that fits the columns, else of all lines joined by blanks
    header_lines: int = 1
    #: text that begins a line to skip
    comment: str | None = None
    #: regular expression for the lines, at the end of the file only, that are not rows
    footer: str | None = None

    @classmethod
    def detect(
        cls, *, header_lines: int = 1, comment: str | None = None, footer: str | None = None
    ) -> Dialect:
        """Encoding, delimiter, quote and preamble are found out for each object."""
        return cls(
            delimiter=DETECT,
            quote=DETECT,
            encoding=DETECT,
            preamble_lines=DETECT,
            header_lines=header_lines,
            comment=comment,
            footer=footer,
        )

    def __post_init__(self) -> None:
        if self.delimiter != DETECT:
            self._check_mark("delimiter", self.delimiter)
        if self.quote not in (None, DETECT):
            self._check_mark("quote", self.quote)
        if self.escape is not None:
            self._check_mark("escape", self.escape)
        marks = [mark for mark in (self.delimiter, self.quote, self.escape) if mark not in (None, DETECT)]
        if len(set(marks)) < len(marks):
            self._wrong(
                "delimiter", "delimiter, quote and escape must differ; a doubled quote needs no escape"
            )
        if self.encoding != DETECT and self.encoding.lower() not in ENCODINGS:
            self._wrong("encoding", f"use one of {', '.join(ENCODINGS)}, or 'detect'")
        if self.compression not in (*COMPRESSIONS, DETECT):
            self._wrong("compression", f"use one of {', '.join(COMPRESSIONS)}, or 'detect'")
        self._check_lines()

    def _check_lines(self) -> None:
        if self.preamble_lines != DETECT and self.preamble_lines < 0:
            self._wrong("preamble_lines", "use a number of lines, or 'detect'")
        if self.header_lines < 0:
            self._wrong("header_lines", "use 0 for files without a header, else a number of lines")
        if self.preamble_lines == DETECT and self.header_lines == 0:
            self._wrong("preamble_lines", "without a header nothing tells where it ends: give a number")
        if self.comment is not None and (not self.comment or set(self.comment) & set("\r\n")):
            self._wrong("comment", "give the text that begins a comment line, such as '#'")
        if self.footer is not None:
            try:
                re.compile(self.footer)
            except re.error as error:
                self._wrong("footer", f"it is not a regular expression: {error}")

    def _check_mark(self, name: str, mark: str | None) -> None:
        if mark is None or len(mark) != 1 or mark in "\r\n\0" or not mark.isascii():
            self._wrong(name, "use one ASCII character, not a line end")

    def _wrong(self, what: str, advice: str) -> None:
        msg = f"Dialect({what}={getattr(self, what)!r}) can't be used; {advice}."
        raise ContractError(msg, field=what)
