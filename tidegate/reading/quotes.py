"""Which mark an object's values are quoted with, and whether a backslash escapes it.

Judged by where a mark is used as a quote, not by how little damage there is under it: under a mark
that no value is enclosed in, nothing can be damaged.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tidegate.reading.lines import split_lines
from tidegate.reading.marks import mark_patient
from tidegate.reading.model import LineKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tidegate.reading.grammar import Grammar
    from tidegate.reading.marks import Marks, Rules

DOUBLE, SINGLE = b'"', b"'"
BACKSLASH = b"\\"
#: What speaks for a reading that is the less usual one must be so many times what speaks against it.
_FAR = 10
_LINE_ENDS = (b"\r", b"\n")


def best_quotes(sample: bytes, rules: Rules, *, escapes: bool, header: bytes) -> Grammar:
    """The grammar of `rules` with the quote, and with `escapes` the escape, that the sample shows.

    `header`: the header as it is written. The grammar's quote is the one that it could be read with,
    the double one where both could be.
    """
    grammar = rules.grammar
    if grammar.delimiter in (DOUBLE, SINGLE):
        other = SINGLE if grammar.delimiter == DOUBLE else DOUBLE
        grammar = replace(grammar, quote=other)
    elif grammar.quote == DOUBLE and DOUBLE in header:
        pass
    else:
        tried = (None, BACKSLASH) if escapes and BACKSLASH in sample else (grammar.escape,)
        header_is_single = grammar.quote == SINGLE
        grammar = replace(grammar, quote=DOUBLE)
        found = [
            _is_single(sample, rules, replace(grammar, escape=one), header=header_is_single) for one in tried
        ]
        grammar = replace(grammar, quote=SINGLE if any(found) else DOUBLE)
    if escapes and BACKSLASH in sample and grammar.delimiter != BACKSLASH:
        escaped = replace(grammar, escape=BACKSLASH)
        return escaped if _is_escaped(sample, rules, grammar, escaped) else grammar
    return grammar


@dataclass(frozen=True, slots=True)
class _Read:
    """A sample, read under one grammar."""

    sample: bytes
    grammar: Grammar
    marks: Marks
    starts: list[int]

    @classmethod
    def of(cls, sample: bytes, rules: Rules, grammar: Grammar) -> _Read:
        lines = split_lines(sample)
        marks = mark_patient(sample, lines, replace(rules, grammar=grammar), None)
        return cls(sample, grammar, marks, [*lines.starts.tolist(), len(sample)])

    def records(self) -> Iterator[tuple[int, list[bytes]]]:
        """Where each sound record begins, and its fields as they are written."""
        for first, _, _ in self.marks.walked:
            start = self.starts[first]
            yield start, self.grammar.written_fields(self.sample, start)

    def damaged_lines(self) -> Iterator[bytes]:
        for index in np.flatnonzero(self.marks.kinds == LineKind.REJECTED).tolist():
            yield self.sample[self.starts[index] : self.starts[index + 1]]


def _is_single(sample: bytes, rules: Rules, double: Grammar, *, header: bool) -> bool:
    """Whether the values are quoted with the single mark rather than with the double one."""
    if SINGLE not in sample:
        return header and DOUBLE not in sample
    single = _Read.of(sample, rules, replace(double, quote=SINGLE))
    needed, plain = _uses(single, other=double)
    needed_of_double, _ = _uses(_Read.of(sample, rules, double), other=None)
    if needed < needed_of_double or not (needed or plain or header):
        return False
    return needed + plain + header > _FAR * _encloses(single, DOUBLE)


def _uses(read: _Read, *, other: Grammar | None) -> tuple[int, int]:
    """How many values of sound records are enclosed in the mark: because they must be, and otherwise.

    Those that need not be count only in a column that is enclosed as a rule. A value with a
    delimiter or a line end in it counts only where the `other` grammar finds the record damaged:
    two apostrophes that stand where fields begin and end may have nothing to do with each other.
    """
    needed = 0
    enclosed: Counter[int] = Counter()
    filled: Counter[int] = Counter()
    quote = read.grammar.quote or b""
    dividing = (read.grammar.delimiter, *_LINE_ENDS)
    for start, fields in read.records():
        for column, field in enumerate(fields):
            filled[column] += bool(field)
            if not field.startswith(quote):
                continue
            body = field[1:-1]
            if any(mark in body for mark in dividing):
                needed += other is None or bool(other.record_at(read.sample, start).rule)
            elif quote in body:
                needed += 1
            else:
                enclosed[column] += 1
    return needed, sum(count for column, count in enclosed.items() if 2 * count > filled[column])


def _encloses(read: _Read, mark: bytes) -> int:
    """How many fields seem to be enclosed in another mark than the one that was read under."""
    delimiter, quote = (f"\\x{one[0]:02x}" for one in (read.grammar.delimiter, mark))
    enclosed = re.compile(
        rf"(?:^|(?<={delimiter})){quote}[^\r\n]*?{quote}(?={delimiter}|[\r\n]|\Z)".encode(), re.MULTILINE
    )
    inside = sum(
        len(field) > 1 and field.startswith(mark) and field.endswith(mark)
        for _, fields in read.records()
        for field in fields
    )
    return inside + sum(len(enclosed.findall(line)) for line in read.damaged_lines())


def _is_escaped(sample: bytes, rules: Rules, plain: Grammar, escaped: Grammar) -> bool:
    """Whether a backslash takes the meaning of the quote after it.

    For it speak records that only so are sound. Against it speak values that it would change or
    damage: with a backslash before their closing quote or before any other character, or with a quote
    that is doubled.
    """
    quote = plain.quote or b""
    sound = dict(_Read.of(sample, rules, plain).records())
    with_escape = dict(_Read.of(sample, rules, escaped).records())
    for_it = sum(
        any(field.startswith(quote) and BACKSLASH + quote in field for field in fields)
        for start, fields in with_escape.items()
        if start not in sound
    )
    if not for_it:
        return False
    literal = re.compile(rb"(?:\\[\\%b]|[^\\%b])*+(?:\\|%b%b)" % (quote, quote, quote, quote), re.DOTALL)
    against = sum(
        any(field.startswith(quote) and literal.match(field[1:-1]) is not None for field in fields)
        for fields in (with_escape | sound).values()
    )
    return for_it > _FAR * against
