"""A first contract from sample files: what is guessed, what is left as text, and that it accepts them."""

from __future__ import annotations

import csv
import gzip
import io
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.contracts import Contract, Parse
from tidegate.errors import UsageError
from tidegate.operations.first_contract import infer, load_text, name_for
from tidegate.operations.judge import judge
from tidegate.stages.schema import file_columns

REPOSITORY = Path(__file__).parents[2]


def inferred(folder: Path, content: str | bytes, name: str = "sample.csv") -> tuple[Contract, str]:
    file = folder / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    first = infer([file], "sample")
    contract = load_text(first.text)
    judged = judge(file, contract)
    assert (judged.rejected, judged.rule) == (first.damaged, "")
    return contract, first.text


def column(folder: Path, *values: str) -> tuple[str, bool, Parse | None, str]:
    """Type, nullable, rules and the whole text for a column of these values."""
    table = io.StringIO()
    csv.writer(table).writerows([["n", "x"], *((f"a{number}", value) for number, value in enumerate(values))])
    contract, text = inferred(folder, table.getvalue())
    kind = str(file_columns(contract)["x"])
    return kind, contract.schema.to_schema().columns["x"].nullable, contract.parse.get("x"), text


@pytest.mark.parametrize(
    ("values", "kind", "rules"),
    [
        (("1", "-2", "0"), "Int64", None),
        (("1", "9223372036854775808"), "String", None),
        (("01234", "12345"), "String", None),
        (("1.5", "2", "1e3", ".5"), "Float64", None),
        (("12.50", "3.00"), "Decimal(precision=18, scale=2)", None),
        (("12,50", "3,00"), "Decimal(precision=18, scale=2)", Parse(decimal=",")),
        (("12,5", "3,25"), "Float64", Parse(decimal=",")),
        (("1.234,50", "3,00"), "Decimal(precision=18, scale=2)", Parse(decimal=",", thousands=".")),
        (("1'234", "3"), "Float64", Parse(thousands="'")),
        (("true", "FALSE"), "Boolean", None),
        (("Yes", "no"), "Boolean", Parse(true=["yes"], false=["no"])),
        (("yes", "perhaps"), "String", None),
        (("2026-01-31", "2026-02-01"), "Date", None),
        (("31.01.2026", "01.02.2026"), "Date", Parse(formats=["%d.%m.%Y"])),
        (("31/01/2026", "01/02/2026"), "Date", Parse(formats=["%d/%m/%Y"])),
        (("01/31/2026", "01/02/2026"), "Date", Parse(formats=["%m/%d/%Y"])),
        (("2026-01-31T13:45:00Z",), "Datetime(time_unit='us', time_zone='UTC')", None),
        (("2026-01-31 13:45:00",), "Datetime(time_unit='us', time_zone=None)", None),
        (
            ("31.01.2026 13:45", "01.02.2026 09:00"),
            "Datetime(time_unit='us', time_zone=None)",
            Parse(formats=["%d.%m.%Y %H:%M"]),
        ),
        (("13:45:00",), "Time", None),
        (("31.02.2026", "01.02.2026"), "String", None),
        ((" 1", "2 "), "Int64", Parse(trim=True)),
    ],
)
def test_what_values_are_taken_for(
    tmp_path: Path, values: tuple[str, ...], kind: str, rules: Parse | None
) -> None:
    found, nullable, how, _ = column(tmp_path, *values)
    assert (found, nullable, how) == (kind, False, rules)


@pytest.mark.parametrize(
    ("values", "note"),
    [
        (("01/02/2026", "03/04/2026"), "'%d/%m/%Y' or '%m/%d/%Y' in parse, if you know which"),
        (("01234", "12345"), "would lose the zeros in front"),
        (("007", "012"), "would lose the zeros in front"),
        (("001'234", "12'345"), "# at most 7 characters"),
        (("1,234", "5,678"), "may be thousands or a fraction"),
        (("12345678901234567890",), "too long for a number's type"),
        (("", ""), "no value in the sample"),
        (("5", "17"), "# 5 to 17"),
        (("some", "words"), "# at most 5 characters"),
    ],
)
def test_what_the_sample_cannot_decide_is_said(tmp_path: Path, values: tuple[str, ...], note: str) -> None:
    text = column(tmp_path, *values)[-1]
    assert note in " ".join(line.strip(" #") if "'%d" in note else line for line in text.splitlines())


