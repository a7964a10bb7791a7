"""Lines at the end of a sample that are no rows: totals, and what else a program writes there."""

from __future__ import annotations

import csv
import dataclasses
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from tidegate.operations.infer import guess_columns
from tidegate.operations.sample import read_rows

if TYPE_CHECKING:
    from pathlib import Path

    from tidegate.operations.sample import Ending, Sample

#: First words of lines that hold totals.
_TOTALS = frozenset(
    (
        "total",
        "totals",
        "subtotal",
        "grand",
        "sum",
        "summe",
        "summen",
        "gesamt",
        "gesamtsumme",
        "zwischensumme",
        "endsumme",
        "somme",
        "suma",
        "soma",
        "totale",
        "totaal",
        "trailer",
        "eof",
    )
)
#: A shorter word may be what is left of a record that was cut off.
_SHORTEST = 3
_WORD = re.compile(r"(\W*)([^\W\d_]+)\b")


@dataclass(frozen=True)
class _Line:
    """A line at the end that may be no row."""

    pattern: str
    #: whether its first word says that it holds totals
    named: bool
    sound: bool


def without_footer(path: Path, one: Sample) -> Sample:
    """The sample without the lines at its end that are no rows; a footer is then in its dialect.

    A damaged line is one when no row begins like it and it is no row that was cut off; a line with
    the right number of fields only when the columns are stricter without it.
    """
    if len(one.header) == 1:
        return one
    lines = _run(one)
    if any(line.sound for line in lines) and not _spoil(lines, one):
        sound = next(at for at in reversed(range(len(lines))) if lines[at].sound)
        lines = lines[sound + 1 :]
    if not lines:
        return one
    footer = "|".join(dict.fromkeys(line.pattern for line in lines))
    # More lines than these are taken when a row before them begins alike.
    found = read_rows(path, dataclasses.replace(one.dialect, footer=footer), one.header)
    return found if found.records + len(lines) == one.records else one


def _run(one: Sample) -> list[_Line]:
    """The lines at the end, in order, each of which may be no row."""
    lines: list[_Line] = []
    rows = one.rows.head(one.rows.height - sum(not ending.rule for ending in one.endings))
    for ending in reversed(one.endings):
        line = _judged(ending, one, rows)
        if line is None:
            break
        lines.insert(0, line)
    return lines


def _judged(ending: Ending, one: Sample, rows: pl.DataFrame) -> _Line | None:
    """What a line is told by, or None when it looks like a row; `rows`: those before the last lines."""
    if ending.rule not in ("", "fields") or len(ending.raw.splitlines()) != 1 or not rows.height:
        return None
    cells = [cell.strip() for cell in next(csv.reader([ending.raw], delimiter=one.dialect.delimiter))]
    filled = [at for at, cell in enumerate(cells) if cell]
    if not filled or filled[0] >= len(one.header):
        return None
    first = filled[0]
    alike = rows.filter(True, *(pl.col(name).str.strip_chars() == "" for name in one.header[:first]))
    sound = not ending.rule
    begun = _WORD.match(ending.raw)
    if begun is None:
        start = one.dialect.delimiter * first
        unlike = first > 0 and alike.is_empty() and ending.raw.startswith(start)
        return _Line(_escaped(start), named=False, sound=sound) if unlike else None
    named = begun[2].lower() in _TOTALS
    told = named or not sound or len(filled) * 2 <= len(one.header)
    if not told or not _unlike(begun[2], alike[one.header[first]], named=named):
        return None
    return _Line(_escaped(begun[0]) + r"\b", named=named, sound=sound)


def _unlike(word: str, texts: pl.Series, *, named: bool) -> bool:
    """Whether no value of the column begins like this word, nor could be cut off to it."""
    values = texts.str.replace(r"^\W+", "")
    if values.str.starts_with(word).any():
        return False
    numbered = bool(values.filter(values != "").str.contains(r"\d").all())
    return named or (numbered and len(word) >= _SHORTEST)


def _escaped(text: str) -> str:
    return re.escape(text).replace("\\\t", "\\t")


def _spoil(lines: list[_Line], one: Sample) -> bool:
    """Whether the columns are stricter without these lines."""
    sound = [line for line in lines if line.sound]
    with_them, _ = guess_columns(one.rows)
    without, _ = guess_columns(one.rows.head(one.rows.height - len(sound)))
    stricter = sum(
        (was.kind == "str" and now.kind != "str") or (was.nullable and not now.nullable)
        for was, now in zip(with_them, without, strict=True)
    )
    return stricter >= (1 if all(line.named for line in sound) else 2)
