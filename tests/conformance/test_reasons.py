"""What a supplier is told of each bad record of one file: tests/golden/reasons."""

import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.conformance.reading_kit import line_starts
from tidegate.contracts.registry import load_contract
from tidegate.reading import LINE
from tidegate.stages.file_check import FileCheck, check_file

REASONS = Path(__file__).parents[1] / "golden" / "reasons"
FILE = REASONS / "orders.csv"
CONTENT = FILE.read_bytes()
WAYS = pytest.mark.parametrize("patient", [False, True], ids=["fast", "patient"])
#: Characters of the file that a sentence can't show as they are.
UNSEEN = {ord("\t"): "\\t", ord("\n"): "\\n", 7: "\\x07", 0x2028: "\\u2028"}
#: Where in a sentence the value of a cell of its column stands.
SHOWN = re.compile(r"(?:[a-z]+) is (?:'(?P<value>.*?)'|empty), (?:but|which) ")


def judged(*, patient: bool = False) -> tuple[FileCheck, pl.DataFrame, pl.DataFrame]:
    checked = check_file(FILE, load_contract(REASONS / "contract.py"), patient=patient)
    parts = list(checked.parts())
    return checked, pl.concat(part.valid for part in parts), pl.concat(part.rejections for part in parts)


def blocks(rejections: pl.DataFrame) -> str:
    told = ("line", "record", "column", "rule", "value", "message", "raw")
    rows = rejections.select(told).iter_rows(named=True)
    return "\n".join("".join(f"{name}: {field(value)}\n" for name, value in row.items()) for row in rows)


def field(value: Any) -> str:
    return "" if value is None else ascii(value) if not str(value).isprintable() else str(value)


@pytest.fixture(scope="module")
def rejections() -> pl.DataFrame:
    return judged()[2]


@WAYS
def test_each_bad_record_is_told_as_in_the_golden_text(patient: bool) -> None:
    found = blocks(judged(patient=patient)[2])
    assert found == (REASONS / "reasons.txt").read_text(encoding="utf-8")


def test_the_file_is_bad_in_more_than_40_ways_and_good_otherwise() -> None:
    checked, valid, rejections = judged()
    assert checked.rejected == rejections["record"].n_unique() >= 80
    assert valid.height >= 7
    assert valid.height + checked.rejected == checked.records >= 95
    assert sum(checked.lines.values()) == len(line_starts(CONTENT))
    by_record = rejections.group_by("record").agg("column", "rule", "message")
    assert by_record.filter(pl.col("rule").list.len() > 4).height, "no row breaks several rules"
    assert {"quoting", "fields", "encoding", "nul", "type", "nullable", "unique"} <= set(rejections["rule"])
    assert (rejections["line"] - rejections["record"]).n_unique() > 5, "records run along with lines"


def test_each_line_number_is_where_the_record_stands(rejections: pl.DataFrame) -> None:
    starts = line_starts(CONTENT)
    for line, offset, raw in rejections.select("line", "offset", "raw").iter_rows():
        assert starts[line - 1] == offset
        there = CONTENT[offset:].decode("utf-8", "backslashreplace")
        assert there.startswith(raw)
        assert there[len(raw) :][:1] in ("\r", "\n")


def test_accepted_rows_know_their_lines_too() -> None:
    starts = [*line_starts(CONTENT), len(CONTENT)]
    for line, number in judged()[1].select(LINE, "id").iter_rows():
        assert CONTENT[starts[line - 1] :].startswith(f"{number};".encode())


def test_each_sentence_is_one_that_can_be_read(rejections: pl.DataFrame) -> None:
    names = set(load_contract(REASONS / "contract.py").schema.to_schema().columns)
    for column, rule, value, message in rejections.select("column", "rule", "value", "message").iter_rows():
        assert message.isprintable(), "more than one line"
        assert re.search(r"[^.\s]\.$", message)
        assert message[0].isupper() or message.split()[0] in names
        assert "  " not in message
        assert "is ''," not in message
        if column is None:
            continue
        assert message.startswith(f"{column} is ")
        shown = SHOWN.match(message)
        assert shown is not None, message
        cut = value[:100] + "…" if len(value or "") > 100 else value or ""
        assert (shown["value"] or "") == cut.translate(UNSEEN), rule
        expected = message.removeprefix(f"{column} is '{shown['value']}'")
        assert not re.search(r"\bNone\b|\bnan\b|\bNaN\b|[a-z]+\(|\['|Decimal|datetime|%[a-zA-Z]", expected), (
            message
        )


def test_a_record_that_is_too_long_is_told_with_the_limit(tmp_path: Path) -> None:
    header = next(line for line in CONTENT.splitlines(keepends=True) if line.startswith(b"id;"))
    file = tmp_path / "long.csv"
    file.write_bytes(b"x\nx\n" + header + b'1;"' + b"long " * 3_500_000 + b'"\n2;two\n')
    checked = check_file(file, load_contract(REASONS / "contract.py"))
    told = pl.concat(part.rejections for part in checked.parts())
    assert told.select("line", "rule", "message").rows() == [
        (4, "too_long", "The line is longer than 16,777,216 bytes; perhaps its line ends were lost."),
        (5, "fields", "The record has 2 fields, but must have 18."),
    ]
