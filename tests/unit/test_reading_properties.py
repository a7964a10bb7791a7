"""What holds of reading whatever the bytes are, found by trying."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import re
import tempfile
import zipfile
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.conformance.reading_kit import (
    Case,
    Outcome,
    check_books,
    contract_of,
    damaged,
    line_starts,
    narrow,
    read,
    rows_of,
)

if TYPE_CHECKING:
    from tidegate.contracts import Contract

#: Each reads three times an example.
pytestmark = pytest.mark.slow

TRIES = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)


def both_ways(content: bytes, contract: Contract, name: str = "data.csv") -> Outcome:
    """What the fast way gives, once the patient one and small pieces have given the same."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / name
        file.write_bytes(content)
        fast = read(file, contract)
        assert fast == read(file, contract, patient=True)
        assert fast == read(file, contract, block_bytes=7)
    return fast


# --- any bytes ---

MARKS = [
    b",",
    b";",
    b"\t",
    b"|",
    b'"',
    b'""',
    b'",',
    b',"',
    b'"\n',
    b"'",
    b"\\",
    b"\n",
    b"\r",
    b"\r\n",
    b"\n\n",
]
ODD = [
    b"\0",
    b"\xff",
    b"\xc3",
    b"\xc3\xab",
    b"\xe2\x82",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"\x1f\x8b",
    b"PK\x03\x04",
]
PLAIN = [
    b"a",
    b"1",
    b"-1",
    b" ",
    b"#",
    b"TOTAL",
    b"id",
    b"name",
    b"id,name,city\n",
    b"1,Ann,Oslo\n",
    b'2,"B",Rome\n',
]
PIECES = st.lists(st.sampled_from([*MARKS, *ODD, *PLAIN]) | st.binary(max_size=3), max_size=40).map(b"".join)


@TRIES
@given(case=st.sampled_from(damaged()), start=st.booleans(), pieces=PIECES)
def test_any_bytes_are_accounted_for_and_both_ways_agree(case: Case, start: bool, pieces: bytes) -> None:
    content = (case.file.read_bytes() if start else b"") + pieces
    outcome = both_ways(content, case.contract, case.file.name)
    plain = narrow(case.contract) and not content.startswith(
        (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"BZh", b"PK")
    )
    check_books(outcome, line_starts(content) if plain else None)


# --- round trip ---


@dataclass(frozen=True)
class Writing:
    """One way to write a table."""

    delimiter: str
    quote: str | None
    escape: str | None
    #: every value, also the missing ones; or only those that need it
    quote_all: bool
    end: str
    last_end: bool
    encoding: str
    mark: bool
    compression: str
    null: str
    comment: str | None
    preamble: tuple[str, ...]
    header: bool

    @property
    def special(self) -> set[str]:
        return {self.delimiter, "\r", "\n"} | ({self.quote} if self.quote else set())


COLUMNS = ("note", "count", "price", "day")
SCHEMA = [
    {"name": name, "type": kind, "nullable": True}
    for name, kind in zip(COLUMNS, ("str", "int", "decimal(12,3)", "date"), strict=True)
]

WRITINGS = st.builds(
    Writing,
    delimiter=st.sampled_from(",;\t|\x01"),
    quote=st.sampled_from(['"', "'", None]),
    escape=st.sampled_from([None, "\\"]),
    quote_all=st.booleans(),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    last_end=st.booleans(),
    encoding=st.sampled_from(["utf-8", "utf-16", "utf-16-le", "utf-16-be", "latin-1", "windows-1252"]),
    mark=st.booleans(),
    compression=st.sampled_from(["none", "gzip", "zstd", "bz2", "zip"]),
    null=st.sampled_from(["", "NA", "\\N"]),
    comment=st.sampled_from([None, "#", "--"]),
    preamble=st.sampled_from([(), ("Report, of today",), ('a "b', "", "note;count")]),
    header=st.booleans(),
)
PUNCTUATION = "ab,;\t|\x01\"'\\#-\r\n "
#: What can be written in an encoding, as far as the round trip tries it.
LETTERS = {
    "latin-1": st.characters(codec="latin-1", exclude_characters="\0"),
    "windows-1252": st.sampled_from("éß“”€ÿ\xa0\x7f"),
}
ANY_LETTER = st.sampled_from("éß“€\u2028\x85\x0b\u0d0a😀") | st.characters(
    exclude_categories=["Cs"], exclude_characters="\0\ufeff"
)


