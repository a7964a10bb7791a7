"""kill -9 at each place where it hurts most; then every count is exact and every object final.

So too in a redrive, after a contract was mended.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.e2e.system import EXAMPLES, System, drop_examples, kill, wait_for

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
FLIGHTS = (EXAMPLES / "flights/flights-2013-01-01.csv").read_text()


@pytest.fixture(scope="module")
def running(make_system: Callable[..., System]) -> System:
    system = make_system()
    write_contract(system, 1, "1.0.0")
    system.up()
    drop_examples(system, [str(file) for file in EXAMPLES.glob("*/*.csv") if file.parent.name != "flights"])
    system.wait()
    return system


def write_contract(system: System, least: int, version: str) -> None:
    (system.root / "data_contracts" / "orders.py").write_text(CONTRACT.format(least=least, version=version))


def flights_of(year: int) -> str:
    return FLIGHTS.replace("\n2013,", f"\n{year},")


def worker_of(system: System) -> psutil.Process:
    processes = json.loads((system.root / ".tidegate/run/up.json").read_text())["processes"]
    return psutil.Process(next(one["pid"] for one in processes if one["name"] == "worker"))


PLACES = {
    "after the claim": ("tidegate.operations.ingest:claim", "after"),
    "after validate": ("tidegate.operations.ingest:validate_batch", "after"),
    "while loading, before the commit": ("tidegate.warehouse.connection:commit", "before"),
    "after the commit, before the ledger knows": ("tidegate.operations.outcomes:tell", "before"),
}
REDRIVE_PLACES = {
    place: PLACES[place]
    for place in ("while loading, before the commit", "after the commit, before the ledger knows")
}


@pytest.mark.parametrize("also_worker", [False, True], ids=["run", "run and worker"])
@pytest.mark.parametrize("place", PLACES)
def test_a_killed_run_leaves_nothing_lost_and_nothing_twice(
    running: System, place: str, also_worker: bool
) -> None:
    year = 2001 + 2 * list(PLACES).index(place) + also_worker
    running.stop_at(*PLACES[place])
    keys = [f"flights/{year}-{n}.csv" for n in range(3)]
    for n, key in enumerate(keys):
        running.put(key, flights_of(year).replace("\n" + str(year) + ",1,1,", f"\n{year},1,{n + 1},"))
    stopped = running.stopped()
    run = f"/flow_runs/{running.object(keys[0])['flow_run_id']}"
    if also_worker:
        kill(worker_of(running))
    kill(stopped)
    wait_for(lambda: running.api(run)["state"]["name"] == "Crashed", 10, "the run is not shown as crashed")
    running.wait()
    assert [running.object(key)["state"] for key in keys] == ["loaded"] * 3
    days = running.query(
        f"SELECT day, count(*) AS n FROM flights WHERE year = {year} GROUP BY day ORDER BY day"
    )
    assert [(row["day"], row["n"]) for row in days] == [(1, 842), (2, 842), (3, 842)]


@pytest.mark.parametrize("when", ["before", "after"], ids=["received", "recorded"])
def test_a_killed_source_loses_no_upload(running: System, when: str) -> None:
    year = 2020 + (when == "after")
    running.stop_at("tidegate.operations.record:record_uploads", when)
    running.put(f"flights/{year}.csv", flights_of(year))
    kill(running.stopped())
    wait_for(lambda: f"flights/{year}.csv" in running.states(), 60, "the upload was lost")
    running.wait()
    assert running.count(f"flights WHERE year = {year}") == 842


def test_a_killed_prefect_server_comes_back_and_uploads_meanwhile_are_loaded(running: System) -> None:
    state = json.loads((running.root / ".tidegate/run/up.json").read_text())
    server = psutil.Process(next(one["pid"] for one in state["processes"] if one["name"] == "server"))
    kill(server)
    running.put("flights/2030.csv", flights_of(2030))
    wait_for(lambda: "flights/2030.csv" in running.states(), 60, "the upload was not recorded")
    running.wait(timeout=180)
    assert running.count("flights WHERE year = 2030") == 842
    after = json.loads((running.root / ".tidegate/run/up.json").read_text())
    assert after["api_url"] == state["api_url"]


def key_of(place: str) -> str:
    return f"orders/{list(REDRIVE_PLACES).index(place)}.csv"


@pytest.fixture(scope="module")
def mended(running: System) -> System:
    """Each object has two good rows, one that the mended contract lets pass, and one that it does not."""
    for place in REDRIVE_PLACES:
        running.put(key_of(place), "order_id,shop\n1,A\n-1,B\n2,C\n-9,D\n")
    running.wait()
    # While everything runs: the worker's children have the contract imported.
    write_contract(running, -5, "1.1.0")
    return running


@pytest.mark.parametrize("place", REDRIVE_PLACES)
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

    mended.stop_at(*REDRIVE_PLACES[place])
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
