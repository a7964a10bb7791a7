"""The beginning of an object: its header, what stands before it, and the dialect it is written in."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tidegate.contracts.dialect import DETECT
from tidegate.errors import ObjectRejectedError
from tidegate.reading.grammar import Grammar
from tidegate.reading.lines import split_lines
from tidegate.reading.marks import Rules, mark_fast
from tidegate.reading.model import LineKind
from tidegate.reading.quotes import best_quotes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tidegate.contracts import Dialect
    from tidegate.reading.header import Match, Matcher

#: How many lines may stand before a header that is looked for.
SEARCHED_LINES = 100
_SAMPLE_LINES = 1_000
_SAMPLE_BYTES = 256 * 1024
_COMMON_DELIMITERS = b",;\t|"
_QUOTES = (b'"', b"'")
_NO_TEXT = "The file is empty: it has no header."


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """What was found at the beginning of an object."""

    grammar: Grammar
    match: Match
    names: list[str]
    #: the object's text up to the first line after the header
    text: bytes
    #: kinds of the lines in it
    kinds: list[LineKind]


@dataclass(frozen=True, slots=True)
class _Candidate:
    grammar: Grammar
    match: Match
    names: list[str]
    start: int
    end: int


class HeadFinder:
    """Finds the head in an object's first text. Raises ObjectRejectedError when there is none."""

    def __init__(self, text: bytes, dialect: Dialect, matcher: Matcher, encoding: str, called: str) -> None:
        self.text = text
        self.dialect = dialect
        self.matcher = matcher
        self.encoding = encoding
        self.called = called
        self.kinds: list[LineKind] = []

    def find(self) -> Head:
        start = self._skip_preamble()
        if self.dialect.header_lines == 0:
            found = _Candidate(self._any_grammar(start), self.matcher.positional(), [], start, start)
        elif self.dialect.preamble_lines == DETECT:
            found = self._search(start)
        else:
            found = self._at(self._skip_nothings(start))
        if not found.match.fits:
            wrong = "; ".join(found.match.problems)
            raise ObjectRejectedError(f"The header does not fit {self.called}: {wrong}.", rule="header")
        grammar = replace(found.grammar, width=len(found.names) or len(self.matcher.columns))
        if self.dialect.quote == DETECT:
            grammar = best_quotes(
                self._sample(found.end),
                self._rules(grammar),
                escapes=self.dialect.escape is None,
                header=self.text[found.start : found.end],
            )
        return Head(
            grammar=grammar,
            match=found.match,
            names=found.names,
            text=self.text[: found.end],
            kinds=self.kinds,
        )

    def _skip_preamble(self) -> int:
        if not self.text:
            raise ObjectRejectedError(_NO_TEXT, rule="empty")
        start = 0
        for _ in range(0 if self.dialect.preamble_lines == DETECT else self.dialect.preamble_lines):
            if start < len(self.text):
                self.kinds.append(LineKind.PREAMBLE)
                start = _SCANNER.line_end(self.text, start)
        return start

    def _skip_nothings(self, start: int) -> int:
        """Where the first line begins that is neither blank nor a comment."""
        while start < len(self.text):
            end = _SCANNER.line_end(self.text, start)
            kind = self._nothing(self.text[start:end])
            if kind is None:
                return start
            self.kinds.append(kind)
            start = end
        if self.dialect.header_lines == 0:
            return start
        raise ObjectRejectedError(_NO_TEXT, rule="empty")

    def _nothing(self, line: bytes) -> LineKind | None:
        if not line.strip(b" \t\r\n"):
            return LineKind.BLANK
        if self.dialect.comment is not None and line.startswith(self.dialect.comment.encode()):
            return LineKind.COMMENT
        return None

    def _at(self, start: int) -> _Candidate:
        """The header that must begin here."""
        self._refuse_binary(start)
        candidates = [self._candidate(start, grammar) for grammar in self._grammars(start)]
        sound = [one for one in candidates if one is not None]
        if not sound:
            msg = "The header can't be read: its quotes are damaged."
            raise ObjectRejectedError(msg, rule="header")
        best = next((one for one in sound if one.match.fits), None)
        best = best or max(sound, key=lambda one: one.match.found)
        if not best.match.fits:
            self._refuse_other_delimiter(start)
        self._take(best)
        return best

    def _refuse_other_delimiter(self, start: int) -> None:
        """Say so when the header would fit if only its fields were divided as they are."""
        line, width = self.text[start : _SCANNER.line_end(self.text, start)], len(self.matcher.columns)
        for mark in _split(_COMMON_DELIMITERS):
            quotes = [quote for quote in self._quotes() if mark in line and quote != mark]
            for quote in quotes:
                found = self._candidate(start, Grammar(mark, quote, self._escape(), width))
                if found is not None and found.match.fits:
                    msg = (
                        f"The fields of the file are divided by {mark.decode()!r}, but {self.called} says "
                        f"{self.dialect.delimiter!r}. Write it as agreed, or let the contract detect it."
                    )
                    raise ObjectRejectedError(msg, rule="header")

    def _search(self, start: int) -> _Candidate:
        """The first line whose names fit; when none does, the one that has most of them."""
        best: _Candidate | None = None
        at, first = start, start
        for _ in range(SEARCHED_LINES):
            if at >= len(self.text):
                break
            end = _SCANNER.line_end(self.text, at)
            if self._nothing(self.text[at:end]) is None and self._is_text(at, end):
                for grammar in self._grammars(at):
                    found = self._candidate(at, grammar)
                    if found is None or not found.match.found:
                        continue
                    if best is None or (found.match.fits, found.match.found) > (
                        best.match.fits,
                        best.match.found,
                    ):
                        best = found
            if best is not None and best.match.fits:
                break
            at = end
        if best is None:
            raise self._no_header(first)
        self._skip_to(first, best.start)
        self._take(best)
        return best

    def _no_header(self, start: int) -> ObjectRejectedError:
        self._skip_nothings(start)
        self._refuse_binary(start)
        line = self.text[start : _SCANNER.line_end(self.text, start)].strip()[:200]
        wanted = ", ".join(map(repr, self.matcher.columns[:20]))
        shown = line.decode("utf-8", "backslashreplace")
        msg = (
            f"None of the first {SEARCHED_LINES} lines is a header with columns of {self.called} "
            f"({wanted}); the first line is {shown!r}."
        )
        return ObjectRejectedError(msg, rule="header")

    def _skip_to(self, start: int, header: int) -> None:
        while start < header:
            end = _SCANNER.line_end(self.text, start)
            self.kinds.append(self._nothing(self.text[start:end]) or LineKind.PREAMBLE)
            start = end

    def _take(self, found: _Candidate) -> None:
        start = found.start
        while start < found.end:
            self.kinds.append(LineKind.HEADER)
            start = _SCANNER.line_end(self.text, start)

    def _candidate(self, start: int, grammar: Grammar) -> _Candidate | None:
        """The header as it reads under this grammar; None when its quotes are damaged."""
        rows: list[list[str]] = []
        end = start
        for _ in range(self.dialect.header_lines):
            record = grammar.scan(self.text, end, max(grammar.width, 1))
            if record.rule:
                return None
            rows.append([name.decode("utf-8", "backslashreplace") for name in record.fields])
            end = record.end
        matches = [(self.matcher.match(names), names) for names in self._readings(rows)]
        best = max(matches, key=lambda pair: (pair[0].fits, pair[0].found))
        return _Candidate(grammar, best[0], [name.strip() for name in best[1]], start, end)

    def _readings(self, rows: Sequence[Sequence[str]]) -> list[Sequence[str]]:
        """Each of several header lines by itself, and all of them joined."""
        if len(rows) == 1:
            return list(rows)
        width = max(map(len, rows))
        padded = [[*row, *[""] * (width - len(row))] for row in rows]
        joined = [
            " ".join(filter(None, (name.strip() for name in names))) for names in zip(*padded, strict=True)
        ]
        return [joined, *padded]

    def _grammars(self, start: int) -> Iterator[Grammar]:
        line = self.text[start : _SCANNER.line_end(self.text, start)]
        for delimiter in self._delimiters(line):
            for quote in self._quotes():
                if quote != delimiter:
                    yield Grammar(delimiter, quote, self._escape(), len(self.matcher.columns))

    def _delimiters(self, line: bytes) -> list[bytes]:
        if self.dialect.delimiter != DETECT:
            return [self.dialect.delimiter.encode()]
        common = [mark for mark in _split(_COMMON_DELIMITERS) if mark in line]
        others = [
            mark
            for mark in _split(bytes(sorted(set(line))))
            if mark not in common and mark not in _QUOTES and _may_delimit(mark)
        ]
        return [*common, *others] or [b","]

    def _quotes(self) -> Sequence[bytes | None]:
        if self.dialect.quote == DETECT:
            return _QUOTES
        return [self.dialect.quote.encode() if self.dialect.quote is not None else None]

    def _escape(self) -> bytes | None:
        return self.dialect.escape.encode() if self.dialect.escape is not None else None

    def _refuse_binary(self, start: int) -> None:
        end = _SCANNER.line_end(self.text, start)
        line = self.text[start:end]
        if b"\0" in line:
            msg = "The file is not text: it holds NUL bytes where a header should be."
            raise ObjectRejectedError(msg, rule="not_text")
        if not self._is_text(start, end):
            msg = f"The header holds bytes that are not text in {self.encoding}."
            raise ObjectRejectedError(msg, rule="encoding")

    def _is_text(self, start: int, end: int) -> bool:
        try:
            self.text[start:end].decode()
        except UnicodeDecodeError:
            return False
        return b"\0" not in self.text[start:end]

    def _any_grammar(self, start: int) -> Grammar:
        """Without a header: the delimiter that gives most lines the right number of fields."""
        width = len(self.matcher.columns)
        sample = self._sample(start)
        best, most = Grammar(b",", b'"', None, width), -1
        for delimiter in self._delimiters(sample):
            quote = b'"' if self.dialect.quote == DETECT else next(iter(self._quotes()))
            grammar = Grammar(delimiter, quote, self._escape(), width)
            sound = _sound_records(sample, self._rules(grammar))
            if sound == most > 0 and width > 1 and delimiter in _COMMON_DELIMITERS:
                msg = (
                    f"The fields of the file may be divided by {best.delimiter.decode()!r} or by "
                    f"{delimiter.decode()!r}: it has no header that tells. Declare the delimiter in "
                    f"{self.called}."
                )
                raise ObjectRejectedError(msg, rule="header")
            if sound > most:
                best, most = grammar, sound
        return best

    def _rules(self, grammar: Grammar) -> Rules:
        """What decides over the lines of a sample."""
        return Rules(
            grammar=grammar,
            encoding=self.encoding,
            comment=self.dialect.comment.encode() if self.dialect.comment is not None else None,
            footer=re.compile(self.dialect.footer) if self.dialect.footer is not None else None,
        )

    def _sample(self, start: int) -> bytes:
        sample = self.text[start : start + _SAMPLE_BYTES]
        lines = split_lines(sample)
        if len(lines) > _SAMPLE_LINES:
            return sample[: int(lines.starts[_SAMPLE_LINES])]
        return sample if start + len(sample) == len(self.text) else sample[: int(lines.starts[-1])]


#: Finds where lines end, which is the same under every grammar.
_SCANNER = Grammar(b",", None, None, 1)


def _sound_records(sample: bytes, rules: Rules) -> int:
    if not sample:
        return 0
    marks = mark_fast(sample, split_lines(sample), rules, None)
    damaged = len(marks.damaged) + sum(len(indexes) for indexes, _, _ in marks.damaged_lines)
    return len(marks.plain) + len(marks.walked) - damaged


def _split(marks: bytes) -> list[bytes]:
    return [bytes((mark,)) for mark in marks]


def _may_delimit(mark: bytes) -> bool:
    char = mark.decode("ascii", "ignore")
    return bool(char) and not char.isalnum() and char not in "\r\n\0_\x7f"