@pytest.mark.parametrize(
    ("values", "tokens", "kind"),
    [
        (("1", ""), [""], "Int64"),
        (("1", "NA", "-"), ["", "NA", "-"], "Int64"),
        (("a", "NULL", "\\N"), ["", "\\N", "NULL"], "String"),
        (("1", "#N/A"), ["", "#N/A"], "Int64"),
    ],
)
def test_texts_that_mean_no_value(
    tmp_path: Path, values: tuple[str, ...], tokens: list[str], kind: str
) -> None:
    table = "n,x\n" + "".join(f"k,{value}\n" for value in values)
    contract, _ = inferred(tmp_path, table)
    assert list(contract.null_tokens) == tokens
    assert str(file_columns(contract)["x"]) == kind
    assert contract.schema.to_schema().columns["x"].nullable


def test_na_among_words_is_a_word(tmp_path: Path) -> None:
    assert column(tmp_path, "NA", "DE", "FR")[:2] == ("String", False)


def many(*values: str, times: int = 20) -> list[str]:
    return [value for value in values for _ in range(times)]


def checks(contract: Contract) -> list[dict[str, object]]:
    return [check.statistics for check in contract.schema.to_schema().columns["x"].checks]


def test_codes_that_are_seen_often_are_a_domain(tmp_path: Path) -> None:
    contract, _ = inferred(tmp_path, "x,n\n" + "".join(f"{'ab'[n % 2]},{n}\n" for n in range(40)))
    assert checks(contract) == [{"allowed_values": ["a", "b"]}]
    contract, text = inferred(tmp_path, "x,n\n" + "".join(f"{'ab'[n % 2]},{n}\n" for n in range(39)))
    assert checks(contract) == []
    assert "Columns without a value twice: n." in text


@pytest.mark.parametrize(
    ("values", "note"),
    [
        (many("Meier", "Huber"), "# in the sample only 'Huber', 'Meier'"),
        (many("01234", "80331"), "# in the sample only '01234', '80331'"),
        (many("C1", "C2"), "# in the sample only 'C1', 'C2'"),
        (many("call back", "none"), "# in the sample only 'call back', 'none'"),
        (many("first\nsecond", "none"), "# in the sample only 'first\\nsecond', 'none'"),
        ([*many("open", "paid", times=60), "lost"], "# in the sample only 'lost', 'open', 'paid'"),
        (many(*"abcdefghijklm"), "# at most 1 characters"),
    ],
)
def test_other_values_are_no_domain_however_few(tmp_path: Path, values: list[str], note: str) -> None:
    table = io.StringIO()
    csv.writer(table).writerows([["n", "x"], *((number, value) for number, value in enumerate(values))])
    contract, text = inferred(tmp_path, table.getvalue())
    assert checks(contract) == []
    assert note in text


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([f"{number}.5" for number in range(20)], "Decimal(precision=18, scale=1)"),
        ([f"{number}.5" for number in range(19)], "Float64"),
        ([f"{number}.1250" for number in range(20)], "Decimal(precision=18, scale=4)"),
        ([f"{number}.12500" for number in range(20)], "Float64"),
        ([f"{number}.{'5' * (1 + number % 2)}" for number in range(20)], "Float64"),
        (["1234567890123.45", "-.50"], "Decimal(precision=18, scale=2)"),
        (["12345678901234.56"], "Decimal(precision=38, scale=2)"),
        (["1234567890123456789012345678901234.56"], "Float64"),
    ],
)
def test_numbers_with_equally_many_places_are_decimals(tmp_path: Path, values: list[str], kind: str) -> None:
    found, _, _, text = column(tmp_path, *values)
    assert found == kind
    assert ("from typing import Annotated\n" in text) == kind.startswith("Decimal")


