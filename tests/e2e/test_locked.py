"""The warehouse held by somebody else past the wait; then the retry that a person makes in the UI."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from tests.e2e.system import EXAMPLES, System, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

HOLD = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"


def test_the_run_fails_naming_the_holder_and_its_retry_loads_everything_once(
    make_system: Callable[..., System],
) -> None:
    system = make_system("[warehouse]\nlock_timeout_seconds = 2.0\n")
    system.up()
    system.run("drop", str(EXAMPLES / "airlines/airlines.csv"), "--to", "airlines")
    system.wait()
    path = str(system.root / ".tidegate/warehouse.duckdb")
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        system.run("drop", str(EXAMPLES / "planes/planes.csv"), "--to", "planes")
        system.wait(ok=(1,))
        entry = system.object("planes/planes.csv")
        assert entry["state"] == "failed"
        assert str(holder.pid) in entry["reason"]
        run = f"/flow_runs/{entry['flow_run_id']}"
        assert str(holder.pid) in system.api(run)["state"]["message"]
        holder.communicate("")
    retry = {"type": "SCHEDULED", "name": "AwaitingRetry", "message": "Retry from the UI"}
    system.api(f"{run}/set_state", {"state": retry, "force": True})
    wait_for(lambda: system.api(run)["state"]["type"] == "COMPLETED", 60, "the retry did not complete")
    assert system.count("planes") == 3322
    assert system.object("planes/planes.csv")["state"] == "loaded"
    cached = system.api(
        "/task_runs/filter",
        {
            "flow_runs": {"id": {"any_": [entry["flow_run_id"]]}},
            "task_runs": {"state": {"name": {"any_": ["Cached"]}}},
        },
    )
    assert {one["name"].partition("-")[0] for one in cached} == {"validate", "normalize", "enrich"}
