"""Read a CSV file of which nothing is known: how it is written, its columns, and its texts."""

from __future__ import annotations

import csv
import dataclasses
import re
import tempfile
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import polars as pl

from tidegate.contracts import Columns, Dialect
from tidegate.contracts.dialect import DETECT
from tidegate.errors import ObjectRejectedError, UsageError
from tidegate.operations.infer import NULLS
from tidegate.reading import REJECTION_SCHEMA, open_reading

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tidegate.reading.model import Block

_DELIMITERS = ",;\t|"
_HEAD_LINES = 1_000
#: So large a share of damaged records is no sign of another dialect.
_FEW = 0.05
#: So many records at the end may be a footer.
_LAST = 3
#: What no name of a column looks like: a number, a date, a time.
_VALUE = re.compile(r"[+-]?[\d.,:/ -]*\d[\d.,:/TZ -]*")
_YEAR = re.compile(r"(19|20)\d\d")


@dataclass(frozen=True)
class Ending:
    """One of the last records."""

    raw: str
    #: for which it is damaged; empty when it is sound
    rule: str


@dataclass(frozen=True)
class Sample:
    """A file as text."""

    dialect: Dialect
    #: names as they stand in the file; made up where it has none
    header: list[str]
    #: text columns of these names
    rows: pl.DataFrame
    #: records that are damaged under this dialect, and so not in `rows`; columns of `REJECTION_SCHEMA`
    damage: pl.DataFrame
    #: the last records of the file, in order
    endings: tuple[Ending, ...] = ()
    #: lines that the dialect's footer takes
    footer: tuple[str, ...] = ()

    @property
    def damaged(self) -> int:
        return self.damage.height

    @property
    def records(self) -> int:
        return self.rows.height + self.damaged


def sample(path: Path) -> Sample:
    """The file under the dialect that reads most of its beginning; UsageError when none makes sense of it."""
    lines, encoding = _head(path)
    head = ("\n".join(lines) + "\n").encode()
    read = [
        _read(head, Dialect(delimiter=mark, preamble_lines=skipped, compression="none"), lines)
        for mark, skipped in _candidates(lines)
    ]
    found = [one for one in read if one is not None]
    best = min(found, key=_badness) if found else None
    unnamed = None in read and best is not None and len(best.header) == 1
    if best is None or (unnamed and set(_DELIMITERS) & set(best.header[0])):
        msg = (
            f"{path} can't be read as CSV with a header: a name stands there twice, or a column has none. "
            "Give each column a name of its own."
        )
        raise UsageError(msg)
    dialect = dataclasses.replace(best.dialect, encoding=encoding, compression=DETECT)
    try:
        return read_rows(path, dialect, best.header)
    except ObjectRejectedError as error:
        raise UsageError(f"{path}: {error}") from error


def _badness(one: Sample) -> tuple[bool, bool, int, int, int, int]:
    """Most records are damaged; a single column; many damaged; the most columns; damaged ones; no preamble.

    A few damaged records say little: where every amount has a decimal comma, a comma for a delimiter
    damages none. Short lines at the end may be a footer.
    """
    mostly = one.damaged > one.rows.height
    width = len(one.header)
    short = sum(1 for _ in takewhile(lambda ending: ending.rule == "fields", reversed(one.endings)))
    damaged = one.damaged - short
    many = damaged if damaged > _FEW * one.records else 0
    return mostly, width == 1, many, -width, damaged, int(one.dialect.preamble_lines)


def _head(path: Path) -> tuple[list[str], str]:
    """The first lines and the encoding: each line is read as one text."""
    whole = Dialect(delimiter="\x1f", quote=None, encoding=DETECT, header_lines=0)
    try:
        reading = open_reading(path, columns=["line"], dialect=whole, policy=Columns())
        blocks = (block.rows["line"].head(_HEAD_LINES).to_list() for block in reading.blocks())
        lines = next((found for found in blocks if found), [])
    except ObjectRejectedError as error:
        raise UsageError(f"{path}: {error}") from error
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror or error}.") from error
    if not lines:
        msg = f"{path} holds no lines; give a file with a header and some rows."
        raise UsageError(msg)
    return lines, reading.dialect["encoding"]


