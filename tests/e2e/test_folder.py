"""The main job on a folder: drop, wait, query, why; the same again; and what suppliers get wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e.system import EXAMPLE_ROWS, EXAMPLES, System, drop_examples, wait_for
from tidegate.operations.progress import LARGE_BYTES

FLIGHTS_HEADER = (EXAMPLES / "flights/flights-2013-01-01.csv").read_text().splitlines()[0]


def artifacts_of(system: System, run_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = system.api(
        "/artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run_id]}}}
    )
    return found


def test_every_row_of_the_examples_is_loaded_and_enriched(loaded: System) -> None:
    assert loaded.counts() == EXAMPLE_ROWS
    (row,) = loaded.query(
        "SELECT airline, origin_airport, dest_airport, plane_maker, plane_age, temp, _record "
        "FROM flights WHERE carrier = 'UA' AND flight = 1545 AND day = 1"
    )
    assert row == {
        "airline": "United Air Lines Inc.",
        "origin_airport": "Newark Liberty Intl",
        "dest_airport": "George Bush Intercontinental",
        "plane_maker": "BOEING",
        "plane_age": 14,
        "temp": 39.02,
        "_record": 1,
    }


def test_the_same_files_again_change_nothing(loaded: System) -> None:
    before = loaded.counts()
    drop_examples(loaded, [str(file) for file in sorted(EXAMPLES.glob("*/*0[1-7].csv"))])
    loaded.wait()
    assert loaded.counts() == before
    assert loaded.object("flights/flights-2013-01-01.csv")["state"] == "duplicate"


def test_bad_rows_are_refused_with_their_reasons_and_good_ones_loaded(loaded: System) -> None:
    before = loaded.count("flights")
    bad = EXAMPLES / "flights" / "flights-2013-01-09-bad-rows.csv"
    loaded.run("drop", str(bad), "--to", "flights")
    loaded.wait()
    entry = loaded.object(f"flights/{bad.name}")
    assert (entry["rows_read"], entry["rows_loaded"], entry["rows_rejected"]) == (902, 896, 6)
    assert loaded.count("flights") == before + 896
    refused = loaded.query(
        'SELECT record, "column", rule, value FROM tidegate.rejected_rows '
        f"WHERE object_id = '{entry['object_id']}' ORDER BY record"
    )
    assert [(row["record"], row["column"], row["value"]) for row in refused] == [
        (56, "time_hour", "yesterday"),
        (122, "distance", "far"),
        (287, "distance", "-529"),
        (410, "month", "13"),
        (559, None, None),
        (699, "carrier", None),
    ]


def test_why_tells_the_whole_story(loaded: System) -> None:
    (story,) = loaded.json("why", "planes/planes.csv")
    kinds = [event["type"].split(".")[2] for event in story["events"]]
    assert kinds == ["uploaded", "claimed", "validated", "normalized", "enriched", "loaded"]
    assert {event["correlationid"] for event in story["events"]} == {story["events"][0]["id"]}
    assert story["flow_run_url"].endswith(story["flow_run_id"])
    assert "3,322" in loaded.run("why", "planes/planes.csv")


BAD_INPUT = {
    "flights/empty.csv": ("", "empty"),
    "flights/wrong-header.csv": ("a,b\n1,2\n", "header does not fit contract"),
    "stray/notes.txt": ("hello", "No data contract matches"),
}


EXPECTED_STATES = {
    "flights/empty.csv": "quarantined",
    "flights/wrong-header.csv": "quarantined",
    "flights/folder.csv": "quarantined",
    "flights/zeros.csv": "quarantined",
    "flights/deleted.csv": "quarantined",
    "flights/header-only.csv": "loaded",
    "flights/good.csv": "loaded",
    "stray/notes.txt": "unmatched",
}


def test_bad_input_ends_in_a_named_state_with_a_reason_and_blocks_nothing(loaded: System) -> None:
    before = loaded.count("flights")
    good = (EXAMPLES / "flights/flights-2013-01-01.csv").read_text().replace("\n2013,", "\n2012,")
    loaded.stop_at("tidegate.operations.ingest:claim", "after")
    deleted = loaded.put("flights/deleted.csv", good)
    for key, (content, _) in BAD_INPUT.items():
        loaded.put(key, content)
    loaded.put("flights/header-only.csv", FLIGHTS_HEADER + "\n")
    (loaded.landing / "flights/folder.csv").mkdir()
    zeros = loaded.landing / "flights/.zeros.part"
    with zeros.open("wb") as file:
        file.truncate(2 * 1024**3)
    zeros.rename(zeros.with_name("zeros.csv"))
    loaded.put("flights/good.csv", good)
    claimed = loaded.stopped()
    deleted.unlink()
    claimed.resume()
    wait_for(lambda: "flights/folder.csv" in loaded.states(), 30, "the folder was not noticed")
    loaded.wait(ok=(3,))
    for key, (_, said) in BAD_INPUT.items():
        assert said in loaded.object(key)["reason"]
        assert said in " ".join(loaded.run("why", key).split())
    states = loaded.states()
    assert {key: states[key] for key in EXPECTED_STATES} == EXPECTED_STATES
    assert "folder" in loaded.object("flights/folder.csv")["reason"]
    assert "NUL" in loaded.object("flights/zeros.csv")["reason"]
    assert loaded.object("flights/header-only.csv")["rows_read"] == 0
    assert loaded.count("flights") == before + 842


def test_a_run_with_a_held_object_ends_red_and_named(loaded: System) -> None:
    run_id = loaded.object("flights/wrong-header.csv")["flow_run_id"]
    run = loaded.api(f"/flow_runs/{run_id}")
    assert (run["state"]["type"], run["state"]["name"]) == ("FAILED", "Quarantined")
    assert "header does not fit" in run["state"]["message"]
    (table,) = [one for one in artifacts_of(loaded, run_id) if one["type"] == "table"]
    rows = json.loads(table["data"])
    assert {row["object"]: row["state"] for row in rows}["flights/wrong-header.csv"] == "quarantined"


def test_events_reach_prefects_feed_under_their_own_ids(loaded: System) -> None:
    (story,) = loaded.json("why", "planes/planes.csv")
    wanted = {event["id"] for event in story["events"]}

    def delivered() -> bool:
        body = {
            "filter": {
                "event": {"prefix": ["tidegate."]},
                "resource": {"id": [f"tidegate.object.{story['object_id']}"]},
            },
            "limit": 50,
        }
        return wanted <= {event["id"] for event in loaded.api("/events/filter", body)["events"]}

    wait_for(delivered, 30, "events are missing from the feed")


def test_the_deployments_stand_with_their_schedules(loaded: System) -> None:
    deployments = loaded.api("/deployments/filter", {})
    schedules = {
        one["name"]: [(schedule["schedule"]["cron"], schedule["active"]) for schedule in one["schedules"]]
        for one in deployments
    }
    assert schedules == {
        "live": [],
        "hourly": [("7 * * * *", True)],
        "nightly": [("23 2 * * *", True)],
        "on-demand": [("53 2 * * *", False)],
    }
    wait_for(
        lambda: loaded.api("/flow_runs/filter", {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}),
        60,
        "the scheduler made no run",
    )


def test_a_backfill_over_loaded_objects_changes_no_row_count(loaded: System) -> None:
    before = loaded.counts()
    plan = loaded.json("backfill", "plan", "--dataset", "flights", "--prefix", "flights/flights-2013-01-0")
    assert len(plan["objects"]) == 8
    chosen = loaded.json("backfill", "run", "--dataset", "flights", "--prefix", "flights/flights-2013-01-0")
    assert chosen["changed"]
    loaded.run("wait", ok=(0, 3))
    assert loaded.counts() == before
    again = loaded.json("objects", "--prefix", "flights/flights-2013-01-02.csv", "--state", "loaded")
    assert [entry["attempt"] for entry in again] == [2]


@pytest.mark.parametrize("name", ["hourly", "nightly"])
def test_the_deployed_flows_run(loaded: System, name: str) -> None:
    flow = {"hourly": "reconcile", "nightly": "backfill"}[name]
    deployment = loaded.api(f"/deployments/name/{flow}/{name}")
    run = loaded.api(f"/deployments/{deployment['id']}/create_flow_run", {"state": {"type": "SCHEDULED"}})

    def final() -> bool:
        return loaded.api(f"/flow_runs/{run['id']}")["state"]["type"] in ("COMPLETED", "FAILED", "CRASHED")

    wait_for(final, 60, "the run did not end")
    assert loaded.api(f"/flow_runs/{run['id']}")["state"]["type"] == "COMPLETED"


def test_the_ledger_rebuilt_is_the_same(loaded: System) -> None:
    before = loaded.json("objects", "--limit", "100000")
    loaded.run("ledger", "rebuild")
    assert loaded.json("objects", "--limit", "100000") == before


def test_files_that_came_while_nothing_ran_are_found_by_reconcile_and_at_start(loaded: System) -> None:
    file = (EXAMPLES / "flights/flights-2013-01-03.csv").read_text()
    loaded.down()
    loaded.put("flights/reconciled.csv", file.replace("\n2013,", "\n2010,"))
    assert [loaded.json("reconcile")["recorded"] for _ in range(2)] == [1, 0]
    loaded.put("flights/scanned.csv", file.replace("\n2013,", "\n2011,"))
    loaded.up()
    wait_for(lambda: "flights/scanned.csv" in loaded.states(), 30, "the file was not found")
    loaded.run("wait", ok=(0, 3))
    for name, via in (("reconciled", "reconcile"), ("scanned", "scan")):
        entry = loaded.object(f"flights/{name}.csv")
        assert (entry["state"], entry["via"]) == ("loaded", via)
    assert loaded.count("flights WHERE year IN (2010, 2011)") == 2 * 914


def test_a_large_object_has_a_progress_artifact(loaded: System) -> None:
    header, rows = (EXAMPLES / "weather/weather-2013-01.csv").read_text().split("\n", 1)
    part = loaded.landing / "weather/.large.part"
    part.write_text(f"{header}\n" + rows * (LARGE_BYTES // len(rows) + 1))
    part.rename(part.with_name("large.csv"))
    wait_for(lambda: "weather/large.csv" in loaded.states(), 30, "the file was not noticed")
    loaded.run("wait", ok=(0, 3))
    entry = loaded.object("weather/large.csv")
    assert entry["state"] == "loaded"
    (artifact,) = [one for one in artifacts_of(loaded, entry["flow_run_id"]) if one["type"] == "progress"]
    assert (artifact["key"], artifact["data"]) == ("progress-weather", 100)
    assert artifact["description"] == "weather/large.csv: done."
    assert all(one["progress"] == [] for one in loaded.json("status", ok=(0, 3)))


FARES = """
import pandera.polars as pa
from tidegate.contracts import Append, Contract


