"""kill -9 at each place where it hurts most; then every count is exact and every object final."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.e2e.system import EXAMPLES, System, drop_examples, kill, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

FLIGHTS = (EXAMPLES / "flights/flights-2013-01-01.csv").read_text()


@pytest.fixture(scope="module")
def running(make_system: Callable[..., System]) -> System:
    system = make_system()
    system.up()
    drop_examples(system, [str(file) for file in EXAMPLES.glob("*/*.csv") if file.parent.name != "flights"])
    system.wait()
    return system


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
