from __future__ import annotations

import gzip
from typing import Any

import pytest

from tidegate.contracts import Columns, Dialect
from tidegate.errors import ObjectRejectedError
from tidegate.reading import LineKind, Reading, open_reading
from tidegate.reading.reader import HEAD_BYTES

LENIENT = Columns(missing="null", extra="ignore")


def opened(content: bytes, columns: str = "a,b", policy: Columns | None = None, **options: Any) -> Reading:
    limits = {name: options.pop(name) for name in ("block_bytes", "record_limit") if name in options}
    return open_reading(
        content,
        columns=columns.split(","),
        dialect=options.pop("dialect", None) or Dialect(**options),
        policy=policy or Columns(),
        **limits,
    )


def rows(reading: Reading, *, patient: bool = False) -> list[tuple[Any, ...]]:
    return [row for block in reading.blocks(patient=patient) for row in block.rows.rows()]


def damage(reading: Reading, *names: str) -> list[tuple[Any, ...]]:
    return [
        row
        for block in reading.blocks()
        for row in block.damaged.select(names or ("record", "line", "rule")).rows()
    ]


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b"", "empty"),
        (b"\n\r\n \n", "empty"),
        (b"\x00\x01\x02,b\n", "not_text"),
        (b"\x00" * (2 * HEAD_BYTES), "not_text"),
        (b"x" * (2 * HEAD_BYTES), "header"),
        (b'"a,b\n', "header"),
        (b"caf\xe9,b\n", "encoding"),
        (b"\xff\xfea\x00,\x00b\x00\n\x00", "encoding"),
        (b"a,b,c\n", "header"),
        (b"a\n", "header"),
        (b"a,b,a\n", "header"),
        (gzip.compress(b"a,b\n1,2\n", mtime=0)[:-4], "compression"),
    ],
)
def test_what_has_no_header_to_read_is_refused_as_a_whole(content: bytes, rule: str) -> None:
    with pytest.raises(ObjectRejectedError) as caught:
        rows(opened(content))
    assert caught.value.rule == rule


def test_fields_are_kept_to_the_letter() -> None:
    reading = opened(b'a,b\n 1 ,"x, ""y"""\r\n"",\n"two\nlines",3')
    assert rows(reading) == [
        (1, 2, " 1 ", 'x, "y"'),
        (2, 3, "", ""),
        (3, 4, "two\nlines", "3"),
    ]


def test_columns_stand_in_the_order_of_the_contract_wherever_they_stand_in_the_file() -> None:
    policy = Columns(missing="null", extra="ignore", aliases={"Alpha": "a"}, ignore_case=True)
    assert rows(opened(b"x, B ,ALPHA\n1,2,3\n", "a,b,c", policy)) == [(1, 2, "3", "2", None)]


def test_a_stray_quote_costs_its_line_and_no_other() -> None:
    reading = opened(b'a,b\n1,"x\n2,y\n3,"z"\n4,5" pipe\n5,"a"b\n6,"c\nd"\n')
    assert rows(reading) == [(2, 3, "2", "y"), (3, 4, "3", "z"), (6, 7, "6", "c\nd")]
    assert damage(reading, "record", "line", "offset", "rule", "raw") == [
        (1, 2, 4, "quoting", '1,"x'),
        (4, 5, 19, "quoting", '4,5" pipe'),
        (5, 6, 29, "quoting", '5,"a"b'),
    ]


def test_rows_that_an_open_quote_seems_to_swallow_are_rows() -> None:
    reading = opened(b'a,b,c\n1,"x,y\n2,d,e\n3,f,"\n4,g,h\n', "a,b,c")
    assert [row[2] for row in rows(reading)] == ["2", "4"]
    assert damage(reading) == [(1, 2, "quoting"), (3, 4, "quoting")]


def test_a_wrong_number_of_fields_is_one_record_with_all_its_lines() -> None:
    reading = opened(b'a,b\n1,"x\ny",z\n2,q\n')
    assert rows(reading) == [(2, 4, "2", "q")]
    assert damage(reading, "record", "line", "rule", "raw") == [(1, 2, "fields", '1,"x\ny",z')]


def test_undecodable_bytes_and_nuls_cost_their_record() -> None:
    reading = opened(b"a,b\n1,\xff\n2,\x00\n3,\xc3\xa9\n")
    assert rows(reading) == [(3, 4, "3", "é")]
    assert damage(reading, "line", "rule", "raw") == [(2, "encoding", r"1,\xff"), (3, "nul", "2,\0")]


