"""A contract is mended and what was held is redriven; kill -9 in the middle changes nothing of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.system import System, kill, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

CONTRACT = """
import pandera.polars as pa

from tidegate.contracts import Append, Contract


class Order(pa.DataFrameModel):
    order_id: int = pa.Field(ge={least})
    shop: str


orders = Contract(
    name="orders", version="{version}", owner="sales", description="Orders.", keys=["orders/*.csv"],
    schema=Order, load=Append(),
)
"""
PLACES = {
    "while loading, before the commit": ("tidegate.warehouse.connection:commit", "before"),
    "after the commit, before the ledger knows": ("tidegate.operations.outcomes:tell", "before"),
}


def write_contract(system: System, least: int, version: str) -> None:
    (system.root / "data_contracts" / "orders.py").write_text(CONTRACT.format(least=least, version=version))


def key_of(place: str) -> str:
    return f"orders/{list(PLACES).index(place)}.csv"


@pytest.fixture(scope="module")
def mended(make_system: Callable[..., System]) -> System:
    """Each object has two good rows, one that the mended contract lets pass, and one that it does not."""
    system = make_system()
    write_contract(system, 1, "1.0.0")
    system.up()
    for place in PLACES:
        system.put(key_of(place), "order_id,shop\n1,A\n-1,B\n2,C\n-9,D\n")
    system.wait()
    # While everything runs: the worker's children have the contract imported.
    write_contract(system, -5, "1.1.0")
    return system


@pytest.mark.parametrize("place", PLACES)
def test_a_redrive_that_is_killed_loads_each_held_row_once_and_no_good_row_again(
    mended: System, place: str
) -> None:
    key = key_of(place)
    object_id = mended.object(key)["object_id"]
    table = (
        "SELECT order_id, shop, _record, _contract_version, _loaded_at FROM orders "
        f"WHERE _object_id = '{object_id}' ORDER BY _record"
    )
    before = mended.query(table)
    assert [row["order_id"] for row in before] == [1, 2]
    (held,) = mended.json("quarantine", "ls", "--object", key)
    assert (held["rows"], held["contract_version"]) == (2, "1.0.0")

    mended.stop_at(*PLACES[place])
    taken = mended.json("quarantine", "redrive", "--object", key)
    assert [one["key"] for one in taken["objects"]] == [key]
    kill(mended.stopped())
    mended.wait()

    after = mended.query(table)
    assert [row["order_id"] for row in after] == [1, -1, 2]
    assert [row for row in after if row["_contract_version"] == "1.0.0"] == before
    entry = mended.object(key)
    assert (entry["state"], entry["rows_read"]) == ("loaded", 4)
    assert (entry["rows_loaded"], entry["rows_rejected"]) == (3, 1)
    entries = mended.query(
        "SELECT record, closed_reason, contract_version, closed_contract_version "
        f"FROM tidegate.rejected_rows WHERE object_id = '{object_id}' ORDER BY attempt, record"
    )
    assert [tuple(row.values()) for row in entries] == [
        (2, "redriven", "1.0.0", "1.1.0"),
        (4, "tried_again", "1.0.0", "1.1.0"),
        (4, None, "1.1.0", None),
    ]
    report = Path(entry["report"].removeprefix("file://")) / "report.json"
    assert [one["record"] for one in json.loads(report.read_text())["rejections"]] == [4]


def test_the_redrive_can_be_started_in_prefect(mended: System) -> None:
    deployment = mended.api("/deployments/name/redrive/on-demand")
    assert [schedule["active"] for schedule in deployment["schedules"]] == [False]
    body = {"parameters": {"dataset": "orders", "dry_run": True}, "state": {"type": "SCHEDULED"}}
    run = mended.api(f"/deployments/{deployment['id']}/create_flow_run", body)
    state: dict[str, str] = {}

    def is_over() -> bool:
        state.update(mended.api(f"/flow_runs/{run['id']}")["state"])
        return state["type"] in {"COMPLETED", "FAILED", "CRASHED"}

    wait_for(is_over, 60, "the run did not end")
    assert (state["type"], state["message"]) == (
        "COMPLETED",
        "2 rows of 2 objects would be taken up.",
    )
