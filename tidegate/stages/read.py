"""Read a CSV file as text, nothing guessed: a fast way for clean files, a patient one for others.

Both give the same rows for a clean file. The fast way (DuckDB's strict reader) gives up at the
first damaged record; then the patient one reads the whole file again, record by record, and
turns each damaged record into a rejection with its raw text.
"""

from __future__ import annotations

import csv
import io
import mmap
import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, TextIO

import duckdb
import polars as pl

from tidegate.errors import ObjectRejectedError
from tidegate.stages.model import RECORD, REJECTION_SCHEMA, Rejection

if TYPE_CHECKING:
    import _csv
    from collections.abc import Iterator
    from pathlib import Path

    from tidegate.contracts import Dialect

#: How much of a file is looked at for its header.
HEAD_BYTES = 64 * 1024
#: How much of a damaged record's text is kept.
RAW_LIMIT = 4_000
_FIELD_LIMIT = 16 * 1024 * 1024
_CHUNK_ROWS = 100_000
#: DuckDB's names of the encodings it reads by itself.
_DUCKDB_ENCODINGS = {"utf-8": "utf-8"}


@dataclass(frozen=True)
class TextRows:
    """A file's records as text: columns of the header, and ``_record`` in front."""

    rows: pl.DataFrame
    #: columns of `REJECTION_SCHEMA`
    damaged: pl.DataFrame


def read_header(head: bytes, dialect: Dialect) -> list[str]:
    """The column names in the first record. ObjectRejectedError when there is none to read."""
    if not head:
        raise ObjectRejectedError("The file is empty: it has no header.", rule="empty")
    if b"\x00" in head and "16" not in dialect.encoding and "32" not in dialect.encoding:
        msg = "The file is not text: it holds NUL bytes where a header should be."
        raise ObjectRejectedError(msg, rule="not_text")
    # Only the header is judged here: what else is not text is refused record by record.
    text = head.decode(_python_encoding(dialect.encoding), errors="surrogateescape")
    try:
        header = next(_reader(io.StringIO(text, newline=""), dialect), None)
    except csv.Error as error:
        raise ObjectRejectedError(f"The header can't be read: {error}.", rule="header") from None
    if header is not None and any(_is_undecoded(name) for name in header):
        msg = f"The header holds bytes that are not text in {dialect.encoding}."
        raise ObjectRejectedError(msg, rule="encoding")
    if header is None or not any(name.strip() for name in header):
        raise ObjectRejectedError("The first line is blank: there is no header.", rule="header")
    if len(head) >= HEAD_BYTES and "\n" not in text and "\r" not in text:
        msg = f"No line ends in the first {HEAD_BYTES} bytes: this is not the CSV the contract expects."
        raise ObjectRejectedError(msg, rule="header")
    return header


def read_rows(path: Path, header: list[str], dialect: Dialect) -> TextRows:
    """All records of the file, as text, in order."""
    try:
        rows = _fast(path, header, dialect)
        if _is_plain(path, rows, dialect):
            return TextRows(rows, pl.DataFrame(schema=REJECTION_SCHEMA))
        return _patient(path, header, dialect)
    except duckdb.Error:
        # DuckDB tells "damaged" in many classes and words; the patient reader finds out what,
        # and what it can't read either is rejected there with the reason.
        return _patient(path, header, dialect)


def _is_plain(path: Path, rows: pl.DataFrame, dialect: Dialect) -> bool:
    """Whether the file has nothing in it that DuckDB, though strict, reads with a blind eye.

    It takes blanks around quotes for nothing, and lets one delimiter too many end a record. Both
    are looked for in the bytes; inside of quotes they are harmless and only cost the time.
    """
    delimiter, quote = (re.escape(mark.encode()) for mark in (dialect.delimiter, dialect.quote))
    blanks = rb"(?:%b|[\r\n])[ \t]+%b|%b[ \t]+(?:%b|[\r\n]|\Z)" % (delimiter, quote, quote, delimiter)
    endings = rb"(?:%b(?:%b%b)?)+(?=[\r\n]|\Z)" % (delimiter, quote, quote)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if re.search(blanks, content):
            return False
        mark = dialect.delimiter.encode()
        delimiters = sum(found.group().count(mark) for found in re.finditer(endings, content))
    return delimiters == _empty_endings(rows)


def _empty_endings(rows: pl.DataFrame) -> int:
    """Empty fields at the ends of all records; each stands behind a delimiter."""
    total, empty = 0, pl.Series([True] * rows.height, dtype=pl.Boolean)
    for name in reversed(rows.columns[2:]):
        empty &= rows[name] == ""
        if not empty.any():
            break
        total += int(empty.sum())
    return total


