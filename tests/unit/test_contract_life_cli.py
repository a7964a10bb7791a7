"""The commands about contracts: what they print for people and programs, and their exit codes.

Golden files hold what people see. To write them anew:
TIDEGATE_WRITE_GOLDEN=1 pytest tests/unit/test_contract_life_cli.py
"""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tidegate.cli.app import app

GOLDEN = Path(__file__).parents[1] / "golden" / "cli"
CONTRACT = """\
import pandera.polars as pa
import polars as pl

from tidegate.contracts import Budget, Contract, Merge


class Order(pa.DataFrameModel):
    order_id: int = pa.Field(unique=True, ge=1)
    status: str = pa.Field(isin=["open", "paid"])
    amount: float = pa.Field(nullable=True)


def add_tax(rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows.with_columns(tax=pl.col("amount") * 0.08)


orders = Contract(
    name="orders",
    version="1.0.0",
    owner="sales",
    description="Orders, one file a day.",
    keys=["orders/*.csv"],
    schema=Order,
    normalize=[add_tax],
    load=Merge(key=["order_id"]),
    budget=Budget(max_share=0.5),
)
"""


class Contracts:
    """A project's contracts. Python keeps what it imported, so each change is a package anew."""

    def __init__(self, root: Path, patch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.patch = patch
        self.folder = root

    def write(self, text: str) -> None:
        before = self.folder
        self.folder = self.root / f"contracts_{uuid.uuid4().hex}"
        if before == self.root:
            self.folder.mkdir()
        else:
            before.rename(self.folder)
        (self.folder / "__init__.py").touch()
        (self.folder / "orders.py").write_text(text)
        self.patch.setenv("TIDEGATE_CONTRACTS", self.folder.name)


@pytest.fixture
def contracts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Contracts:
    (tmp_path / "tidegate.toml").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    found = Contracts(tmp_path, monkeypatch)
    found.write(CONTRACT)
    return found


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["contracts", *words])


def document(*words: str, code: int = 0) -> Any:
    done = run(*words, "--output", "json")
    assert done.exit_code == code, done.output
    return json.loads(done.stdout)


def golden(name: str, shown: str) -> None:
    path = GOLDEN / f"{name}.txt"
    plain = "\n".join(line.rstrip() for line in shown.splitlines()) + "\n"
    if os.environ.get("TIDEGATE_WRITE_GOLDEN"):
        path.write_text(plain)
    assert plain == path.read_text()


def test_check_warns_of_contracts_that_match_one_key(contracts: Contracts) -> None:
    copy = CONTRACT.replace("orders", "others").replace("others/*.csv", "**/2026-*.csv")
    (contracts.folder / "others.py").write_text(copy)
    done = run("check", "--write")
    assert done.exit_code == 0, done.output
    assert done.stderr.startswith("Warning: ")
    assert "orders and others both match keys such as 'orders/2026-.csv'" in done.stderr
    assert document("check")[0]["warnings"]
    assert document("check")[1]["warnings"] == []


def test_check_records_holds_and_says_what_to_do(contracts: Contracts) -> None:
    first = run("check")
    assert first.exit_code == 1
    assert "orders 1.0.0 is not recorded; run tidegate contracts check --write" in first.stderr
    assert document("check", "--write")[0]["recorded"] is True
    assert (contracts.folder / "_versions" / "orders" / "1.0.0.json").exists()
    assert document("check") == [
        {
            "dataset": "orders",
            "version": "1.0.0",
            "ok": True,
            "recorded": False,
            "problems": [],
            "warnings": [],
        }
    ]

    contracts.write(CONTRACT.replace("ge=1)", "ge=2)"))
    done = run("check", "--write")
    assert done.exit_code == 1
    golden("contracts-check", done.stdout)
    assert f"{contracts.folder.name}/orders.py, line 19: orders changed without a step" in done.stderr
    assert "columns.order_id.greater_than_or_equal_to was 1, is 2" in done.stderr
    assert "at least 2.0.0 (breaking for suppliers)" in done.stderr

    contracts.write(CONTRACT.replace("ge=1)", "ge=2)").replace("1.0.0", "2.0.0"))
    assert run("check", "--write").exit_code == 0
    assert run("check").exit_code == 0


