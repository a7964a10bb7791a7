from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import polars as pl
import pytest
from typer.testing import CliRunner

import tidegate
from tidegate.cli.app import app
from tidegate.errors import ContractError

if TYPE_CHECKING:
    from pathlib import Path

CONTRACT = """
import pandera.polars as pa
from tidegate.contracts import Contract, ControlTotals, Dialect

class Order(pa.DataFrameModel):
    order_id: int = pa.Field(ge=1)
    shop: str

orders = Contract(
    name="orders", version="1.0.0", owner="sales", description="Orders.", keys=["orders/*.csv"], schema=Order,
    dialect=Dialect(footer="TOTAL"), totals=ControlTotals(trailer=r"TOTAL,(?P<rows>\\d+),(?P<order_id>\\d+)"),
)
"""


@pytest.fixture
def contract(tmp_path: Path) -> str:
    file = tmp_path / "orders_contract.py"
    file.write_text(CONTRACT)
    return str(file)


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["check", *map(str, arguments)])
    return result.exit_code, result.output


def test_a_good_file_is_accepted(tmp_path: Path, contract: str) -> None:
    file = tmp_path / "good.csv"
    file.write_text("order_id,shop\n1,A\n2,B\nTOTAL,2,3\n")
    out = tmp_path / "out.parquet"
    code, text = run(file, "--contract", contract, "--accepted", out, "--output", "json")
    assert code == 0, text
    report = json.loads(text)
    assert (report["verdict"], report["rows_accepted"]) == ("accepted", 2)
    assert report["lines"] == {"accepted": 2, "header": 1, "footer": 1}
    assert pl.read_parquet(out).rows() == [(1, "A"), (2, "B")]


def test_refused_rows_are_told_with_line_and_reason(tmp_path: Path, contract: str) -> None:
    file = tmp_path / "bad.csv"
    file.write_text('order_id,shop\n1,"two\nlines"\nx,=B\nTOTAL,2,1\n')
    out = tmp_path / "refused.csv"
    code, text = run(file, "--contract", contract, "--rejected", out, "--output", "json")
    assert code == 3
    (rejection,) = json.loads(text)["rejections"]
    assert (rejection["record"], rejection["line"], rejection["column"]) == (2, 4, "order_id")
    assert rejection["raw"] == "x,=B"
    assert "x,=B" in out.read_text(encoding="utf-8-sig")


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        ("order_id,shop\n1,A\nTOTAL,2,1\n", "control_total"),
        ("order_id,shop\n1,A\nTOTAL,1,2\n", "control_total"),
        ("order_id,shop\n1,A\n", "control_total"),
        ("order,shop\n1,A\nTOTAL,1,1\n", "header"),
    ],
)
def test_a_file_that_would_be_held_is_refused_whole(
    tmp_path: Path, contract: str, content: str, rule: str
) -> None:
    file = tmp_path / "held.csv"
    file.write_text(content)
    code, text = run(file, "--contract", contract, "--output", "json")
    report = json.loads(text)
    assert (code, report["verdict"], report["rule"], report["rows_accepted"]) == (3, "held", rule, 0)


def test_a_file_that_is_not_there_is_a_mistake_in_the_call(tmp_path: Path, contract: str) -> None:
    code, text = run(tmp_path / "nowhere.csv", "--contract", contract)
    assert code == 2
    assert "is not there" in text


def test_checking_imports_no_server_no_ledger_and_no_warehouse(tmp_path: Path, contract: str) -> None:
    file = tmp_path / "good.csv"
    file.write_text("order_id,shop\n1,A\nTOTAL,1,1\n")
    program = (
        "import sys; from typer.testing import CliRunner; from tidegate.cli.app import app; "
        f"code = CliRunner().invoke(app, ['check', {str(file)!r}, '--contract', {contract!r}]).exit_code; "
        "print(code, sorted({'prefect', 'sqlalchemy', 'duckdb'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "0 []"


def test_the_python_call_takes_a_contract_by_its_file_or_dataset(
    tmp_path: Path, contract: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdict = tidegate.check(b"order_id,shop\n1,A\nTOTAL,1,1\n", contract)
    assert verdict.ok
    package = tmp_path / "contracts_by_name"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "orders.py").write_text(CONTRACT)
    (tmp_path / "tidegate.toml").write_text('contracts = "contracts_by_name"\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    assert tidegate.check(b"order_id,shop\n1,A\nTOTAL,1,1\n", "orders").report["rows_accepted"] == 1
    with pytest.raises(ContractError, match="No data contract declares the dataset 'order'"):
        tidegate.check(b"", "order")