def _fast(path: Path, header: list[str], dialect: Dialect) -> pl.DataFrame:
    encoding = _DUCKDB_ENCODINGS.get(dialect.encoding.lower())
    if encoding is None:
        raise duckdb.NotImplementedException(f"encoding {dialect.encoding}")
    with _engine().cursor() as connection:
        relation = connection.sql(
            "SELECT * FROM read_csv($path, auto_detect=false, header=true, delim=$delim, quote=$quote, "
            "escape=$quote, columns=$columns, strict_mode=true, null_padding=false, nullstr=$never, "
            "encoding=$encoding, max_line_size=$longest)",
            params={
                "path": str(path),
                "delim": dialect.delimiter,
                "quote": dialect.quote,
                "columns": dict.fromkeys(header, "VARCHAR"),
                # No text is null here: null tokens are the contract's matter.
                "never": "\x00\x00tidegate\x00\x00",
                "encoding": encoding,
                "longest": _FIELD_LIMIT,
            },
        )
        frame = pl.DataFrame(relation)
    # An unquoted empty field is an empty text, as a quoted one is.
    numbered = frame.with_columns(pl.all().fill_null("")).with_row_index(RECORD, offset=1)
    return numbered.cast({RECORD: pl.Int64})


@cache
def _engine() -> duckdb.DuckDBPyConnection:
    """One in-memory database a process: opening one takes longer than reading a small file."""
    return duckdb.connect(config={"autoinstall_known_extensions": "false"})


def _patient(path: Path, header: list[str], dialect: Dialect) -> TextRows:
    frames: list[pl.DataFrame] = []
    damaged: list[Rejection] = []
    rows: list[list[str]] = []
    numbers: list[int] = []
    for number, line, fields, raw in _records(path, dialect):
        problem = _problem(fields, raw, len(header))
        if problem is None and isinstance(fields, list):
            rows.append(fields)
            numbers.append(number)
        else:
            rule, message = problem or ("damaged", "The record can't be read.")
            damaged.append(
                Rejection(
                    record=number,
                    line=line,
                    column=None,
                    rule=rule,
                    value=None,
                    message=message,
                    raw=_printable(raw)[:RAW_LIMIT],
                )
            )
        if len(rows) >= _CHUNK_ROWS:
            frames.append(_frame(rows, numbers, header))
            rows, numbers = [], []
    frames.append(_frame(rows, numbers, header))
    return TextRows(
        pl.concat(frames),
        pl.DataFrame([one.model_dump() for one in damaged], schema=REJECTION_SCHEMA),
    )


def _frame(rows: list[list[str]], numbers: list[int], header: list[str]) -> pl.DataFrame:
    columns = dict.fromkeys(header, pl.String)
    frame = pl.DataFrame(rows, schema=columns, orient="row")
    return frame.insert_column(0, pl.Series(RECORD, numbers, dtype=pl.Int64))


def _is_undecoded(text: str) -> bool:
    """Whether the text holds bytes that its encoding had no character for."""
    return any("\udc80" <= char <= "\udcff" for char in text)


def _problem(fields: list[str] | csv.Error, raw: str, width: int) -> tuple[str, str] | None:
    if isinstance(fields, csv.Error):
        return "quoting", f"The record's quotes are damaged: {fields}."
    if _is_undecoded(raw):
        return "encoding", "The record holds bytes that are not text in the declared encoding."
    if len(fields) != width:
        return "fields", f"The record has {len(fields)} fields, the header has {width}."
    return None


def _records(path: Path, dialect: Dialect) -> Iterator[tuple[int, int, list[str] | csv.Error, str]]:
    """Record number, first physical line, fields (or what is wrong), raw text; header left out."""
    with path.open(encoding=_python_encoding(dialect.encoding), errors="surrogateescape", newline="") as file:
        tape = _Tape(file)
        reader = _reader(tape, dialect)
        next(reader)
        number = 0
        while True:
            tape.clear()
            first_line = reader.line_num + 1
            try:
                fields: list[str] | csv.Error = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                fields = error
            if fields == []:
                continue
            number += 1
            yield number, first_line, fields, tape.text()


class _Tape:
    """Lines for csv.reader, remembered until cleared."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._lines: list[str] = []

    def __iter__(self) -> _Tape:
        return self

    def __next__(self) -> str:
        line = next(self._file)
        self._lines.append(line)
        return line

    def clear(self) -> None:
        self._lines.clear()

    def text(self) -> str:
        return "".join(self._lines)


def _reader(lines: TextIO | _Tape, dialect: Dialect) -> _csv.Reader:
    csv.field_size_limit(_FIELD_LIMIT)
    return csv.reader(lines, delimiter=dialect.delimiter, quotechar=dialect.quote, strict=True)


def _python_encoding(encoding: str) -> str:
    return "utf-8-sig" if encoding.lower() in ("utf-8", "utf8") else encoding


def _printable(raw: str) -> str:
    return raw.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace").rstrip("\r\n")