def test_check_tells_a_mistake_without_a_traceback(contracts: Contracts) -> None:
    contracts.write(CONTRACT.replace("max_share=0.5", "max_share=50"))
    done = run("check")
    assert done.exit_code == 1
    assert done.stderr == (
        f"Error: {contracts.folder.name}/orders.py, line 26: Contract 'orders': Budget(max_share=50) is no "
        "share; use a number from 0 to 1, such as 0.5.\n"
    )


def test_diff_shows_each_change_and_whom_it_breaks(contracts: Contracts) -> None:
    run("check", "--write")
    assert run("diff", "orders@1.0.0", "orders").stdout == "Nothing changed.\n"
    changed = (
        CONTRACT.replace('["open", "paid"]', '["open", "paid", "lost"]')
        .replace("amount: float = pa.Field(nullable=True)", "amount: float")
        .replace("tax=", "vat=")
        .replace('"sales"', '"shop"')
    )
    contracts.write(changed)
    done = run("diff", "orders@1.0.0", "orders")
    assert done.exit_code == 0
    golden("contracts-diff", done.stdout)
    found = document("diff", "orders@1.0.0", "orders")
    assert (found["breaking"], found["least_version"]) == (True, "2.0.0")
    assert {one["effect"] for one in found["changes"]} == {
        *("text", "compatible", "breaking for suppliers", "breaking for readers")
    }
    assert run("diff", "orders@1.0.0", "orders", "--fail-on", "breaking").exit_code == 1
    recorded = str(contracts.folder / "_versions" / "orders" / "1.0.0.json")
    assert document("diff", "orders@1.0.0", recorded)["changes"] == []


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("diff", "orders@9.0.0", "orders"), 2, "Recorded versions: none"),
        (("diff", "nothing", "orders"), 1, "Known datasets: orders"),
        (("diff", "missing.json", "orders"), 1, "can't be read as a recorded contract"),
        (("show", "nothing"), 1, "Known datasets: orders"),
        (("test", "orders"), 2, "nothing to try"),
    ],
)
@pytest.mark.usefixtures("contracts")
def test_what_is_not_there_is_a_sentence(words: tuple[str, ...], code: int, said: str) -> None:
    done = run(*words)
    assert done.exit_code == code
    assert said in done.stderr
    assert done.stdout == ""


@pytest.mark.usefixtures("contracts")
def test_show_for_people_and_for_programs() -> None:
    golden("contracts-show", run("show", "orders").stdout)
    assert run("show", "orders", "-f", "markdown").stdout.startswith("# orders\n")
    assert json.loads(run("show", "orders", "-f", "json").stdout)["format"] == 1
    assert json.loads(run("show", "orders", "-f", "json-schema").stdout)["type"] == "object"
    assert run("show", "orders", "-f", "odcs").stdout.startswith("apiVersion: v3.1.0\n")


@pytest.mark.usefixtures("contracts")
def test_docs_are_written_where_they_are_wanted(tmp_path: Path) -> None:
    found = document("docs", "--to", str(tmp_path / "pages"))
    assert [Path(name).name for name in found["files"]] == ["orders.md", "README.md"]
    assert "# orders" in (tmp_path / "pages" / "orders.md").read_text()


def test_infer_prints_or_writes_a_contract_that_then_is_one(contracts: Contracts) -> None:
    sample = contracts.root / "shops-2026-01-31.csv"
    sample.write_text('shop,opened\na,2020-01-31\nb,\n"c,2020-02-29\n')
    printed = run("infer", str(sample))
    assert printed.exit_code == 0
    assert "1 of 3 records are damaged" in printed.stderr
    assert "shops-2026-01-31.csv, line 4: '\"c,2020-02-29'. " in printed.stderr
    assert "Dialect(footer=…)" in printed.stderr
    assert 'name="shops"' in printed.stdout
    written = run("infer", str(sample), "--write")
    assert "shops.py written" in written.stdout
    assert (contracts.folder / "shops.py").read_text() == printed.stdout
    again = run("infer", str(sample), "--write")
    assert again.exit_code == 2
    assert "is left as it is" in again.stderr
    assert [one["dataset"] for one in document("check", "--write")] == ["orders", "shops"]
    # Before the first load, what is mended is recorded anew, as the module's comment says.
    (contracts.folder / "shops.py").write_text(printed.stdout.replace("pl.Date", "str"))
    contracts.write(CONTRACT)
    assert run("check", "--write").exit_code == 1
    (contracts.folder / "_versions" / "shops" / "1.0.0.json").unlink()
    assert run("check", "--write").exit_code == 0
    assert run("infer", str(sample), "--name", "Shops!").exit_code == 2
