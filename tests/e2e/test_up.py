"""`tidegate up` with the real server and worker: through kills, beside another, and when it can't start."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests.e2e.conftest import processes_of
from tests.e2e.system import System, kill, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FLOW = """
import time
from prefect import flow

@flow
def nap(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.05)
"""
DEPLOYMENTS = """
name: naps
deployments:
- name: short
  entrypoint: flows.naps.nap
  work_pool: {name: tidegate}
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A person's home, with a Prefect profile that would lead every client astray."""
    home = tmp_path_factory.mktemp("home")
    (home / ".prefect").mkdir()
    (home / ".prefect" / "profiles.toml").write_text(
        'active = "theirs"\n[profiles.theirs]\nPREFECT_API_URL = "http://127.0.0.1:9/api"\n'
    )
    return home


@pytest.fixture(scope="module")
def napping(make_system: Callable[..., System], home: Path) -> System:
    """A running project with nothing but a flow that sleeps."""
    system = make_system(HOME=str(home), PREFECT_PROFILE="theirs")
    (system.root / "flows" / "naps.py").write_text(FLOW)
    (system.root / "prefect.yaml").write_text(DEPLOYMENTS)
    system.up()
    return system


def state(system: System) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((system.root / ".tidegate/run/up.json").read_text())
    return found


def process(system: System, name: str) -> psutil.Process:
    return psutil.Process(next(one["pid"] for one in state(system)["processes"] if one["name"] == name))


def are_running(system: System, names: tuple[str, ...] = ("server", "dispatcher", "worker")) -> bool:
    return {one["name"]: one["state"] for one in state(system)["processes"]} == dict.fromkeys(
        names, "running"
    )


def restarts(system: System, name: str) -> int:
    return int(next(one["restarts"] for one in state(system)["processes"] if one["name"] == name))


def start_nap(system: System, seconds: float) -> str:
    deployment = system.api("/deployments/name/nap/short")
    run = system.api(f"/deployments/{deployment['id']}/create_flow_run", {"parameters": {"seconds": seconds}})
    return str(run["id"])


def state_of(system: System, run: str) -> str:
    found = system.api(f"/flow_runs/{run}")
    return str(found["state"]["name"])


def test_up_again_says_where_it_is(napping: System) -> None:
    before = state(napping)
    told = json.loads(napping.run("up", "--detach", "--output", "json"))
    assert told["already_running"]
    assert told["ui_url"] == before["ui_url"]
    assert told["ui_url"] in napping.run("up")
    assert state(napping) == before


def test_it_listens_on_the_loopback_only(napping: System) -> None:
    opened = [
        one.laddr.ip
        for one in process(napping, "server").net_connections()
        if one.status == psutil.CONN_LISTEN
    ]
    assert opened == ["127.0.0.1"]


def test_a_flow_runs_from_the_projects_folder(napping: System) -> None:
    run = start_nap(napping, 0)
    wait_for(lambda: state_of(napping, run) == "Completed", 60, "the flow did not complete")


@pytest.mark.parametrize("name", ["server", "worker", "dispatcher"])
def test_a_killed_process_comes_back(napping: System, name: str) -> None:
    times, address = restarts(napping, name), state(napping)["api_url"]
    kill(process(napping, name))
    wait_for(lambda: restarts(napping, name) > times and are_running(napping), 60, f"{name} stays away")
    assert state(napping)["api_url"] == address
    run = start_nap(napping, 0)
    wait_for(lambda: state_of(napping, run) == "Completed", 90, "nothing runs any more")


def test_down_lets_a_run_end_and_a_later_up_still_knows_it(napping: System) -> None:
    run = start_nap(napping, 4)
    wait_for(lambda: state_of(napping, run) == "Running", 60, "the flow did not start")
    napping.down()
    assert processes_of(napping) == []
    napping.up()
    assert state_of(napping, run) == "Completed"


def test_a_killed_supervisor_takes_its_processes_along(napping: System) -> None:
    kill(psutil.Process(state(napping)["pid"]))
    wait_for(lambda: processes_of(napping) == [], 30, "processes outlive their supervisor")
    assert "Nothing runs" in napping.run("down")
    napping.up()
    assert are_running(napping)


def test_a_persons_own_prefect_is_not_touched(napping: System, home: Path) -> None:
    assert are_running(napping)
    assert [path.name for path in home.rglob("*") if path.is_file()] == ["profiles.toml"]
    assert "theirs" not in (napping.root / ".tidegate/prefect/profiles.toml").read_text()


def test_two_ups_at_once_start_one_system_and_beside_that_of_another_project(
    napping: System, make_system: Callable[..., System]
) -> None:
    system = make_system()
    (system.root / "prefect.yaml").unlink()
    told: list[str] = []
    ups = [threading.Thread(target=lambda: told.append(system.run("up", "--detach"))) for _ in range(2)]
    for thread in ups:
        thread.start()
    for thread in ups:
        thread.join()
    assert len(told) == 2
    assert len({line.split("Prefect UI: ")[1] for line in told}) == 1
    assert sum("already" in line for line in told) == 1
    assert are_running(system)
    assert state(system)["api_url"] != state(napping)["api_url"]
    system.down()
    assert processes_of(system) == []
    assert are_running(napping)


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("prefect.yaml", DEPLOYMENTS.replace("naps.nap", "naps.nothing"), "nothing"),
        ("data_contracts/broken.py", "import time\ntime.sleep(3)\n1 / 0", "data_contracts/broken.py, line 3"),
    ],
    ids=["deployments", "contracts"],
)
def test_what_cannot_start_says_why_and_leaves_nothing_running(
    make_system: Callable[..., System], file: str, text: str, said: str
) -> None:
    system = make_system()
    (system.root / "flows" / "naps.py").write_text(FLOW)
    (system.root / file).write_text(text)
    system.put("something.csv", "a file that needs the contracts")
    done = subprocess.run(
        [sys.executable, "-m", "tidegate.cli.app", "up", "--detach"],
        cwd=system.root,
        env=system.env(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert "could not be started" in done.stderr
    assert said in done.stderr
    assert processes_of(system) == []


def test_ctrl_c_ends_what_was_started_in_the_foreground(make_system: Callable[..., System]) -> None:
    system = make_system(first_start=True)
    (system.root / "prefect.yaml").unlink()
    up = subprocess.Popen(
        [sys.executable, "-m", "tidegate.cli.app", "up"],
        cwd=system.root,
        env=system.env(),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert up.stdout is not None
    with up.stdout as lines:
        assert any("Prefect UI: http" in line for line in lines)
        began = time.monotonic()
        # A terminal sends it to the whole group.
        os.killpg(up.pid, signal.SIGINT)
        assert up.wait(60) == 0
    assert time.monotonic() - began < 30
    assert processes_of(system) == []