def test_what_windows_1252_has_no_character_for_is_shown_as_its_byte() -> None:
    reading = opened(b"a,b\n1,\x80\n2,\x81\n", encoding="windows-1252")
    assert rows(reading) == [(1, 2, "1", "€")]
    assert damage(reading, "offset", "rule", "raw") == [(8, "encoding", r"2,\x81")]


def test_offsets_count_bytes_of_the_object_in_its_own_encoding() -> None:
    content = "a,b\n€,😀\nx\n".encode("utf-16")
    assert damage(opened(content, encoding="utf-16"), "line", "offset") == [(3, content.index(b"x\0"))]


def test_a_line_over_the_limit_is_refused_and_the_next_is_read() -> None:
    content = b"a,b\n1,2\n" + b"x" * 300 + b"\n3,4\n"
    for block_bytes in (7, 64, 4096):
        reading = opened(content, block_bytes=block_bytes, record_limit=100)
        assert rows(reading) == [(1, 2, "1", "2"), (3, 4, "3", "4")]
        assert damage(reading, "record", "line", "offset", "rule") == [(2, 3, 8, "too_long")]


def test_a_record_over_the_limit_is_an_unclosed_quote() -> None:
    content = b'a,b\n1,"' + b"x\n" * 100 + b'"\n3,4\n'
    for block_bytes in (7, 4096):
        found = damage(opened(content, block_bytes=block_bytes, record_limit=100))
        assert found[0] == (1, 2, "quoting")


