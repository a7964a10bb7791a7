"""Which lines of a text begin a record, and which are damaged: by two ways that must agree.

`mark_fast` looks at all lines at once and walks only where quotes are not plain; `mark_patient`
walks from record to record. Tests hold them equal for any bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from tidegate.reading.encoding import invalid_lines
from tidegate.reading.grammar import AFTER_CLOSE, STRAY, UNCLOSED
from tidegate.reading.model import RECORD_LIMIT, LineKind
from tidegate.reading.quoted import judge_quoted, never_closed

if TYPE_CHECKING:
    import re
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from tidegate.reading.grammar import Grammar, Record
    from tidegate.reading.lines import Lines

#: So many lines at the end of an object may be its footer.
FOOTER_LINES = 1_000
_BLANKS = b" \t"
_NO_LINES = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """What decides over the lines of one object."""

    grammar: Grammar
    encoding: str
    comment: bytes | None
    footer: re.Pattern[str] | None
    #: the header's names; a record of the same fields is the header once more. None: there is none,
    #: or it has one column only, whose values may well be like its name
    header: tuple[str, ...] | None = None
    record_limit: int = RECORD_LIMIT


@dataclass(kw_only=True, slots=True)
class Marks:
    """The records of a text: which lines they take, and what is wrong with some of them."""

    #: `LineKind` of each line; lines of sound records are ACCEPTED
    kinds: NDArray[np.uint8]
    #: how many of the lines belong to records that are whole in this text
    used: int
    #: lines that are a sound record each, in plain sight
    plain: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    #: sound records that were walked: first line, line after the last, fields
    walked: list[tuple[int, int, Iterable[bytes]]] = field(default_factory=list)
    #: damaged records: first line, line after the last, rule, message
    damaged: list[tuple[int, int, str, str]] = field(default_factory=list)
    #: damaged records of one line each, many at once: first lines, rule, message of all or of each
    damaged_lines: list[tuple[NDArray[np.int64], str, str | pl.Series]] = field(default_factory=list)


def mark_patient(text: bytes, lines: Lines, rules: Rules, beyond: int | None) -> Marks:
    """Walk the text record by record."""
    marks = _unmarked(text, lines, rules, final=beyond is None)
    at = 0
    while at < marks.used:
        if marks.kinds[at] in _SKIPPED:
            at += 1
            continue
        if marks.kinds[at] == LineKind.REJECTED:
            _note_too_long(marks, at, rules)
            at += 1
            continue
        start = int(lines.starts[at])
        record = rules.grammar.record_at(text, start)
        if _needs_more(record, len(text) - start, beyond, rules):
            marks.used = at
            break
        at = _walk(marks, text, lines, rules, at, record)
    return marks


def mark_fast(text: bytes, lines: Lines, rules: Rules, beyond: int | None) -> Marks:
    """Judge the lines without quotes at once, those with plain quotes at once, and walk the rest."""
    grammar = rules.grammar
    marks = _unmarked(text, lines, rules, final=beyond is None)
    byte = np.frombuffer(text, dtype=np.uint8)
    candidate = marks.kinds == LineKind.ACCEPTED
    too_long = marks.kinds == LineKind.REJECTED
    spoilt = _spoilt(text, byte, lines, rules)
    fields = lines.count(byte, grammar.delimiter[0]) + 1
    has_quotes = np.zeros(len(lines), dtype=np.bool_)
    quotes = (_NO_LINES, _NO_LINES)
    if grammar.quote is not None and grammar.quote in text:
        quotes = lines.places(byte, grammar.quote[0])
        has_quotes[quotes[1]] = True
    plain = candidate & ~has_quotes
    sound = plain & (fields == grammar.width)
    wrong = plain & ~sound
    quoted = candidate & has_quotes
    judged = judge_quoted(text, byte, lines, np.flatnonzero(quoted & ~spoilt), grammar, quotes, fields)
    sound[judged.sound] = True
    wrong[judged.wrong] = True
    fields[judged.wrong] = judged.fields
    walk = quoted & spoilt
    walk[judged.open] = True
    broken = never_closed(judged, np.flatnonzero(has_quotes))
    walk[broken] = False
    inside = _walk_from(marks, text, lines, rules, np.flatnonzero(walk), beyond)
    inside[marks.used :] = True
    for index in np.flatnonzero(too_long & ~inside).tolist():
        _note_too_long(marks, index, rules)
    free = ~inside & ~spoilt
    marks.plain = np.flatnonzero(sound & free)
    if wrong.any():
        number = fields[wrong & free]
        _note_lines(marks, np.flatnonzero(wrong & free), "fields", _count_messages(number, grammar))
    _note_lines(marks, judged.stray[free[judged.stray]], "quoting", STRAY)
    _note_lines(marks, judged.after_close[free[judged.after_close]], "quoting", AFTER_CLOSE)
    _note_lines(marks, broken[free[broken]], "quoting", UNCLOSED)
    for index in np.flatnonzero((sound | wrong) & spoilt & ~inside).tolist():
        _note_damage(marks, index, index + 1, *_spoilt_by(text, lines, rules, index, index + 1))
    return marks


def _count_messages(fields: NDArray[np.int64], grammar: Grammar) -> pl.Series:
    counts = pl.Series(fields).unique()
    messages = [grammar.count_message(count) for count in counts.to_list()]
    return pl.Series(fields).replace_strict(counts, messages, return_dtype=pl.String)


_SKIPPED = (LineKind.BLANK, LineKind.COMMENT, LineKind.FOOTER)


def _unmarked(text: bytes, lines: Lines, rules: Rules, *, final: bool) -> Marks:
    kinds = np.full(len(lines), LineKind.ACCEPTED, dtype=np.uint8)
    _mark_blank(kinds, text, lines, rules.grammar)
    if rules.comment is not None:
        _mark_comments(kinds, text, lines, rules.comment)
    kinds[lines.ends - lines.starts > rules.record_limit] = LineKind.REJECTED
    used = len(lines)
    if rules.footer is not None:
        footer = _footer_start(kinds, text, lines, rules.footer)
        if final:
            tail = kinds[footer:]
            tail[(tail != LineKind.BLANK) & (tail != LineKind.COMMENT)] = LineKind.FOOTER
        else:
            used = footer
    return Marks(kinds=kinds, used=used)


def _mark_blank(kinds: NDArray[np.uint8], text: bytes, lines: Lines, grammar: Grammar) -> None:
    kinds[lines.starts == lines.ends] = LineKind.BLANK
    if grammar.width == 1:
        return
    byte = np.frombuffer(text, dtype=np.uint8)
    blanks = _BLANKS.replace(grammar.delimiter, b"")
    full = np.flatnonzero(lines.ends > lines.starts)
    first = byte[lines.starts[full]]
    for index in full[np.isin(first, list(blanks))].tolist():
        if not text[lines.starts[index] : lines.ends[index]].strip(blanks):
            kinds[index] = LineKind.BLANK


def _mark_comments(kinds: NDArray[np.uint8], text: bytes, lines: Lines, comment: bytes) -> None:
    byte = np.frombuffer(text, dtype=np.uint8)
    full = np.flatnonzero(lines.ends > lines.starts)
    for index in full[byte[lines.starts[full]] == comment[0]].tolist():
        if text.startswith(comment, int(lines.starts[index])):
            kinds[index] = LineKind.COMMENT


def _footer_start(kinds: NDArray[np.uint8], text: bytes, lines: Lines, footer: re.Pattern[str]) -> int:
    """Index of the first line of the run at the end that may be the object's footer."""
    start = at = len(lines)
    while at > max(0, len(lines) - FOOTER_LINES):
        at -= 1
        if kinds[at] in (LineKind.BLANK, LineKind.COMMENT):
            continue
        if kinds[at] == LineKind.REJECTED:
            break
        line = text[lines.starts[at] : lines.ends[at]].decode("utf-8", "replace")
        if footer.match(line) is None:
            break
        start = at
    return start