class Fare(pa.DataFrameModel):
    carrier: str
    cents: int = pa.Field(ge=0)


fares = Contract(
    name="fares",
    version="1.0.0",
    owner="o",
    description="d",
    keys=["fares/*.csv"],
    schema=Fare,
    load=Append(),
)
"""


def test_a_dataset_is_added_while_the_system_runs(loaded: System) -> None:
    log = loaded.root / ".tidegate" / "logs" / "dispatcher.log"
    pid = dispatcher(loaded)["pid"]
    contract = loaded.root / "data_contracts" / "fares.py"
    contract.write_text(FARES.replace('"fares/*.csv"]', '"fares/*.csv"'))
    wait_for(lambda: "can't be used" in log.read_text(), 30, "the broken contract was not told")
    contract.write_text(FARES)
    told = "fares 1.0.0 is not recorded"
    wait_for(lambda: told in log.read_text(), 30, "the contract that is not recorded was not told")
    wait_for(lambda: "beginning anew" in log.read_text(), 30, "the mended contract was not read")
    loaded.put("fares/may.csv", "carrier,cents\nUA,100\nAA,250\n")
    loaded.wait()
    assert loaded.query("SELECT carrier, cents FROM fares ORDER BY cents") == [
        {"carrier": "UA", "cents": 100},
        {"carrier": "AA", "cents": 250},
    ]
    assert (dispatcher(loaded)["pid"], dispatcher(loaded)["restarts"]) == (pid, 0)


def dispatcher(system: System) -> dict[str, Any]:
    processes = json.loads((system.root / ".tidegate/run/up.json").read_text())["processes"]
    found: dict[str, Any] = next(one for one in processes if one["name"] == "dispatcher")
    return found
