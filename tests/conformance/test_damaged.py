"""Every kind of damage in tests/golden/damaged, read in both ways; and what no file that small can show."""

import bz2
import gzip
import zipfile
from pathlib import Path

import pytest

from tests.conformance.reading_kit import (
    LINE_KINDS,
    Case,
    check_books,
    contract_of,
    damaged,
    line_starts,
    read,
)

WAYS = pytest.mark.parametrize("patient", [False, True], ids=["fast", "patient"])
LONG = 17 * 1024 * 1024

SCHEMA = [
    {"name": "id", "type": "int"},
    {"name": "name", "type": "str", "nullable": True},
    {"name": "city", "type": "str", "nullable": True},
]


def told(case: Case) -> bool:
    return case.expected.held is None and not case.file.read_bytes().startswith(b"\x28\xb5\x2f\xfd")


def content(case: Case) -> bytes:
    packed = case.file.read_bytes()
    if packed.startswith(b"\x1f\x8b"):
        return gzip.decompress(packed)
    if packed.startswith(b"BZh"):
        return bz2.decompress(packed)
    if packed.startswith(b"PK"):
        with zipfile.ZipFile(case.file) as archive:
            return archive.read(archive.namelist()[0])
    return packed


def codec(case: Case, text: bytes) -> str:
    """What the file is written in; found out here as one glance at these files allows."""
    declared = case.contract.dialect.encoding
    if text.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16-le" if text.startswith(b"\xff\xfe") else "utf-16-be"
    if declared != "detect":
        return declared
    if b"\0" in text[:2]:
        return "utf-16-be" if text.startswith(b"\0") else "utf-16-le"
    return "utf-8"


@WAYS
@pytest.mark.parametrize("case", damaged(), ids=str)
def test_of_each_kind_of_damage_comes_what_must_come(case: Case, patient: bool) -> None:
    outcome = read(case.file, case.contract, patient=patient)
    check_books(outcome)
    assert outcome == case.expected


# Each size breaks records elsewhere; one of them is enough while one writes code.
@pytest.mark.parametrize(
    "block_bytes", [pytest.param(1, marks=pytest.mark.slow), 10, pytest.param(32, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("case", [case for case in damaged() if case.expected.held is None], ids=str)
def test_nothing_depends_on_where_the_pieces_of_a_file_end(case: Case, block_bytes: int) -> None:
    assert read(case.file, case.contract, block_bytes=block_bytes) == case.expected


@pytest.mark.parametrize("case", [case for case in damaged() if told(case)], ids=str)
def test_what_is_expected_of_a_case_agrees_with_its_file(case: Case) -> None:
    text = content(case)
    written = codec(case, text)
    starts = line_starts(text, wide=written if written.startswith("utf-16") else None)
    check_books(case.expected, starts)
    assert len(case.lines) == len(starts)
    assert set(case.lines) <= LINE_KINDS
    for _, line, offset, *_, raw in case.expected.rejected:
        assert case.lines[line - 1] == "rejected"
        shown = text[offset:].decode(written, "backslashreplace")
        assert shown.startswith(raw)
        assert shown[len(raw) : len(raw) + 1] in ("", "\r", "\n")
    for line, _ in case.expected.accepted.values():
        assert case.lines[line - 1] == "accepted"


def test_no_two_cases_are_the_same() -> None:
    declared = [(case.file.parent / "case.toml").read_text().split("\n", 1)[1] for case in damaged()]
    files = [(case.file.name, case.file.read_bytes()) for case in damaged()]
    assert len(set(zip(files, declared, strict=True))) == len(damaged()) >= 70


@pytest.mark.slow
@WAYS
def test_a_record_that_is_too_long_is_refused_alone(tmp_path: Path, patient: bool) -> None:
    file = tmp_path / "long.csv"
    with file.open("wb") as out:
        out.write(b'id,name,city\n1,Ann,Oslo\n2,"')
        out.write(b"x" * LONG)
        out.write(b'",Rome\n3,Cleo,Paris\n')
    outcome = read(file, contract_of({"schema": SCHEMA}), patient=patient)
    check_books(outcome, [0, 13, 24, 24 + 3 + LONG + 7])
    assert {record: line for record, (line, _) in outcome.accepted.items()} == {1: 2, 3: 4}
    assert [row[:6] for row in outcome.rejected] == [(2, 3, 24, None, "too_long", None)]


@pytest.mark.slow
@WAYS
def test_an_unterminated_quote_swallows_nothing_of_a_long_file(tmp_path: Path, patient: bool) -> None:
    file = tmp_path / "long.csv"
    row = b"2," + b"x" * 1000 + b",Rome\n"
    rows = LONG // len(row)
    file.write_bytes(b'id,name,city\n1,"Ann,Oslo\n' + row * rows)
    outcome = read(file, contract_of({"schema": SCHEMA}), patient=patient)
    check_books(outcome)
    assert len(outcome.accepted) == rows
    assert outcome.rejected == [(1, 2, 13, None, "quoting", None, '1,"Ann,Oslo')]