def test_every_line_is_of_one_kind() -> None:
    content = b"made by hand\n\na,b\n# note\n1,2\n3\n\n4,5\nTOTAL 3\n\n"
    reading = opened(content, preamble_lines="detect", comment="#", footer="TOTAL")
    assert rows(reading) == [(1, 5, "1", "2"), (3, 8, "4", "5")]
    assert reading.lines == {
        LineKind.PREAMBLE: 1,
        LineKind.BLANK: 3,
        LineKind.HEADER: 1,
        LineKind.COMMENT: 1,
        LineKind.ACCEPTED: 2,
        LineKind.REJECTED: 1,
        LineKind.FOOTER: 1,
    }
    assert reading.footer == ["TOTAL 3"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", ":", "^", "~", "\x01", "\x1f", " "])
@pytest.mark.parametrize("quote", ['"', "'"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
def test_the_dialect_is_found_out(delimiter: str, quote: str, encoding: str) -> None:
    lines = [
        "Exported by the supplier",
        f"one{delimiter}two",
        f"{quote}x{delimiter}y{quote}{delimiter}{quote}a{quote * 2}b{quote}",
        f"é{delimiter}ü",
    ]
    reading = opened("\n".join(lines).encode(encoding), "one,two", dialect=Dialect.detect())
    assert [row[2:] for row in rows(reading)] == [(f"x{delimiter}y", f"a{quote}b"), ("é", "ü")]
    assert (reading.dialect["delimiter"], reading.dialect["quote"]) == (delimiter, quote)


def test_backslash_escapes_are_found_out() -> None:
    content = b'a,b\n"x\\"y",1\n"c:\\\\d","e,f"\n'
    assert [row[2:] for row in rows(opened(content, dialect=Dialect.detect()))] == [
        ('x"y', "1"),
        ("c:\\d", "e,f"),
    ]


def test_one_bad_byte_does_not_make_utf_8_another_encoding() -> None:
    content = "a,b\né,ü\n".encode() + b"\xff,1\n"
    reading = opened(content, dialect=Dialect.detect())
    assert rows(reading) == [(1, 2, "é", "ü")]
    assert reading.dialect["encoding"] == "utf-8"


def test_without_a_header_the_columns_stand_in_order() -> None:
    reading = opened(b"1;2\n3;4\n", delimiter="detect", header_lines=0)
    assert rows(reading) == [(1, 1, "1", "2"), (2, 2, "3", "4")]


def test_of_several_header_lines_the_one_that_fits_counts() -> None:
    assert rows(opened(b"a,b\nkg,m\n1,2\n", header_lines=2)) == [(1, 3, "1", "2")]
    joined = opened(b"net,gross\nweight,weight\n1,2\n", "net weight,gross weight", header_lines=2)
    assert rows(joined) == [(1, 3, "1", "2")]


def test_the_dialect_as_found_is_plain_data() -> None:
    reading = opened(b"\xef\xbb\xbfa,b\r\n1,2\r\n")
    rows(reading)
    assert reading.dialect == {
        "encoding": "utf-8",
        "byte_order_mark": True,
        "compression": "none",
        "delimiter": ",",
        "quote": '"',
        "escape": None,
        "line_end": "\r\n",
        "preamble_lines": 0,
        "header": ["a", "b"],
        "header_lines": 1,
        "comment": None,
        "footer": None,
    }


@pytest.mark.parametrize(
    ("content", "line_end"),
    [
        (b'a,b\r\n1,"x\ny\nz"\r\n"\n",2\r\n', "\r\n"),
        (b'a,b\n1,"x\r\ny"\n2,"\r"\n', "\n"),
        (b'a,b\r1,"x\ny"\r', "\r"),
        (b'a,b\r\n1,"x\ny"\r\n1,2\n', "mixed"),
        (b'a,b\n1,"x\ny"', None),
        (b"a,b\n", None),
    ],
)
def test_line_ends_within_values_are_no_mixture(content: bytes, line_end: str | None) -> None:
    for block_bytes in (4, 1000):
        reading = opened(content, block_bytes=block_bytes)
        rows(reading)
        assert reading.dialect["line_end"] == line_end


@pytest.mark.parametrize(
    ("content", "dialect", "assumed"),
    [
        (b"a,b\n1,2\n", {}, ["encoding", "escape", "quote"]),
        (b'a,b\n1,"2"\n', {}, ["encoding", "escape"]),
        (b"a,b\n1,C:\\2\n", {}, ["encoding", "quote"]),
        (b"a,b\n", {}, ["encoding", "escape", "line_end", "quote"]),
        (b"\xef\xbb\xbfa,b\n1,2\n", {}, ["escape", "quote"]),
        ("a,b\n1,é\n".encode(), {}, ["escape", "quote"]),
        ("a,b\n1,é\n".encode("windows-1252"), {"encoding": "detect"}, ["escape", "quote"]),
        ("a,b\n1,2\n".encode("utf-16-le"), {"encoding": "utf-16-le"}, ["escape", "quote"]),
        (b"a,b\n1,2\n", {"quote": None}, ["encoding", "escape"]),
        (b"a,b\n1,^2\n", {"escape": "^"}, ["encoding", "quote"]),
    ],
)
def test_what_nothing_in_the_file_tells_is_said_to_be_assumed(
    content: bytes, dialect: dict[str, Any], assumed: list[str]
) -> None:
    for block_bytes in (4, 1000):
        reading = opened(content, block_bytes=block_bytes, **dialect)
        rows(reading)
        assert reading.assumed == assumed


def test_in_a_single_column_the_delimiter_is_assumed() -> None:
    reading = opened(b"a\n1\n", "a", delimiter="detect")
    rows(reading)
    assert "delimiter" in reading.assumed


def test_declarations_that_number_records_otherwise_make_another_dialect() -> None:
    content = b"a,b\n#1,2\n3,4\nend,1\n"
    declared: list[dict[str, Any]] = [
        {},
        {"comment": "#"},
        {"footer": "end"},
        {"comment": "#", "footer": "end"},
    ]
    found = [opened(content, **one).dialect for one in declared]
    assert all(one != other for n, one in enumerate(found) for other in found[:n])


def test_a_byte_order_mark_within_the_file_is_text() -> None:
    reading = opened("a,b\n\ufeff1,2\n".encode(), block_bytes=4)
    assert rows(reading) == [(1, 2, "\ufeff1", "2")]


def test_another_delimiter_than_agreed_is_told_as_such() -> None:
    with pytest.raises(ObjectRejectedError) as caught:
        opened(b"a,b\n1,2\n", dialect=Dialect(delimiter=";"))
    assert str(caught.value) == (
        "The fields of the file are divided by ',', but the contract says ';'. "
        "Write it as agreed, or let the contract detect it."
    )
    with pytest.raises(ObjectRejectedError, match="missing: 'b'; not expected: 'c'"):
        opened(b"a;c\n1;2\n", dialect=Dialect(delimiter=";"))


@pytest.mark.parametrize("more", [0, 1, 255, 256, 257, 512])
def test_a_record_with_any_number_of_fields_too_many_is_told_so(more: int) -> None:
    quoted = b'"x' + b"," * more + b'",y\n'
    content = b"a,b\n1,2\n3,4" + b"," * more + b"\n" + quoted + b"5,6\n"
    reading = opened(content)
    told = [message.split(",")[0] for (message,) in damage(reading, "message")]
    assert told == ([f"The record has {more + 2} fields"] if more else [])
    assert rows(reading)[-2][2:] == ("x" + "," * more, "y")
