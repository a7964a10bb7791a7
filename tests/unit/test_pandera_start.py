"""A check starts without what Pandera takes along; what comes out stays the same."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

CONTRACT = """
import pandera.polars as pa
from tidegate.contracts import Contract
{extra}
class Order(pa.DataFrameModel):
    order_id: int = pa.Field(ge=1)
    shop: str = pa.Field(isin=["A", "B"], str_length={{"max_value": 3}})

orders = Contract(name="orders", version="1.0.0", owner="o", description="d", keys=["*"], schema=Order)
"""
CHECK = """
import contextlib, json, sys
from tidegate.cli.app import app
with contextlib.suppress(SystemExit):
    app(["check", sys.argv[1], "--contract", sys.argv[2], "--output", "json"])
print(json.dumps([name for name in ("pandas", "hypothesis", "prefect", "sqlalchemy") if name in sys.modules]))
"""


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ("", []),
        ("import pandas; import pandera.pandas; pandera.pandas.Column(int)", ["pandas", "hypothesis"]),
    ],
)
def test_pandera_comes_without_pandas_unless_a_contract_wants_it(
    tmp_path: Path, extra: str, expected: list[str]
) -> None:
    contract, file = tmp_path / "orders.py", tmp_path / "orders.csv"
    contract.write_text(CONTRACT.format(extra=extra))
    file.write_text("order_id,shop\n1,A\n0,CCCC\n")
    done = subprocess.run(
        [sys.executable, "-c", CHECK, file, contract], capture_output=True, text=True, check=True
    )
    report, _, imported = done.stdout.rpartition("\n[")
    assert json.loads(f"[{imported}") == expected
    assert [(one["column"], one["line"]) for one in json.loads(report)["rejections"]] == [
        ("order_id", 3),
        ("shop", 3),
        ("shop", 3),
    ]