HEADER = "nr;name;town;day;price;rest;a;b\n"
LINES = [
    f"{1000 + n};Meier{n};Ulm;2025-12-{n % 28 + 1:02};{n}.{n + 100},05;x{n};{n};{n}\n" for n in range(1, 60)
]
FOOTED = HEADER + "".join(LINES)


@pytest.mark.parametrize(
    ("end", "footer"),
    [
        ("Summe;59;22.241.459,05\n", r"Summe\b"),
        ("Records written;59", r"Records\b"),
        ('"Total";59\n\n', None),
        ("** Total **;59\n", r"\*\*\ Total\b"),
        ("Summe;;;;22.241.459,05;;;\n", r"Summe\b"),
        (";;Gesamt;;22.241.459,05;;;\n", r";;Gesamt\b"),
        (";;;;22.241.459,05;;;\n", ";;;;"),
        ("Netto;;;;1,00;;;\nSteuer;;;;1,00;;;\nSumme;;;;2,00;;;\n", r"Netto\b|Steuer\b|Summe\b"),
        ("Summe;;;;22.241.459,05;;;\nEnde\n", r"Summe\b|Ende\b"),
    ],
)
def test_a_total_at_the_end_is_a_footer(tmp_path: Path, end: str, footer: str | None) -> None:
    contract, text = inferred(tmp_path, FOOTED + end)
    assert contract.dialect.footer == (footer or '"Total\\b')
    kinds = [str(kind) for kind in file_columns(contract).values()]
    assert kinds == [
        *("Int64", "String", "String", "Date", "Decimal(precision=18, scale=2)", "String", "Int64", "Int64")
    ]
    assert not any(one.nullable for one in contract.schema.to_schema().columns.values())
    assert "is taken for a total or the like, not for a row" in " ".join(text.replace("#", "").split())


@pytest.mark.parametrize(
    ("content", "damaged"),
    [
        # cut off
        (FOOTED + "1060;Meier60;U", 1),
        (FOOTED + "10", 1),
        ("name;b;c\nMeier;1;2\nHuber;3;4\nSchulz;5\n", 1),
        ("name;b;c\nA1;1;2\nB2;3;4\nB\n", 1),
        # rows begin like it
        ("name;b;c\nTotal;1;2\nShell;3;4\nTotal;5\n", 1),
        ("name;b;c\nTotal;1;2\nShell;3;4\nTotal;;\n", 0),
        # as good as any row
        ("name;b;c\nShell;1;2\nTotal;3;4\n", 0),
        (FOOTED + "1060;;;;;;;\n", 0),
        (FOOTED + "text;Meier60;Ulm;2025-12-01;1.000,05;x;1;1\n", 0),
        # not at the end
        (FOOTED + "Summe;59;22.241.459,05\n" + LINES[0], 1),
    ],
)
def test_a_row_at_the_end_is_a_row(tmp_path: Path, content: str, damaged: int) -> None:
    file = tmp_path / "x.csv"
    file.write_text(content)
    first = infer([file])
    assert load_text(first.text).dialect.footer is None
    assert (first.read, first.damaged) == (content.strip().count("\n"), damaged)


def test_files_with_different_footers_are_one_sample(tmp_path: Path) -> None:
    ends = ("Summe;59\n", "Total;59\n", "")
    files = [tmp_path / f"part-{number}.csv" for number in range(len(ends))]
    for file, end in zip(files, ends, strict=True):
        file.write_text(FOOTED + end)
    first = infer(files)
    contract = load_text(first.text)
    assert contract.dialect.footer == r"Summe\b|Total\b"
    assert (first.read, first.damaged) == (3 * len(LINES), 0)
    assert [judge(file, contract).rejected for file in files] == [0, 0, 0]


