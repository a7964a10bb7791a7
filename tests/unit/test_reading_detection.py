"""What is detected holds however badly some rows are written."""

from __future__ import annotations

import bz2
import csv
import io
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.contracts import Columns, Dialect
from tidegate.errors import ObjectRejectedError
from tidegate.reading import Reading, open_reading


def opened(content: str | bytes, columns: str, **options: Any) -> Reading:
    return open_reading(
        content.encode() if isinstance(content, str) else content,
        columns=columns.split(","),
        dialect=replace(Dialect.detect(), **options),
        policy=Columns(),
    )


def rows(reading: Reading) -> list[tuple[Any, ...]]:
    return [row[2:] for block in reading.blocks() for row in block.rows.rows()]


@pytest.mark.parametrize(
    ("content", "quote", "escape", "expected"),
    [
        ('id,name,city\n1,"Ann","Oslo"\n2,"Bob" x,"Rome"\n', '"', None, [("1", "Ann", "Oslo")]),
        ('id,name,city\n1,5" pipe,"Rome"\n2,"x","y"\n', '"', None, [("2", "x", "y")]),
        ("id,name,city\n1,'a' b,'c'\n2,'Ann','Oslo'\n", "'", None, [("2", "Ann", "Oslo")]),
        ("'id','name','city'\n1,2,3\n", "'", None, [("1", "2", "3")]),
        ("id,name,city\n1,'a,\"b\",c',d\n", "'", None, [("1", 'a,"b",c', "d")]),
        ("id,name,city\n1,'O\\'Hara',x\n", "'", "\\", [("1", "O'Hara", "x")]),
        # Apostrophes that enclose nothing, or only what stands between them by chance.
        ("id,name,city\n1,'t Haan,rock'\n2,'n/a',x\n3,y,z\n", '"', None, [
            ("1", "'t Haan", "rock'"), ("2", "'n/a'", "x"), ("3", "y", "z")
        ]),
        ("id,name,city\n1,x,'a\n2,y',b\n", '"', None, [("1", "x", "'a"), ("2", "y'", "b")]),
        ("id,name,city\n1,'x','y'\n2,\"a, b\",'z'\n", '"', None, [("1", "'x'", "'y'"), ("2", "a, b", "'z'")]),
        # What looks like a quoted value in a comment or in the footer is none.
        ("id,name,city\n#,'a, b',\n1,x,y\nTOTAL,'a, b',2\n", '"', None, [("1", "x", "y")]),
        # Backslashes are text where they would swallow a quote or another character.
        ('id,name,city\n1,"C:\\dir\\",x\n2,"5\\" y",x\n', '"', None, [("1", "C:\\dir\\", "x")]),
        ('id,name,city\n1,"C:\\",x\n2,"5\\" y",x\n', '"', None, [("1", "C:\\", "x")]),
        ('id,name,city\n1,"a\\b ""c""",x\n2,"5\\" y",x\n', '"', None, [("1", 'a\\b "c"', "x")]),
        ('id,name,city\n1,"a \\"b\\"",x\n2,"\\\\c" d,x\n', '"', "\\", [("1", 'a "b"', "x")]),
    ],
)  # fmt: skip
def test_a_mark_is_a_quote_where_it_encloses_values(
    content: str, quote: str, escape: str | None, expected: list[tuple[str, ...]]
) -> None:
    reading = opened(content, "id,name,city", comment="#", footer="^TOTAL,")
    assert rows(reading) == expected
    assert (reading.dialect["quote"], reading.dialect["escape"]) == (quote, escape)


def test_quoted_line_ends_that_look_like_records_are_text() -> None:
    content = 'id,text\n1,"a\nb,c\nd,e"\n2,"x\ny,z"\n'
    assert rows(opened(content, "id,text")) == [("1", "a\nb,c\nd,e"), ("2", "x\ny,z")]


TEXTS = st.text(st.sampled_from("ab',;|\"\\\n #é"), max_size=6).filter(
    lambda text: not (text.startswith("'") and text.endswith("'"))
)
TABLES = st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=8)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(
    table=TABLES,
    style=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    delimiter=st.sampled_from(",;|\t"),
    damage=st.lists(
        st.tuples(st.integers(0, 8), st.sampled_from(['"Bob" x{}"Rome"', '5" pipe{}y', '"x{}"y" z']))
    ),
)
def test_a_file_written_with_quotes_comes_back_however_some_rows_are_misquoted(
    table: list[tuple[str, str]], style: Any, delimiter: str, damage: list[tuple[int, str]]
) -> None:
    lines = []
    for number, texts in enumerate(table):
        out = io.StringIO()
        csv.writer(out, quoting=style, delimiter=delimiter, lineterminator="").writerow([number, *texts])
        lines.append(out.getvalue())
    for at, row in damage:
        lines.insert(at, f"0{delimiter}{row.format(delimiter)}")
    content = "\n".join([delimiter.join(["id", "one", "two"]), *lines, ""])
    reading = opened(content, "id,one,two")
    assert reading.dialect["quote"] == '"'
    assert rows(reading) == [(str(number), *texts) for number, texts in enumerate(table)]


