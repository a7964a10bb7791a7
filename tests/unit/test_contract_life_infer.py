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
        (("12,50", "3,00"), "Float64", Parse(decimal=",")),
        (("1.234,50", "3,00"), "Float64", Parse(decimal=",", thousands=".")),
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


def test_few_values_in_many_rows_are_a_domain(tmp_path: Path) -> None:
    contract, _ = inferred(tmp_path, "x,n\n" + "".join(f"{'ab'[n % 2]},{n}\n" for n in range(40)))
    (check,) = contract.schema.to_schema().columns["x"].checks
    assert check.statistics == {"allowed_values": ["a", "b"]}
    contract, text = inferred(tmp_path, "x,n\n" + "".join(f"{'ab'[n % 2]},{n}\n" for n in range(39)))
    assert contract.schema.to_schema().columns["x"].checks == []
    assert "Columns without a value twice: n." in text


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
    ["Order No.", "class", "int", "pl", "to_schema", "_id", "1st", "ä", "a-b", 'quo"te', "it's", "Config"],
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
        try:
            first = infer([file])
        except UsageError as error:
            # Some random names are no header: twice the same when trimmed, or broken by another mark.
            assert "header" in str(error)  # noqa: PT017
            return
        judged = judge(file, load_text(first.text))
        assert (judged.rule, judged.rejected) == ("", first.damaged)