def test_a_damaged_record_is_told_with_its_place(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_text("a,b\n1,x\n" + "long" * 30 + "\n" + "2\n" * 3 + "3,y\n4,z\n" + "5,z\n" * 5)
    first = infer([file])
    assert first.damaged == 4
    assert len(first.examples) == 3
    assert first.examples[0].startswith(f"{file}, line 3: 'longlong")
    assert "…'. The record has 1 field, but must have 2." in first.examples[0]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("a;b\n1;2,5\n", {"delimiter": ";"}),
        ("a\tb\n1\t2\n", {"delimiter": "\t"}),
        ("a|b\n1|2\n", {"delimiter": "|"}),
        ("a;b\né;ü\n".encode("cp1252"), {"delimiter": ";", "encoding": "windows-1252"}),
        ("a,b\n1,2\n".encode("utf-16"), {"encoding": "utf-16-le"}),
        (gzip.compress(b"a,b\n1,2\n", mtime=0), {}),
        ("Report\na,b\n1,2\n3,4\n", {"preamble_lines": 1}),
        ("1,x\n2,y\n", {"header_lines": 0}),
    ],
)
def test_how_the_file_is_written(tmp_path: Path, content: str | bytes, expected: dict[str, object]) -> None:
    contract, _ = inferred(tmp_path, content)
    for name, value in expected.items():
        assert getattr(contract.dialect, name) == value
    names = ["column_1", "column_2"] if contract.dialect.header_lines == 0 else ["a", "b"]
    assert list(file_columns(contract)) == names


@pytest.mark.parametrize(
    ("content", "names"),
    [
        # years over numbers
        ("country,2013,2014\nNorway,5.1,5.2\n", ["country", "2013", "2014"]),
        ("country;2013;2014\nNorway;;NA\nChad;7;\n", ["country", "2013", "2014"]),
        ("2013,2014\n7,8\n", ["2013", "2014"]),
        # a word over numbers or dates
        ("id,1\n17,x\n", ["id", "1"]),
        ("day,2\n2026-01-31,x\n", ["day", "2"]),
        # the same kind of texts in the first line as below it
        ("Norway,2013,5\nChad,2014,7\n", None),
        ("2013,2014\n2014,2015\n", None),
        ("a,1\nb,2\n", None),
        ("NA,1\n5,2\n", None),
        ("A12,5\n13,6\nB14,7\n", None),
        # no names
        ("id,2013,2013\n5,6,7\n", None),
        ("id,,2013\n5,6,7\n", None),
        ("country,2013,2014\n", None),
    ],
)
def test_a_first_line_with_numbers_is_a_header_where_it_differs_from_what_is_below(
    tmp_path: Path, content: str, names: list[str] | None
) -> None:
    contract, _ = inferred(tmp_path, content)
    assert contract.dialect.header_lines == (0 if names is None else 1)
    made_up = [f"column_{number}" for number in range(1, content.partition("\n")[0].count(",") + 2)]
    assert list(file_columns(contract)) == (names or made_up)


@pytest.mark.parametrize(
    "name",
    [
        "Order No.",
        "class",
        "int",
        "pl",
        "to_schema",
        "_id",
        "_record",
        "_line",
        "1st",
        "ä",
        "a-b",
        'quo"te',
        "it's",
        "Config",
    ],
)
def test_any_name_of_a_column_can_be_declared(tmp_path: Path, name: str) -> None:
    table = io.StringIO()
    csv.writer(table).writerows([["n", name], ["x", "7"]])
    contract, _ = inferred(tmp_path, table.getvalue())
    assert list(file_columns(contract)) == ["n", name.lstrip("_")]
    assert str(file_columns(contract)[name.lstrip("_")]) == "Int64"


def test_damaged_records_are_told_and_do_not_spoil_the_guess(tmp_path: Path) -> None:
    file = tmp_path / "orders.csv"
    file.write_text('a,b\n1,x\n2,"y\n3,z\n4\n')
    first = infer([file])
    assert (first.name, first.read, first.damaged) == ("orders", 4, 2)
    assert str(file_columns(load_text(first.text))["a"]) == "Int64"