def test_a_file_that_two_delimiters_divide_alike_is_held_when_no_header_tells() -> None:
    with pytest.raises(ObjectRejectedError, match=r"divided by ',' or by ';': .* Declare the delimiter"):
        opened("1;2,5\n3;4,5\n", "a,b", header_lines=0, preamble_lines=0)
    assert rows(opened("1;2,5\n3;4\n", "a,b", header_lines=0, preamble_lines=0)) == [("1", "2,5"), ("3", "4")]
    assert rows(opened("1-2;3-4\n", "a,b", header_lines=0, preamble_lines=0)) == [("1-2", "3-4")]


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_a_replacement_character_of_the_text_is_no_damage(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr("tidegate.reading.reader.BLOCK_BYTES", size)
    assert rows(opened("a,b\n1,caf\ufffd\n", "a,b")) == [("1", "caf\ufffd")]
    cut = opened("a,b\né,ü\n".encode() + b"\xe2\x82,1\n", "a,b")
    assert cut.dialect["encoding"] == "windows-1252"
    assert opened("a,b\né\ufffd,ü\n".encode() + b"\xe2\x82,1\n", "a,b").dialect["encoding"] == "utf-8"


class TestBz2:
    first, second = b"a,b\n1,2\n", b"3,4\n"

    @pytest.mark.parametrize("between", [b"", b"\0" * 8, b"\0" * 20_000])
    @pytest.mark.parametrize("after", [b"", b"\0", b"\0" * 20_000])
    def test_streams_follow_one_another_and_nuls_may_pad_them(self, between: bytes, after: bytes) -> None:
        packed = bz2.compress(self.first) + between + bz2.compress(self.second) + after
        assert rows(opened(packed, "a,b")) == [("1", "2"), ("3", "4")]

    @pytest.mark.parametrize("at", [0, 2, 3, 4, 10, -3])
    def test_a_damaged_later_stream_holds_the_file(self, at: int) -> None:
        damaged = bytearray(bz2.compress(self.second))
        damaged[at] ^= 0xFF
        for between in (b"", b"\0" * 20_000):
            with pytest.raises(ObjectRejectedError) as caught:
                rows(opened(bz2.compress(self.first) + between + damaged, "a,b"))
            assert caught.value.rule == "compression"

    @pytest.mark.parametrize("tail", [b"B", b"garbage", bz2.compress(second)[:-1], bz2.compress(second)[:4]])
    def test_what_follows_a_stream_and_is_none_holds_the_file(self, tail: bytes) -> None:
        with pytest.raises(ObjectRejectedError, match=r"The bz2 data is damaged or cut off \(.+\)"):
            rows(opened(bz2.compress(self.first) + tail, "a,b"))


def test_the_header_met_again_is_no_row() -> None:
    content = 'a,"b"\n1,2\na,b\n"a", b\n\ufeffa ,b\nb,a\na,\n'
    for patient in (False, True):
        (block,) = opened(content, "a,b", comment="#").blocks(patient=patient)
        assert block.rows.rows() == [(1, 2, "1", "2"), (5, 6, "b", "a"), (6, 7, "a", "")]
        told = block.damaged.select("record", "line", "offset", "rule", "message", "raw").rows()
        words = ("header", "The record repeats the header.")
        assert told == [
            (2, 3, 10, *words, "a,b"),
            (3, 4, 14, *words, '"a", b'),
            (4, 5, 21, *words, "\ufeffa ,b"),
        ]


def test_the_header_met_again_is_known_by_what_its_names_mean() -> None:
    assert rows(opened('"a""x",b\n1,2\n"a""x",b\n', 'a"x,b')) == [("1", "2")]


def test_a_value_like_the_name_of_a_single_column_is_a_value() -> None:
    assert rows(opened("a\n1\na\n", "a")) == [("1",), ("a",)]


def test_without_a_header_nothing_repeats_it() -> None:
    assert rows(opened("a,b\na,b\n", "a,b", header_lines=0, preamble_lines=0)) == [("a", "b")] * 2
