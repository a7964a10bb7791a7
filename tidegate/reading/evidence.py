"""Which parts of a dialect an object's text really shows, and which are only taken for granted."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tidegate.reading.grammar import Grammar

#: The escape that is looked for where none is declared.
_USUAL_ESCAPE = b"\\"


class Evidence:
    """Looks for what would tell a delimiter, quote, escape or encoding from another one.

    What was found is not looked for again, so that a large object costs next to nothing more.
    """

    def __init__(self, grammar: Grammar) -> None:
        # In a single column nothing is delimited, whatever its texts hold.
        self._marks = {"delimiter": grammar.delimiter} if grammar.width > 1 else {}
        self._marks["escape"] = grammar.escape or _USUAL_ESCAPE
        if grammar.quote is not None:
            self._marks["quote"] = grammar.quote
        self._missing = {"delimiter", "encoding", *self._marks}

    def look_at(self, text: bytes) -> None:
        """Take some of the object's text, as UTF-8, into account."""
        for name in [*self._missing]:
            mark = self._marks.get(name)
            if (mark is not None and mark in text) or (name == "encoding" and not text.isascii()):
                self._missing.discard(name)

    def missing(self) -> set[str]:
        """The fields of a dialect for which nothing was found."""
        return set(self._missing)