@st.composite
def tables(draw: st.DrawFn) -> tuple[Writing, list[tuple[Any, ...]]]:
    """A way of writing, and rows that can be written so."""
    writing = draw(WRITINGS)
    letters = st.sampled_from(PUNCTUATION) | LETTERS.get(writing.encoding, ANY_LETTER)
    if writing.quote is None:
        letters = letters.filter(lambda letter: letter not in writing.special)
    texts = st.text(letters, max_size=12).filter(
        lambda text: (
            text != writing.null and not (writing.quote is None and text.startswith(writing.comment or "\0"))
        )
    )
    row = st.tuples(
        st.none() | texts,
        st.none() | st.integers(-(2**63), 2**63 - 1),
        st.none() | st.decimals(min_value=-(10**9) + 1, max_value=10**9 - 1, places=3),
        st.none() | st.dates(),
    )
    # Without a header, an empty file is held: nothing tells what it is.
    return writing, draw(st.lists(row, min_size=0 if writing.header else 1, max_size=8))


def field(writing: Writing, value: object, *, first: bool) -> str:
    text = writing.null if value is None else str(value)
    if writing.quote is None:
        return text
    looks_like_comment = first and writing.comment is not None and text.startswith(writing.comment)
    if not (writing.quote_all or set(text) & writing.special or looks_like_comment):
        return text
    if writing.escape is not None:
        text = text.replace(writing.escape, writing.escape * 2)
        text = text.replace(writing.quote, writing.escape + writing.quote)
    else:
        text = text.replace(writing.quote, writing.quote * 2)
    return f"{writing.quote}{text}{writing.quote}"


def written(writing: Writing, rows: list[tuple[Any, ...]]) -> bytes:
    lines = list(writing.preamble)
    if writing.header:
        lines.append(writing.delimiter.join(COLUMNS))
    for number, row in enumerate(rows):
        if writing.comment is not None and number % 3 == 1:
            lines.append(f'{writing.comment} made "today')
        lines.append(writing.delimiter.join(field(writing, one, first=not at) for at, one in enumerate(row)))
    text = writing.end.join(lines) + (writing.end if writing.last_end or not rows else "")
    codec = {"windows-1252": "cp1252", "utf-16": "utf-16-le"}.get(writing.encoding, writing.encoding)
    marked = writing.encoding == "utf-16" or (writing.mark and writing.encoding.startswith("utf"))
    return ("\ufeff" * marked + text).encode(codec)


def packed(content: bytes, compression: str) -> bytes:
    if compression == "gzip":
        return gzip.compress(content)
    if compression == "bz2":
        return bz2.compress(content)
    if compression == "zstd":
        return stored_zstd(content)
    if compression == "zip":
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("data.csv", content)
        return out.getvalue()
    return content


def stored_zstd(content: bytes) -> bytes:
    """A zstd frame that holds its content as it is (RFC 8878: one segment, one raw block)."""
    assert len(content) < 128 * 1024
    block = (len(content) << 3 | 1).to_bytes(3, "little") + content
    return b"\x28\xb5\x2f\xfd\xa0" + len(content).to_bytes(4, "little") + block


@TRIES
@given(table=tables())
def test_any_table_comes_back_as_it_was_written(table: tuple[Writing, list[tuple[Any, ...]]]) -> None:
    writing, rows = table
    contract = contract_of(
        {
            "schema": SCHEMA,
            "contract": {"null_tokens": [writing.null]},
            "dialect": {
                "delimiter": writing.delimiter,
                "quote": writing.quote or False,
                "encoding": writing.encoding,
                "preamble_lines": len(writing.preamble),
                "header_lines": int(writing.header),
                **({"escape": writing.escape} if writing.escape else {}),
                **({"comment": writing.comment} if writing.comment else {}),
            },
        }
    )
    outcome = both_ways(packed(written(writing, rows), writing.compression), contract)
    check_books(outcome)
    assert outcome.held is None
    assert outcome.rejected == []
    assert list(rows_of(outcome)) == [tuple(map(plain, row)) for row in rows]