def _candidates(lines: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Delimiters and numbers of lines before the header that may be right, likely ones first."""
    found = dict.fromkeys([*_sniffed(lines), *((mark, 0) for mark in _DELIMITERS)])
    return iter(found)


def _sniffed(lines: Sequence[str]) -> Iterator[tuple[str, int]]:
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as connection:
        head = Path(folder, "head.csv")
        head.write_text("\n".join(lines) + "\n", encoding="utf-8")
        query = "SELECT Delimiter, SkipRows FROM sniff_csv($path, all_varchar = true)"
        try:
            row = connection.execute(query, {"path": str(head)}).fetchone()
        except duckdb.Error:
            return  # it only helps: the usual delimiters are tried anyway
    if row is not None and len(row[0]) == 1 and row[0].isascii() and row[0] not in "\r\n\0\x1f":
        yield str(row[0]), int(row[1])


def _read(head: bytes, dialect: Dialect, lines: Sequence[str]) -> Sample | None:
    """The beginning of the file under this dialect; None when its header is none."""
    first = lines[int(dialect.preamble_lines) :][:1]
    if not first:
        return None
    names = [name.strip() for name in next(csv.reader(first, delimiter=dialect.delimiter), [])]
    named = all(names) and len(set(names)) == len(names)
    values = any(_VALUE.fullmatch(name) for name in names)
    if not names or not (named or values):
        return None
    found = _tried(head, dialect, names) if named else None
    if not values or (found is not None and _stands_over_values(found)):
        return found
    made_up = [f"column_{number}" for number in range(1, len(names) + 1)]
    return _tried(head, dataclasses.replace(dialect, header_lines=0), made_up)


def _tried(head: bytes, dialect: Dialect, names: list[str]) -> Sample | None:
    try:
        return read_rows(head, dialect, names)
    except ObjectRejectedError:
        return None


def _stands_over_values(one: Sample) -> bool:
    """Whether a first line that holds numbers or dates is a header all the same.

    It is one with a word over numbers, or with several years over numbers of which some are none.
    """
    columns = {name: _values(one.rows[name]) for name in one.header}
    filled = {name for name, values in columns.items() if values and all(map(_VALUE.fullmatch, values))}
    if any(not _VALUE.fullmatch(name) and name not in NULLS for name in filled):
        return True
    years = [name for name in one.header if _VALUE.fullmatch(name)]
    return (
        len(years) > 1
        and all(map(_YEAR.fullmatch, years))
        and all(name in filled or not columns[name] for name in years)
        and any(not _YEAR.fullmatch(value) for name in years for value in columns[name])
    )


def _values(texts: pl.Series) -> list[str]:
    """What stands in a column, but for what means "no value"."""
    return [value for text in texts.unique() if (value := text.strip()) and value not in NULLS]


def read_rows(content: Path | bytes, dialect: Dialect, names: list[str]) -> Sample:
    """The whole content as text under this dialect."""
    # By numbers, as a file may use names that are the engine's.
    columns = [str(number) for number in range(len(names))]
    aliases = dict(zip(names, columns, strict=True)) if dialect.header_lines else {}
    reading = open_reading(content, columns=columns, dialect=dialect, policy=Columns(aliases=aliases))
    blocks = list(reading.blocks())
    nothing = pl.DataFrame(schema=dict.fromkeys(columns, pl.String))
    rows = pl.concat([nothing, *(block.rows.select(columns) for block in blocks)], rechunk=True)
    rows.columns = names
    damage = pl.concat([pl.DataFrame(schema=REJECTION_SCHEMA), *(block.damaged for block in blocks)])
    return Sample(dialect, names, rows, damage, _endings(blocks), tuple(reading.footer))


def _endings(blocks: Sequence[Block]) -> tuple[Ending, ...]:
    found: list[Ending] = []
    for block in reversed(blocks):
        after = block.place.records + block.records + 1
        numbers = pl.Series(
            range(max(after - _LAST + len(found), block.place.records + 1), after), dtype=pl.Int64
        )
        rules = dict(block.damaged.select("record", "rule").iter_rows())
        raws = block.origins(numbers)["raw"]
        found = [
            Ending(raw, rules.get(number, "")) for number, raw in zip(numbers, raws, strict=True)
        ] + found
        if len(found) == _LAST:
            break
    return tuple(found)
