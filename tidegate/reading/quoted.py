"""Lines with quotes, judged all at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from tidegate.reading.lines import counts_from, line_texts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tidegate.reading.grammar import Grammar
    from tidegate.reading.lines import Lines


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """Lines with quotes, told apart by what they are when a record begins on them."""

    lines: NDArray[np.int64]
    #: one record of the right width
    sound: NDArray[np.int64]
    #: one record of another width, and how many fields each has
    wrong: NDArray[np.int64]
    fields: NDArray[np.int64]
    #: a quoted field is open at the end
    open: NDArray[np.int64]
    #: damaged by a quote in an unquoted field, or by text after a closing quote
    stray: NDArray[np.int64]
    after_close: NDArray[np.int64]
    #: for each of `lines`: whether it closes a quote that was opened before it in front of text
    closes_badly: NDArray[np.bool_]


def judge_quoted(
    text: bytes,
    byte: NDArray[np.uint8],
    lines: Lines,
    indexes: NDArray[np.int64],
    grammar: Grammar,
    quotes: tuple[NDArray[np.int64], NDArray[np.int64]],
    divided: NDArray[np.int32],
) -> Judged:
    """Judge these lines. `quotes`: where a quote stands, and in which line; `divided`: into how many
    parts its delimiters divide each line of the text, quotes aside.
    """
    nothing = np.zeros(0, dtype=np.int64)
    if not len(indexes):
        return Judged(
            lines=nothing,
            sound=nothing,
            wrong=nothing,
            fields=nothing,
            open=nothing,
            stray=nothing,
            after_close=nothing,
            closes_badly=np.zeros(0, dtype=np.bool_),
        )
    at_sight, inside = _at_sight(byte, lines, indexes, grammar, *quotes)
    counts = divided[at_sight] - inside
    right = counts == grammar.width
    others = indexes[np.isin(indexes, at_sight, invert=True)] if len(at_sight) else indexes
    rest = pl.DataFrame({"line": others, "text": line_texts(text, byte, lines, others)})
    sound, rest = _parted(rest, grammar.sound_line)
    wrong, rest = _parted(rest, grammar.whole_line)
    opened, rest = _parted(rest, grammar.open_line)
    stray, rest = _parted(rest, grammar.stray_line)
    closes_badly = np.zeros(len(indexes), dtype=np.bool_)
    if opened.height:
        every = line_texts(text, byte, lines, indexes)
        closes_badly = every.str.contains(grammar.badly_closing_line).to_numpy()
    return Judged(
        lines=indexes,
        sound=np.concatenate((at_sight[right], sound["line"].to_numpy())),
        wrong=np.concatenate((at_sight[~right], wrong["line"].to_numpy())),
        fields=np.concatenate((counts[~right], _field_counts(wrong["text"], grammar))),
        open=opened["line"].to_numpy(),
        stray=stray["line"].to_numpy(),
        after_close=rest["line"].to_numpy(),
        closes_badly=closes_badly,
    )


def _at_sight(
    byte: NDArray[np.uint8],
    lines: Lines,
    indexes: NDArray[np.int64],
    grammar: Grammar,
    quotes: NDArray[np.int64],
    line: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Those of the lines whose every second quote begins a field and the others end it.

    And how many delimiters each has within quotes. So are nearly all lines with quotes, and no text of
    them needs to be looked at.
    """
    if len(indexes) < len(lines):
        wanted = np.zeros(len(lines), dtype=np.bool_)
        wanted[indexes] = True
        quotes, line = quotes[wanted[line]], line[wanted[line]]
    firsts = np.flatnonzero(np.diff(line, prepend=-1))
    numbers = np.diff(firsts, append=len(line))
    opens = (np.arange(len(line)) - np.repeat(firsts, numbers)) % 2 == 0
    delimiter = byte == grammar.delimiter[0]
    begins = (quotes == lines.starts[line]) | delimiter[np.maximum(quotes - 1, 0)]
    ends = (quotes + 1 == lines.ends[line]) | delimiter[np.minimum(quotes + 1, len(byte) - 1)]
    good = (numbers % 2 == 0) & np.logical_and.reduceat(np.where(opens, begins, ends), firsts)
    if not good.all():
        kept = np.repeat(good, numbers)
        quotes, line = quotes[kept], line[kept]
    if not len(quotes):
        return quotes, quotes
    within = counts_from(delimiter, quotes)[::2]
    inside = np.bincount(line[::2], weights=within, minlength=len(lines)).astype(np.int64)
    at_sight = line[np.flatnonzero(np.diff(line, prepend=-1))]
    return at_sight, inside[at_sight]


def _parted(frame: pl.DataFrame, pattern: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    if not frame.height:
        return frame, frame
    fits = frame["text"].str.contains(pattern)
    return (frame, frame.clear()) if fits.all() else (frame.filter(fits), frame.filter(~fits))


def _field_counts(texts: pl.Series, grammar: Grammar) -> NDArray[np.int64]:
    if not texts.len():
        return np.zeros(0, dtype=np.int64)
    unquoted = texts.str.replace_all(grammar.quoted_part, "")
    delimiters = unquoted.str.count_matches(grammar.delimiter.decode(), literal=True)
    return delimiters.cast(pl.Int64).to_numpy() + 1


def never_closed(judged: Judged, has_quotes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Lines with an open quote that the next line with a quote closes in front of text.

    Only that line can close it, so nothing needs to be walked to know the damage.
    """
    if not len(judged.open):
        return judged.open
    places = np.searchsorted(has_quotes, judged.open, side="right")
    known = places < len(has_quotes)
    following = has_quotes[places[known]]
    at = np.searchsorted(judged.lines, following)
    at[at == len(judged.lines)] = 0
    broken = (judged.lines[at] == following) & judged.closes_badly[at]
    closed_badly: NDArray[np.int64] = judged.open[known][broken]
    return closed_badly