def plain(value: object) -> object:
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value or Decimal("0.000"))
    return value


# --- one damaged line ---

#: Values as they are written.
QUIET = st.sampled_from(["", "Ann", "x y", "Zoë"])
QUOTED = st.sampled_from(['"Lee, Ann"', '"a ""b"" c"', '""', '"two\nlines"', '"three\n\nlines"'])
#: Its first quote would close one that an earlier line left open.
CLOSING = st.just('"\nend"')
ROWS = (
    st.tuples(QUIET, QUIET) | st.tuples(CLOSING, QUIET) | st.tuples(QUIET | QUOTED | CLOSING, QUIET | QUOTED)
)
TABLES = st.lists(ROWS, min_size=1, max_size=10)
DEEDS = st.sampled_from(["insert quote", "insert quote", "insert delimiter", "delete", "cut"])
FREE = contract_of(
    {"schema": [{"name": name, "type": "str", "nullable": True} for name in ("id", "name", "city")]}
)


def harmed(line: bytes, deed: str, at: int, length: int) -> bytes:
    if deed == "insert quote":
        return line[:at] + b'"' + line[at:]
    if deed == "insert delimiter":
        return line[:at] + b"," + line[at:]
    return line[:at] + line[at + (1 if deed == "delete" else length) :]


@TRIES
@given(table=TABLES, deed=DEEDS, data=st.data())
def test_damage_to_one_line_stays_there(table: list[tuple[str, str]], deed: str, data: st.DataObject) -> None:
    """All rows that end before the damaged line are read as they were.

    So is every row of one line after it, with one exception: where the damage leaves a quote open,
    the record may go on over later lines, and is accepted if it closes well with the right number of
    fields (RFC 4180 knows no difference). A row is missing only inside such an accepted record, and
    stands in its values.
    """
    rows = [",".join([f"r{number}", *words]) for number, words in enumerate(table)]
    lines = "\n".join(["id,name,city", *rows]).encode().split(b"\n")
    hit = data.draw(st.integers(1, len(lines) - 1), label="line")
    assume(lines[hit])
    # Where fields begin, a quote does most harm.
    begins = [0, *(found.end() for found in re.finditer(b",", lines[hit]) if found.end() < len(lines[hit]))]
    at = data.draw(st.sampled_from(begins) | st.integers(0, len(lines[hit]) - 1), label="at")
    length = data.draw(st.integers(1, len(lines[hit]) - at), label="length")
    was = lines[hit]
    lines[hit] = harmed(was, deed, at, length)
    outcome = both_ways(b"\n".join(lines) + b"\n", FREE)
    assume(outcome.held != "budget")
    check_books(outcome, line_starts(b"\n".join(lines) + b"\n"))
    assert outcome.held is None

    found = {line: tuple(values.values()) for line, values in outcome.accepted.values()}
    may_run_on = lines[hit].count(b'"') % 2 == 1
    line = 2
    for row in rows:
        last = line + row.count("\n")
        (fields,) = csv.reader(io.StringIO(row, newline=""))
        values = tuple(one or None for one in fields)
        if last <= hit:
            assert found[line] == values
        elif line <= hit + 1 <= last:
            may_run_on = may_run_on or line < last
        elif line == last and found.get(line) != values:
            assert may_run_on
            assert row in around(found, line)
        line = last + 1


def around(found: dict[int, tuple[str | None, ...]], line: int) -> str:
    """The text of the accepted record that `line` is one of the later lines of."""
    for first, values in found.items():
        texts = [value for value in values if value is not None]
        if first < line <= first + sum(text.count("\n") for text in texts):
            return "\n".join(text.replace('"', '""') for text in texts)
    return ""
