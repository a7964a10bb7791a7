"""Control totals: what is announced of a file, in its trailer or in a manifest, against what is read."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Annotated, Any

import pandera.polars as pa
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.contracts import Contract, ControlTotals, Dialect, Parse
from tidegate.errors import ObjectRejectedError
from tidegate.stages.file_check import check_file

AGREED = ""
DIFFERS = "The file does not hold what its supplier says: "


class Sales(pa.DataFrameModel):
    n: pl.Int64 = pa.Field(nullable=True)
    u: pl.UInt64 = pa.Field(nullable=True)
    price: Annotated[pl.Decimal, 38, 2] = pa.Field(nullable=True, gt=-1000)
    share: pl.Float64 = pa.Field(nullable=True)
    small: pl.Float32 = pa.Field(nullable=True)


HEADER = "n;u;price;share;small"
TRAILER = r"TOTAL;(?P<rows>[^;]*)(?:;(?P<price>[^;]*))?"


def contract(totals: ControlTotals, **given: Any) -> Contract:
    return Contract(
        name="sales",
        version="1.0.0",
        owner="sales",
        description="Sales.",
        keys=["sales/*.csv"],
        schema=Sales,
        dialect=Dialect(delimiter=";", footer="TOTAL|SUM"),
        totals=totals,
        **given,
    )


GERMAN = {"price": Parse(decimal=",", thousands="."), "share": Parse(decimal=",")}


def told(declared: Contract, lines: list[str], manifest: object = None) -> str:
    """Why the file is held; empty when it is not."""
    said = manifest if isinstance(manifest, bytes) else json.dumps(manifest).encode()
    content = "\n".join([HEADER, *lines, ""]).encode()
    checked = check_file(content, declared, manifest=None if manifest is None else lambda: said)
    try:
        for _ in checked.parts():
            pass
    except ObjectRejectedError as error:
        return str(error)
    return AGREED


def column(name: str, *values: str) -> list[str]:
    place = HEADER.split(";").index(name)
    return [";" * place + value + ";" * (HEADER.count(";") - place) for value in values]


def by_sum(name: str, said: object, *values: str, **given: Any) -> str:
    declared = contract(ControlTotals(manifest="{key}.json", sums={name: "sum"}), **given)
    return told(declared, column(name, *values), {"sum": said})


LARGEST = 2**63 - 1


@pytest.mark.parametrize(
    ("name", "values", "total"),
    [
        ("n", [LARGEST], LARGEST),
        ("n", [LARGEST] * 3, 3 * LARGEST),
        ("n", [-LARGEST - 1] * 3, -3 * (LARGEST + 1)),
        ("n", [LARGEST, 1, -LARGEST - 1], 0),
        ("u", [2**64 - 1] * 3, 3 * (2**64 - 1)),
    ],
)
def test_sums_beyond_64_bits_are_exact(name: str, values: list[int], total: int) -> None:
    texts = [str(value) for value in values]
    for said in (total, str(total)):
        assert by_sum(name, said, *texts) == AGREED
    wrong = by_sum(name, total + 1, *texts)
    sentence = f"the sum of {name} is announced as {total + 1}, what was read adds up to {total}."
    assert wrong == DIFFERS + sentence


def written(cents: int) -> str:
    return f"{'-' * (cents < 0)}{abs(cents) // 100}.{abs(cents) % 100:02}"


@pytest.mark.slow
@given(st.lists(st.integers(-(10**37), 10**37), max_size=8))
def test_decimal_sums_are_exact(cents: list[int]) -> None:
    declared = contract(ControlTotals(manifest="{key}.json", sums={"price": "sum"}))
    lines = column("price", *map(written, cents))
    assert told(declared, lines, f'{{"sum": {written(sum(cents))}}}'.encode()) == AGREED
    off = told(declared, lines, f'{{"sum": {written(sum(cents) + 1)}}}'.encode())
    assert off.startswith(DIFFERS)
    assert off.endswith(f"adds up to {written(sum(cents))}.")


def test_a_decimal_sum_of_more_digits_than_a_decimal_has() -> None:
    total = 3 * 9 * 10**35
    assert by_sum("price", total, *[str(9 * 10**35)] * 3) == AGREED
    huge = 200 * 9 * 10**35
    assert by_sum("price", huge, *[str(9 * 10**35)] * 200) == AGREED
    assert "adds up to 180000" in by_sum("price", huge - 1, *[str(9 * 10**35)] * 200)


def test_a_manifests_number_is_a_number_and_its_text_is_written_as_the_column() -> None:
    values = ("1.250,50", "-0,25")
    for said in (1250.25, "1.250,25", "1250,25"):
        assert by_sum("price", said, *values, parse=GERMAN) == AGREED
    refused = by_sum("price", "1250.25", *values, parse=GERMAN)
    assert refused == "The announced sum of price, '1250.25', is not a number as the column's values are."
    wrong = by_sum("price", "1.250,26", *values, parse=GERMAN)
    assert wrong == DIFFERS + (
        "the sum of price is announced as '1.250,26', what was read adds up to 1250.25."
    )
    assert by_sum("share", "0,30", "0,1", "0,2", parse=GERMAN) == AGREED


def test_a_decimal_total_with_more_places_is_another_number() -> None:
    assert by_sum("price", 0.30000000000000004, "0.10", "0.20").startswith(DIFFERS)
    assert by_sum("price", 0.3, "0.10", "0.20") == AGREED


@pytest.mark.parametrize("name", ["share", "small"])
def test_floats_may_be_rounded_but_not_wrong(name: str) -> None:
    values = ("0.1",) * 1000
    assert by_sum(name, 100, *values) == AGREED
    assert by_sum(name, 0, "0.1", "0.2", "-0.3") == AGREED
    assert by_sum(name, 100.01, *values).startswith(DIFFERS)
    assert by_sum(name, 0.01, "0.1", "0.2", "-0.3").startswith(DIFFERS)
    assert by_sum(name, 10**400, *values).startswith(DIFFERS)


def test_a_sum_of_floats_is_not_off_by_more_than_rounding_explains() -> None:
    values = ("1000000000",) * 10
    assert by_sum("share", 10**10, *values) == AGREED
    for said in (10**10 + 7, 10**10 + 1, 10**10 - 1, 10000000000.01, "10000000000.01"):
        assert by_sum("share", said, *values).startswith(DIFFERS)
    running = 0.0
    for _ in range(1000):
        running += 0.1
    assert running != 100
    assert by_sum("share", running, *["0.1"] * 1000) == AGREED


@pytest.mark.parametrize(
    ("said", "agreed"),
    [
        (2.47, True),
        ("2.47", True),
        (2.5, True),
        ("2.46", False),
        (2.468, False),
        (2, False),
        ("2", False),
        ("2.", False),
        ("2e0", False),
        ("0.25e1", False),
    ],
    ids=repr,
)
def test_a_sum_of_floats_may_be_rounded_to_the_decimal_places_it_has(said: object, agreed: bool) -> None:
    assert (by_sum("share", said, "1.2345", "1.2346") == AGREED) is agreed
    german = said.replace(".", ",") if isinstance(said, str) else said
    assert (by_sum("share", german, "1,2345", "1,2346", parse=GERMAN) == AGREED) is agreed


@pytest.mark.parametrize("name", ["n", "u", "price", "share", "small"])
def test_a_file_without_values_adds_up_to_0(name: str) -> None:
    assert by_sum(name, 0) == AGREED
    assert by_sum(name, 0, "", "") == AGREED
    assert by_sum(name, 1, "", "").endswith(("adds up to 0.", "adds up to 0.00."))


ROWS = contract(ControlTotals(manifest="{key}.json", rows="rows"))


@pytest.mark.parametrize("said", [2, 2.0, "2", "002", " 2 "], ids=repr)
def test_records_may_be_announced_as_number_or_text(said: object) -> None:
    assert told(ROWS, column("n", "1", "2"), {"rows": said}) == AGREED


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (3, DIFFERS + "3 records are announced, 2 were read."),
        (1, DIFFERS + "1 record is announced, 2 were read."),
        (-2, DIFFERS + "-2 records are announced, 2 were read."),
        ("-2", "The announced number of records, '-2', is not a whole number."),
        ("two", "The announced number of records, 'two', is not a whole number."),
        ("", "The announced number of records, '', is not a whole number."),
        ("2\n", AGREED),
        ("x" * 200, f"The announced number of records, '{'x' * 100}…', is not a whole number."),
        (2.5, "The announced number of records, 2.5, is not a whole number."),
        (True, "The announced number of records, true, is not a whole number."),
        (None, "The announced number of records, null, is not a whole number."),
        ([2], "The announced number of records, [2], is not a whole number."),
        ({"n": 2}, 'The announced number of records, {"n": 2}, is not a whole number.'),
        pytest.param("9" * 5000, DIFFERS + f"{'9' * 5000} records are announced, 2 were read.", id="digits"),
    ],
    ids=repr,
)
def test_what_is_announced_of_records_must_be_a_whole_number(said: object, reason: str) -> None:
    assert told(ROWS, column("n", "1", "2"), {"rows": said}) == reason


@pytest.mark.parametrize("said", [True, None, [1], {"a": 1}, "one", "", "1,0", "NaN"], ids=repr)
@pytest.mark.parametrize("name", ["n", "price", "share"])
def test_an_announced_sum_must_be_a_number(name: str, said: object) -> None:
    shown = f"'{said}'" if isinstance(said, str) else json.dumps(said)
    wanted = f"The announced sum of {name}, {shown}, is not a number as the column's values are."
    assert by_sum(name, said, "1") == wanted


@pytest.mark.parametrize(
    ("manifest", "reason"),
    [
        (b"", "The manifest can't be read as JSON: Expecting value: line 1 column 1 (char 0)."),
        (b'{"rows": 2', "The manifest can't be read as JSON: Expecting ',' delimiter"),
        (b'{"rows": NaN}', "The manifest can't be read as JSON: NaN is not a number in JSON."),
        (b'{"rows": Infinity}', "The manifest can't be read as JSON: Infinity is not a number in JSON."),
        (b'{"rows": \xff}', "The manifest can't be read as JSON: 'utf-8' codec can't decode"),
        (b"[" * 100_000, "The manifest can't be read as JSON: "),
        (b'{"rows": ' + b"9" * 5000 + b"}", "The manifest can't be read as JSON: "),
        (b'{"rows": 1e999999}', DIFFERS + "1E+999999 records are announced, 2 were read."),
        (
            b'{"rows": 1e' + b"9" * 30 + b"}",
            f"The manifest can't be read as JSON: 1e{'9' * 30} is too large or too small a number.",
        ),
        (b'{"rows": "\\ud800"}', r"The manifest's 'rows' is '\ud800', which holds half a character."),
        (b"2", "The manifest is JSON, but not an object"),
        (b'[{"rows": 2}]', "The manifest is JSON, but not an object"),
        (b'"rows"', "The manifest is JSON, but not an object"),
        (b"null", "The manifest is JSON, but not an object"),
        (b"{}", "The manifest lacks 'rows'."),
        (b'{"Rows": 2}', "The manifest lacks 'rows'."),
    ],
    ids=lambda value: repr(value)[:20] if isinstance(value, bytes) else "",
)
def test_a_manifest_that_is_no_manifest(manifest: bytes, reason: str) -> None:
    assert told(ROWS, column("n", "1", "2"), manifest).startswith(reason)


def test_a_manifest_with_a_byte_order_mark_or_in_utf_16() -> None:
    for manifest in (b'\xef\xbb\xbf{"rows": 2}', '{"rows": 2}'.encode("utf-16")):
        assert told(ROWS, column("n", "1", "2"), manifest) == AGREED


def test_fields_may_lie_in_others() -> None:
    totals = ControlTotals(manifest="{key}.json", rows="file.rows", sums={"n": "file.sums.n"})
    declared, lines = contract(totals), column("n", "1", "2")
    assert told(declared, lines, {"file": {"rows": 2, "sums": {"n": 3}}}) == AGREED
    assert told(declared, lines, {"file.rows": 2, "file": {"sums": {"n": 3}}}) == AGREED
    assert told(declared, lines, {"file": {"rows": 2, "sums": [3]}}) == "The manifest lacks 'file.sums.n'."
    assert told(declared, lines, {}) == "The manifest lacks 'file.rows', 'file.sums.n'."


def test_a_file_without_its_manifest_is_not_taken_for_checked() -> None:
    assert told(ROWS, column("n", "1")).startswith(
        "The manifest with the file's control totals is not beside"
    )


# -- trailers ------------------------------------------------------------------------------------

TRAILED = contract(ControlTotals(trailer=TRAILER), parse=GERMAN)
LINES = column("price", "1.000,50", "-0,50")


@pytest.mark.parametrize(
    ("trailer", "reason"),
    [
        (["TOTAL;2;1.000,00"], AGREED),
        (["", "TOTAL;00002;1000,00"], AGREED),
        (["TOTAL;2;1.000,00", "TOTAL;2;1.000,00"], AGREED),
        (["TOTAL;3;1.000,00"], DIFFERS + "3 records are announced, 2 were read."),
        (
            ["TOTAL;3;1,00"],
            DIFFERS + "3 records are announced, 2 were read; "
            "the sum of price is announced as '1,00', what was read adds up to 1000.00.",
        ),
        ([], f"The file has no trailer line that matches {TRAILER!r}; it may have been cut off."),
        (["SUM;2"], f"The file has no trailer line that matches {TRAILER!r}; it may have been cut off."),
        (
            ["TOTAL;2;1.000,00", "TOTAL;5;1.000,00"],
            "The trailer stands twice, and says '2' and '5' of rows; two files may have been joined.",
        ),
        (["TOTAL;2"], "The trailer 'TOTAL;2' does not tell price."),
        (["TOTAL;two;1.000,00"], "The announced number of records, 'two', is not a whole number."),
        (["TOTAL;;1.000,00"], "The announced number of records, '', is not a whole number."),
        (
            ["TOTAL;2;much"],
            "The announced sum of price, 'much', is not a number as the column's values are.",
        ),
        (["TOTAL;2;"], "The announced sum of price, '', is not a number as the column's values are."),
    ],
)
def test_a_trailer(trailer: list[str], reason: str) -> None:
    assert told(TRAILED, LINES + trailer) == reason


def test_a_trailer_of_two_lines() -> None:
    declared = contract(ControlTotals(trailer=r"TOTAL;(?P<rows>\d+)|SUM;(?P<n>\d+)"))
    assert told(declared, [*column("n", "1", "2"), "TOTAL;2", "SUM;3"]) == AGREED
    assert told(declared, [*column("n", "1", "2"), "SUM;3", "TOTAL;2"]) == AGREED
    assert "4" in told(declared, [*column("n", "1", "2"), "SUM;4", "TOTAL;2"])
    assert told(declared, [*column("n", "1", "2"), "TOTAL;2"]) == "The trailer 'TOTAL;2' does not tell n."


def trailed(trailer: str, line: str) -> str:
    return told(contract(ControlTotals(trailer=trailer)), [*column("share", "1.5", "1"), line])


@pytest.mark.parametrize("rest", ["", " ", ";;;", ";31.12.2026", "EUR", " 17", "%", " -"])
def test_what_follows_a_trailers_match_is_free(rest: str) -> None:
    assert trailed(r"TOTAL;(?P<rows>\d+);(?P<share>[\d.]+)", f"TOTAL;2;2.5{rest}") == AGREED
    assert trailed(r"TOTAL;(?P<rows>\d+)", f"TOTAL;2{rest}") == AGREED


@pytest.mark.parametrize("rest", ["e3", "E-3", "e+3", "-", "+", ",00", "'000", "٣"])
def test_a_trailers_match_does_not_end_within_a_number(rest: str) -> None:
    said = trailed(r"TOTAL;(?P<rows>\d+);(?P<share>[0-9.]+)", f"TOTAL;2;2.5{rest}")
    assert said == (
        f"The trailer 'TOTAL;2;2.5{rest}' goes on with '{rest}' within the number for share. "
        "If it is another value, let the contract's totals.trailer match it too."
    )


def test_a_count_goes_on_in_groups_of_three_digits() -> None:
    for rest in (".000", ",000", "'000;2.5", "e3", "0"):
        assert "within the number for rows" in trailed(r"TOTAL;(?P<rows>\d)", f"TOTAL;2{rest}")
    assert trailed(r"TOTAL (?P<rows>\d)", "TOTAL 2,6.5") == AGREED
    assert trailed(r"TOTAL (?P<rows>\d)\d{4}", "TOTAL 20025") == AGREED


def test_a_delimiter_ends_a_number_of_a_trailer() -> None:
    declared = contract(ControlTotals(trailer=r"TOTAL,(?P<rows>\d)"))
    declared = replace(declared, dialect=Dialect(delimiter=",", footer="TOTAL"))
    content = f"{HEADER}\n1;;;;\nTOTAL;1;100\n".replace(";", ",").encode()
    assert sum(part.records for part in check_file(content, declared).parts()) == 1


# -- rejected rows -------------------------------------------------------------------------------

BOTH = contract(ControlTotals(manifest="{key}.json", rows="rows", sums={"price": "sum"}))


def test_rejected_rows_count_with_their_values() -> None:
    lines = [*column("price", "1.00", "2.00"), *column("price", "-1000.00")]
    assert told(BOTH, lines, {"rows": 3, "sum": -997}) == AGREED
    other = "x;;4.00;;"  # rejected for another column's value
    assert told(BOTH, [*lines, other], {"rows": 4, "sum": -993}) == AGREED


def test_what_can_not_be_read_is_not_in_the_sum_and_the_reason_says_so() -> None:
    lines = [*column("price", "1.00", "two", "3.001"), "damaged;record"]
    assert told(BOTH, lines, {"rows": 4, "sum": 1}) == AGREED
    assert told(BOTH, lines, {"rows": 4, "sum": 6}) == DIFFERS + (
        "the sum of price is announced as 6, what was read adds up to 1.00 "
        "without 1 damaged record and 2 values that can't be read."
    )
    damaged = ["damaged;record", 'another"']
    assert told(BOTH, damaged, {"rows": 2, "sum": 6}).endswith("adds up to 0.00 without 2 damaged records.")


@pytest.mark.slow
def test_the_same_totals_whatever_the_parts_and_the_way() -> None:
    lines = column("n", *map(str, range(50_000)))
    content = "\n".join([HEADER, *lines, ""]).encode()
    declared = contract(ControlTotals(manifest="{key}.json", rows="rows", sums={"n": "n"}))
    said = json.dumps({"rows": 50_000, "n": sum(range(50_000))}).encode()
    for patient in (False, True):
        checked = check_file(content, declared, patient=patient, manifest=lambda: said)
        assert sum(part.valid.height for part in checked.parts()) == 50_000