def _needs_more(record: Record, size: int, beyond: int | None, rules: Rules) -> bool:
    """Whether text that is still to come could make a record sound that has this much already."""
    return record.open and beyond is not None and size + beyond <= rules.record_limit


def _walk_from(
    marks: Marks,
    text: bytes,
    lines: Lines,
    rules: Rules,
    indexes: NDArray[np.int64],
    beyond: int | None,
) -> NDArray[np.bool_]:
    """Walk the records that begin on these lines; which lines need no further judgement."""
    inside = np.zeros(len(lines), dtype=np.bool_)
    after = 0
    for index in indexes.tolist():
        if index >= marks.used:
            break
        if index < after:
            continue
        start = int(lines.starts[index])
        record = rules.grammar.record_at(text, start)
        if _needs_more(record, len(text) - start, beyond, rules):
            marks.used = index
            break
        after = _walk(marks, text, lines, rules, index, record)
        inside[index:after] = True
    return inside


def _walk(marks: Marks, text: bytes, lines: Lines, rules: Rules, index: int, record: Record) -> int:
    """Note the record that begins on the line; the line after it."""
    after = lines.at(record.end)
    if after > index + 1 and record.end - lines.starts[index] > rules.record_limit:
        _note_damage(marks, index, index + 1, "quoting", UNCLOSED)
        return index + 1
    rule, message = record.rule, record.message
    if rule != "quoting":
        spoilt_rule, spoilt_message = _spoilt_by(text, lines, rules, index, after)
        if spoilt_rule:
            rule, message = spoilt_rule, spoilt_message
    if rule:
        _note_damage(marks, index, after, rule, message)
    else:
        marks.kinds[index:after] = LineKind.ACCEPTED
        marks.walked.append((index, after, record.fields))
    return after


