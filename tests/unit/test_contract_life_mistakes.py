"""A mistake in a contract's module is told with file, line and what to use instead."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from tidegate.contracts.registry import Registry, load_contract, load_registry
from tidegate.errors import ContractError

if TYPE_CHECKING:
    from pathlib import Path

HEAD = """\
import pandera.polars as pa
import polars as pl
from typing import Annotated
from tidegate.contracts import *

class Order(pa.DataFrameModel):
    order_id: int
    note: str = pa.Field(nullable=True)
    amount: float
    at: Annotated[pl.Datetime, "us", "UTC"]

"""
LINE_OF_CONTRACT = HEAD.count("\n") + 1


def load(root: Path, text: str) -> Registry:
    package = root / f"contracts_{uuid.uuid4().hex}"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "orders.py").write_text(text)
    return load_registry(package.name, root)


def refused(root: Path, text: str) -> tuple[str, str]:
    """Line (with the word) and what was said."""
    with pytest.raises(ContractError) as caught:
        load(root, text)
    place, _, said = str(caught.value).partition(": ")
    file, _, line = place.partition(", ")
    assert file.startswith("contracts_")
    assert file.endswith("/orders.py")
    return line, said


def declaration(argument: str, **changes: str) -> str:
    values = {
        "name": '"orders"',
        "version": '"1.0.0"',
        "owner": '"sales"',
        "description": '"Orders."',
        "keys": '["orders/*.csv"]',
        "schema": "Order",
        **changes,
    }
    lines = [f"    {name}={value}," for name, value in values.items()]
    return HEAD + "\n".join(["orders = Contract(", *lines, f"    {argument}", ")", ""])


LINE_OF_ARGUMENT = LINE_OF_CONTRACT + 7
LOOKUP = "Lookup(dataset='x', on={'a': 'b'}, take={}"


@pytest.mark.parametrize(
    ("argument", "line", "said"),
    [
        ("dialect=Dialect(\n        delimiter=',',\n        quote='ab',\n    ),", 2, "one ASCII character"),
        ("ownr='me',", 0, "did you mean owner?"),
        ("parse={\n        'order_id': Parse(),\n        'amout': Parse(),\n    },", 2, "mean 'amount'?"),
        ("parse={'note': Parse(formats=['%d.%m.%Y'])},", 0, "means nothing for a column of type String"),
        ("parse={'at': Parse(time_zone='Europe/Zuric')},", 0, "is no time zone"),
        ("parse={'amount': Parse(decimal=';')},", 0, "use '.' or ','"),
        ("columns=Columns(\n        aliases={\n            'id': 'order'},\n    ),", 2, "use one of|mean '"),
        ("columns=Columns(aliases={'note': 'amount'}),", 0, "a column of the schema itself"),
        ("columns=Columns(extra='drop'),", 0, "use hold or ignore"),
        ("dialect=Dialect(header_lines=0), columns=Columns(ignore_case=True),", 0, "the files have none"),
        ("totals=ControlTotals(trailer=r'T;(?P<rows>\\d+)'),", 0, "dialect.footer is not set"),
        ("totals=ControlTotals(manifest='{key}.json', sums={'note': 'n'}),", 0, "use a column of numbers"),
        ("totals=ControlTotals(manifest='{name}.json', rows='n'),", 0, "use {key} or {stem}"),
        ("budget=Budget(\n        max_share=5),", 1, "from 0 to 1, such as 0.05"),
        ("budget=Budget(max_rows=-1),", 0, "use 0 or more"),
        ("load=Append,", 0, "use Append()"),
        ("load=Merge(key='order_id'),", 0, "write key=['order_id']"),
        (f"enrich=[\n        {LOOKUP}),\n    ],", 1, "no contract declares"),
        (f"enrich=[{LOOKUP}, unmatched='drop')],", 0, "use keep, reject or hold"),
        (f"enrich=[{LOOKUP}, hold_seconds=float('inf'))],", 0, "seconds from 0 to"),
        (f"enrich=[{LOOKUP}, hold_seconds='60')],", 0, "seconds from 0 to"),
        ("enrich=[Lookup(dataset='x', on={}, take={})],", 0, "matches nothing"),
        ("enrich=[Lookup(dataset='x', on='b', take={})],", 0, "column here"),
        ("enrich=[Lookup(dataset='x', on={'a': 'b'}, take={'_record': 'b'})],", 0, "are the engine's"),
        (f"normalize=[{LOOKUP})],", 0, "move it there"),
        ("enrich=['shops'],", 0, "neither a function nor a Lookup"),
        (
            "enrich=[Lookup(dataset='orders', on={'order_id': 'order_id'}, take={})],",
            0,
            "waits for itself: orders -> orders",
        ),
    ],
)  # fmt: skip
def test_a_mistake_in_an_argument_is_told_with_its_line(
    tmp_path: Path, argument: str, line: int, said: str
) -> None:
    where, told = refused(tmp_path, declaration(argument))
    assert where == f"line {LINE_OF_ARGUMENT + line}"
    assert any(words in told for words in said.split("|")), told


@pytest.mark.parametrize(
    ("changes", "line", "said"),
    [
        ({"name": '"Orders 1"'}, 1, "lower-case"),
        ({"version": '"1.0"'}, 2, "such as 1.0.0"),
        ({"owner": '" "'}, 3, "owner is empty"),
        ({"keys": '["/orders/*.csv"]'}, 5, "write it without a / in front"),
        ({"keys": '"orders/*.csv"'}, 5, "give a list"),
        ({"schema": "Ordre"}, 6, "name 'Ordre' is not defined"),
    ],
)
def test_a_mistake_in_a_required_field_is_told_with_its_line(
    tmp_path: Path, changes: dict[str, str], line: int, said: str
) -> None:
    where, told = refused(tmp_path, declaration("", **changes))
    assert where == f"line {LINE_OF_CONTRACT + line}"
    assert said in told


def test_missing_null_needs_a_column_that_may_be_null(tmp_path: Path) -> None:
    text = declaration("columns=Columns(missing='null'),")
    load(tmp_path, text)
    where, told = refused(tmp_path, text.replace(" = pa.Field(nullable=True)", ""))
    assert where == f"line {LINE_OF_ARGUMENT}"
    assert "nullable=True" in told


def test_every_mistake_is_told_not_only_the_first(tmp_path: Path) -> None:
    with pytest.raises(ContractError) as caught:
        load(tmp_path, declaration("budget=Budget(max_rows=-1), load=Append,", owner='""'))
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("x = 1\ny = (\n", 2, "not Python"),
        ("import nothing_of_this_name\n", 1, "ModuleNotFoundError"),
        ("def f():\n    return 1 / 0\n\nf()\n", 2, "ZeroDivisionError"),
    ],
)
def test_what_the_import_raises_is_told_with_its_line(
    tmp_path: Path, text: str, line: int, said: str
) -> None:
    where, told = refused(tmp_path, text)
    assert where == f"line {line}"
    assert said in told


def test_a_wrong_schema_names_the_schema(tmp_path: Path) -> None:
    where, told = refused(tmp_path, declaration("").replace("order_id: int", "order_id: 'nonsense'"))
    assert where == f"line {LINE_OF_CONTRACT + 6}"
    assert "the schema Order is wrong" in told


def test_a_package_that_is_not_there_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="Make a folder contracts_that_are_not"):
        load_registry("contracts_that_are_not", tmp_path)


def test_a_mistake_in_a_module_beside_is_told_there(tmp_path: Path) -> None:
    package = tmp_path / f"contracts_{uuid.uuid4().hex}"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "_shared.py").write_text(
        "from tidegate.contracts import Dialect\n\nours = Dialect(quote='')\n"
    )
    (package / "orders.py").write_text(
        f"from {package.name}._shared import ours\n" + declaration("dialect=ours,")
    )
    with pytest.raises(ContractError, match=r"/_shared\.py, line 3: Dialect\(quote=''\)"):
        load_registry(package.name, tmp_path)


def test_a_single_file_is_judged_alike(tmp_path: Path) -> None:
    file = tmp_path / f"orders_{uuid.uuid4().hex}.py"
    file.write_text(declaration("budget=Budget(max_rows=-1),"))
    with pytest.raises(ContractError, match=rf"{file.name}, line {LINE_OF_ARGUMENT}: .*use 0 or more"):
        load_contract(file)


def test_names_that_differ_only_in_capitals_are_one_where_capitals_are_ignored(tmp_path: Path) -> None:
    text = declaration("columns=Columns(ignore_case=True),").replace("    note:", "    Note: str\n    note:")
    _, told = refused(tmp_path, text)
    assert "makes 'Note' and 'note' one name" in told


def test_datasets_that_wait_for_each_other_are_told(tmp_path: Path) -> None:
    package = tmp_path / f"contracts_{uuid.uuid4().hex}"
    package.mkdir()
    (package / "__init__.py").touch()
    for own, other in (("orders", "shops"), ("shops", "towns"), ("towns", "orders")):
        lookup = f"enrich=[Lookup(dataset='{other}', on={{'order_id': 'order_id'}}, take={{}})],"
        text = declaration(lookup, name=f'"{own}"', keys=f'["{own}/*.csv"]')
        (package / f"{own}.py").write_text(text)
    with pytest.raises(ContractError, match="orders -> shops -> towns -> orders"):
        load_registry(package.name, tmp_path)