def test_several_files_are_one_sample(tmp_path: Path) -> None:
    for number, value in enumerate(("1", "", "2.5")):
        (tmp_path / f"part-{number}.csv").write_text(f"a,b\n{value},x\n")
    contract = load_text(infer(sorted(tmp_path.glob("*.csv"))).text)
    assert str(file_columns(contract)["a"]) == "Float64"
    (tmp_path / "part-9.csv").write_text("a,c\n1,x\n")
    with pytest.raises(UsageError, match="has other columns"):
        infer(sorted(tmp_path.glob("*.csv")))


@pytest.mark.parametrize("content", ["", "\n\n", "a,a\nx,y\n", "\0\0\0"])
def test_a_file_that_is_no_csv_is_a_sentence(tmp_path: Path, content: str) -> None:
    file = tmp_path / "x.csv"
    file.write_text(content)
    with pytest.raises(UsageError, match=r"x\.csv"):
        infer([file])


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("flights-2013-01-01.csv", "flights"),
        ("Orders 7.csv.gz", "orders"),
        ("utf8-2025-12.csv", "utf8"),
        ("orders_v2_20251231.csv", "orders_v2"),
        ("sales2024.csv", "sales"),
        ("sales20241231.csv", "sales"),
        ("2013-01.csv", "dataset_2013_01"),
        ("2013.csv", "dataset_2013"),
        ("__.csv", "dataset"),
    ],
)
def test_a_dataset_is_named_after_its_file(file: str, name: str) -> None:
    assert name_for(Path(file)) == name


@pytest.mark.parametrize("dataset", ["airlines", "airports", "flights", "planes", "weather"])
def test_the_example_files_are_accepted(dataset: str) -> None:
    folder = REPOSITORY / "examples" / "nycflights" / dataset
    files = [path for path in sorted(folder.glob("*.csv")) if not path.stem.endswith(("header", "bad-rows"))]
    contract = load_text(infer(files[:3], dataset).text)
    assert [judge(path, contract).rejected for path in files[:3]] == [0] * len(files[:3])


NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=8)
KINDS: list[st.SearchStrategy[str]] = [
    st.integers().map(str),
    st.floats(allow_nan=True).map(str),
    st.dates().map(str),
    st.dates().map(lambda day: f"{day.day:02}/{day.month:02}/{day.year:04}"),
    st.datetimes().map(str),
    st.booleans().map(str),
    st.sampled_from(["", "NA", "-", " ", "NULL", "01", "1,5", "1.234,5", "yes", "no", "2013-02-30"]),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6),
]

ENDS = [
    "",
    "Summe;1",
    "Total;;;\n",
    ";;5\n",
    '"Total";1\nEnd\n',
    "Sum;1\n\nSum;2;3;4;5\n",
    '** "a;b\n',
    "17;x",
]


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(st.data())
def test_an_inferred_contract_accepts_every_row_of_its_file(data: st.DataObject) -> None:
    names = data.draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    kinds = [data.draw(st.sampled_from([st.one_of(KINDS), *KINDS])) for _ in names]
    rows = data.draw(st.lists(st.tuples(*kinds), min_size=1, max_size=8))
    mark = data.draw(st.sampled_from(",;\t|"))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "table.csv")
        with file.open("w", encoding="utf-8", newline="") as target:
            csv.writer(target, delimiter=mark).writerows([names, *rows])
            target.write(data.draw(st.sampled_from(ENDS)).replace(";", mark))
        try:
            first = infer([file])
        except UsageError as error:
            # Some random names are no header: twice the same when trimmed, or broken by another mark.
            assert "header" in str(error)  # noqa: PT017
            return
        judged = judge(file, load_text(first.text))
        assert (judged.rule, judged.rejected) == ("", first.damaged)