def _note_too_long(marks: Marks, index: int, rules: Rules) -> None:
    message = f"The line is longer than {rules.record_limit:,} bytes; perhaps its line ends were lost."
    _note_damage(marks, index, index + 1, "too_long", message)


def _note_damage(marks: Marks, index: int, after: int, rule: str, message: str) -> None:
    marks.kinds[index:after] = LineKind.REJECTED
    marks.damaged.append((index, after, rule, message))


def _note_lines(marks: Marks, indexes: NDArray[np.int64], rule: str, message: str | pl.Series) -> None:
    if len(indexes):
        marks.kinds[indexes] = LineKind.REJECTED
        marks.damaged_lines.append((indexes, rule, message))


def _spoilt(text: bytes, byte: NDArray[np.uint8], lines: Lines, rules: Rules) -> NDArray[np.bool_]:
    """Lines that no fast way may judge: of undecodable bytes, NULs or escapes."""
    spoilt = np.zeros(len(lines), dtype=np.bool_)
    invalid = invalid_lines(text, lines.starts, lines.ends)
    if invalid is not None:
        spoilt |= invalid
    if b"\0" in text:
        spoilt |= lines.having(byte, 0)
    escape, quote = rules.grammar.escape, rules.grammar.quote
    if escape is not None and quote is not None and escape in text:
        spoilt |= lines.having(byte, escape[0]) & lines.having(byte, quote[0])
    return spoilt


def _spoilt_by(text: bytes, lines: Lines, rules: Rules, index: int, after: int) -> tuple[str, str]:
    """The rule of `_spoilt` that the lines break as one record, and a sentence; empty when none."""
    raw = text[lines.starts[index] : lines.ends[after - 1]]
    if b"\0" in raw:
        return "nul", "The record holds a NUL character (a byte that is zero), which is not text."
    try:
        raw.decode()
    except UnicodeDecodeError:
        return (
            "encoding",
            f"The record holds bytes that are not text in {rules.encoding}; save the file in that encoding.",
        )
    return "", ""
