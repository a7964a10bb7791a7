from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Literal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.contracts import Dialect
from tidegate.errors import ObjectRejectedError
from tidegate.stages import read
from tidegate.stages.model import RECORD

if TYPE_CHECKING:
    from pathlib import Path

COMMA = Dialect()


def write(folder: Path, content: bytes) -> Path:
    file = folder / "file.csv"
    file.write_bytes(content)
    return file


@pytest.mark.parametrize(
    ("head", "rule"),
    [
        (b"", "empty"),
        (b"\x00" * 4096, "not_text"),
        (b"\n\na,b\n", "header"),
        (b"a,\xff\n", "encoding"),
        (b"x" * read.HEAD_BYTES, "header"),
        (b'a,"b', "header"),
    ],
)
def test_a_header_that_cannot_be_read_is_refused_with_its_rule(head: bytes, rule: str) -> None:
    with pytest.raises(ObjectRejectedError) as caught:
        read.read_header(head, COMMA)
    assert caught.value.rule == rule


def test_a_byte_order_mark_is_not_part_of_the_first_name() -> None:
    assert read.read_header(b"\xef\xbb\xbfa,b\n", COMMA) == ["a", "b"]


def test_bytes_that_are_not_text_below_the_header_refuse_their_record_alone(tmp_path: Path) -> None:
    content = b"a,b\n1,2\n3,\xff\n"
    assert read.read_header(content, COMMA) == ["a", "b"]
    result = read.read_rows(write(tmp_path, content), ["a", "b"], COMMA)
    assert result.damaged.select("record", "line", "rule").rows() == [(2, 3, "encoding")]


def test_a_character_cut_by_the_end_of_the_head_does_no_harm() -> None:
    head = b"a,b\n" + b"x" * (read.HEAD_BYTES - 5) + "ü".encode()[:1]
    assert len(head) == read.HEAD_BYTES
    assert read.read_header(head, COMMA) == ["a", "b"]


DAMAGED = [
    (b"a,b\n1,2\n3\n5,6\n", "fields", 2, 3, "3"),
    (b"a,b\n1,2\n3,4,5\n5,6\n", "fields", 2, 3, "3,4,5"),
    (b'a,b\n1,2\n3,"4"5\n5,6\n', "quoting", 2, 3, '3,"4"5'),
    (b"a,b\n1,2\n3,4,\n5,6\n", "fields", 2, 3, "3,4,"),
    (b'a,b\n1,2\n"3" ,4\n5,6\n', "quoting", 2, 3, '"3" ,4'),
    (b'a,b\n1,2\n"3"\t,4\n5,""\n', "quoting", 2, 3, '"3"\t,4'),
    (b"a,b\n1,\n3,,\n5,\n", "fields", 2, 3, "3,,"),
    (b"a,b\n1,2\n3,\xff\n5,6\n", "encoding", 2, 3, "3,\\xff"),
    (b'a,b\n"1\n1",2\n3\n5,6\n', "fields", 2, 4, "3"),
]


@pytest.mark.parametrize(("content", "rule", "record", "line", "raw"), DAMAGED)
def test_a_damaged_record_is_a_rejection_and_its_neighbours_are_rows(
    tmp_path: Path, content: bytes, rule: str, record: int, line: int, raw: str
) -> None:
    result = read.read_rows(write(tmp_path, content), ["a", "b"], COMMA)
    assert result.rows[RECORD].to_list() == [1, 3]
    assert result.rows["a"].to_list()[1] == "5"
    assert result.damaged.select("record", "line", "rule", "raw").rows() == [(record, line, rule, raw)]


def test_blanks_before_a_quote_are_text_on_both_ways(tmp_path: Path) -> None:
    rows = read.read_rows(write(tmp_path, b'a,b\n1, x\n2, "y"\n'), ["a", "b"], COMMA).rows
    assert rows["b"].to_list() == [" x", ' "y"']


@pytest.mark.parametrize("content", [b"a,b\n1,\n2,\n", b'a,b\n1,""\n2,x\n', b"a,b\r\n1,\r\n2,y"])
def test_empty_last_fields_are_read_the_fast_way(tmp_path: Path, content: bytes) -> None:
    file = write(tmp_path, content)
    assert read._is_plain(file, read._fast(file, ["a", "b"], COMMA), COMMA)


def test_both_ways_skip_blank_lines_and_read_mixed_line_ends(tmp_path: Path) -> None:
    rows = read.read_rows(write(tmp_path, b"a,b\r\n1,2\n\r\n3,4"), ["a", "b"], COMMA).rows
    assert rows.rows() == [(1, "1", "2"), (2, "3", "4")]


def test_an_empty_field_is_an_empty_text_quoted_or_not(tmp_path: Path) -> None:
    rows = read.read_rows(write(tmp_path, b'a,b\n,""\n'), ["a", "b"], COMMA).rows
    assert rows.rows() == [(1, "", "")]


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12)


@given(
    table=st.lists(st.tuples(TEXT, TEXT), max_size=12),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
)
def test_what_is_written_comes_back_on_both_ways(
    tmp_path_factory: pytest.TempPathFactory, table: list[tuple[str, str]], quoting: Literal[0, 1]
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=quoting, lineterminator="\r\n")
    writer.writerows([("a", "b"), *table])
    file = write(tmp_path_factory.mktemp("csv"), text.getvalue().encode())
    expected = [(number, *row) for number, row in enumerate(table, 1)]
    patient = read._patient(file, ["a", "b"], COMMA)
    assert patient.rows.rows() == expected
    assert not patient.damaged.height
    assert read.read_rows(file, ["a", "b"], COMMA).rows.rows() == expected


@given(content=st.binary(max_size=200))
def test_any_bytes_give_rows_and_rejections_that_add_up(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    file = write(tmp_path_factory.mktemp("csv"), b"a,b\n" + content)
    result = read.read_rows(file, ["a", "b"], COMMA)
    numbers = pl.concat([result.rows[RECORD], result.damaged["record"]]).sort()
    assert numbers.to_list() == list(range(1, len(numbers) + 1))
