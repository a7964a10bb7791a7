"""The warm worker with a real server: started from the command line, as a person would."""

from __future__ import annotations

import os
import signal
from collections import Counter
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.e2e.prefect_home import copy_prefect_home
from tests.e2e.warm_kit import FLOWS, DeafProxy, Kit, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Ends of a run, whichever it should be.
ENDS = ("Completed", "Failed", "Crashed", "Cancelled")


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory, used_prefect: Path) -> Iterator[Kit]:
    kit = Kit(tmp_path_factory.mktemp("warm"))
    copy_prefect_home(used_prefect, kit.folder / "prefect")
    try:
        kit.start_server()
        kit.make_pool(preload=["warm_flows"], grace_seconds=5, memory_limit_mb=400, runs_per_child=50)
        kit.deploy()
        # Polls so seldom that a run which starts soon was announced by an event.
        kit.start_worker(poll="60")
        kit.wait(kit.run("quick"), *ENDS)
        yield kit
    finally:
        kit.close()


def lines(kit: Kit, name: str = "quick.log") -> list[list[str]]:
    return [line.split() for line in (kit.folder / name).read_text().splitlines()]


def seconds_to_running(kit: Kit, run: str) -> float:
    times = {name: datetime.fromisoformat(time) for time, name in kit.history(run)}
    return (times["Running"] - times["Scheduled"]).total_seconds()


def alive(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def test_runs_start_at_once_and_share_a_process_but_not_its_environment(kit: Kit) -> None:
    runs = [kit.run("quick", n=0)]
    kit.wait(runs[0], *ENDS)
    runs.append(kit.run("quick", n=1))
    assert kit.wait(runs[1], *ENDS)["name"] == "Completed"
    (first, _, _), (second, _, left_behind) = lines(kit)[-2:]
    assert first == second
    assert left_behind == "x"
    assert max(seconds_to_running(kit, run) for run in runs) < 5


def test_an_async_flow_runs_too(kit: Kit) -> None:
    assert kit.wait(kit.run("quick_async"), *ENDS)["name"] == "Completed"


def test_a_failed_run_is_failed_and_a_retry_runs_it_again(kit: Kit) -> None:
    run = kit.run("failing")
    kit.wait(run, "Failed")
    kit.set_state(run, "SCHEDULED", "AwaitingRetry")
    until(lambda: [name for _, name in kit.history(run)].count("Failed") == 2, 30)


def test_a_child_that_crashes_is_reported_and_replaced(kit: Kit) -> None:
    crashed = kit.wait(kit.run("crashing"), *ENDS)
    assert crashed["name"] == "Crashed"
    assert f"-{signal.SIGSEGV.value}" in crashed["message"]
    assert kit.wait(kit.run("quick"), *ENDS)["name"] == "Completed"


def test_cancel_ends_the_child_and_runs_the_flows_hooks(kit: Kit) -> None:
    run = kit.run("slow")
    kit.wait(run, "Running")
    until((kit.folder / "slow.pid").exists, 10)
    kit.set_state(run, "CANCELLING")
    assert kit.wait(run, *ENDS)["name"] == "Cancelled"
    assert (kit.folder / "cancelled.log").read_text() == run
    pid = int((kit.folder / "slow.pid").read_text())
    until(lambda: not alive(pid), 10)


def test_cancel_kills_a_child_that_does_not_listen(kit: Kit) -> None:
    (kit.folder / "slow.pid").unlink(missing_ok=True)
    run = kit.run("slow", stubborn=True)
    until((kit.folder / "slow.pid").exists, 30)
    kit.set_state(run, "CANCELLING")
    assert kit.wait(run, *ENDS)["name"] == "Cancelled"
    pid = int((kit.folder / "slow.pid").read_text())
    until(lambda: not alive(pid), 10)


def test_a_suspended_run_stops_at_its_next_task(kit: Kit) -> None:
    run = kit.run("stepwise")
    until((kit.folder / "stepwise.begun").exists, 30)
    kit.set_state(run, "PAUSED", "Suspended")
    until(lambda: "The run did not go on: Pause" in kit.log("w"), 20)
    assert kit.state(run)["name"] == "Suspended"


def test_pull_steps_are_done_and_forgotten(kit: Kit) -> None:
    elsewhere = kit.folder / "elsewhere"
    elsewhere.mkdir()
    there = {"prefect.deployments.steps.set_working_directory": {"directory": str(elsewhere)}}
    touch = {"prefect.deployments.steps.run_shell_script": {"script": "touch pulled"}}
    kit.deploy(prefix="there-", names=("quick",), pull_steps=[there])
    kit.deploy(prefix="both-", names=("quick",), pull_steps=[there, touch])
    before = len(lines(kit))
    for name in ("there-quick", "both-quick", "quick"):
        assert kit.wait(kit.run(name), *ENDS)["name"] == "Completed"
    assert len((elsewhere / "quick.log").read_text().splitlines()) == 2
    assert (kit.folder / "pulled").exists() or (elsewhere / "pulled").exists()
    assert len(lines(kit)) == before + 1


def test_a_child_that_holds_too_much_memory_is_replaced(kit: Kit) -> None:
    assert kit.wait(kit.run("hungry"), *ENDS)["name"] == "Completed"
    pid = int((kit.folder / "hungry.pid").read_text())
    until(lambda: not alive(pid), 20)


def test_edited_code_is_what_runs_next(kit: Kit) -> None:
    path = kit.folder / "warm_flows.py"
    path.write_text(FLOWS.replace('"one"', '"edited"'))
    kit.wait(kit.run("quick"), *ENDS)
    assert lines(kit)[-1][1] == "edited"


def test_a_live_run_passes_those_that_wait_in_a_lesser_queue_and_children_are_replaced(kit: Kit) -> None:
    kit.make_pool(pool="narrow", preload=["warm_flows"], runs_per_child=2)
    kit.call("POST", "/work_pools/narrow/queues", json={"name": "live", "priority": 1})
    kit.call("POST", "/work_pools/narrow/queues", json={"name": "backfill", "priority": 10})
    kit.deploy("narrow", "backfill-", ("quick",), work_queue_name="backfill")
    kit.deploy("narrow", "live-", ("quick",), work_queue_name="live")
    waiting = [kit.run("backfill-quick") for _ in range(4)]
    live = kit.run("live-quick")
    kit.start_worker("narrow", pool="narrow", limit=1)
    for run in [*waiting, live]:
        assert kit.wait(run, *ENDS)["name"] == "Completed"
    begun = {
        run: next(time for time, name in kit.history(run) if name == "Running") for run in [*waiting, live]
    }
    assert min(begun, key=lambda run: begun[run]) == live
    pids = [pid for pid, *_ in lines(kit)[-5:]]
    assert max(Counter(pids).values()) == 2
    assert kit.stop("narrow") == 0


def test_a_worker_that_stops_lets_runs_finish_in_their_grace_time(kit: Kit) -> None:
    kit.start_worker("leaving")
    kit.stop("w")
    short, long = kit.run("slow", seconds=3), kit.run("slow", seconds=600, stubborn=True)
    for run in (short, long):
        kit.wait(run, "Running", "Completed")
    assert kit.stop("leaving") == 0
    assert kit.state(short)["name"] == "Completed"
    stopped = kit.state(long)
    assert (stopped["name"], "grace time" in stopped["message"]) == ("Crashed", True)
    assert children_in(kit.folder) == []


def test_a_worker_that_hears_no_events_polls(kit: Kit) -> None:
    proxy = DeafProxy(kit.port)
    kit.start_worker("deaf", poll="1", PREFECT_API_URL=f"http://127.0.0.1:{proxy.port}/api")
    try:
        assert kit.wait(kit.run("quick"), *ENDS)["name"] == "Completed"
        assert "events can't be heard" in kit.log("deaf")
    finally:
        kit.stop("deaf")
        proxy.close()


def test_children_do_not_outlive_a_worker_that_was_killed(kit: Kit) -> None:
    kit.make_pool(pool="killed", preload=["warm_flows"])
    kit.deploy("killed", "killed-", ("slow",))
    kit.start_worker("killed", pool="killed")
    polite, stubborn = kit.run("killed-slow"), kit.run("killed-slow", stubborn=True)
    for run in (polite, stubborn):
        kit.wait(run, "Running")
    worker = kit.processes.pop("killed")
    children = [child.pid for child in psutil.Process(worker.pid).children()]
    assert len(children) == 2
    worker.kill()
    worker.wait()
    until(lambda: not any(alive(pid) for pid in children), 20)
    assert kit.state(polite)["name"] == "Crashed"


def children_in(folder: Path) -> list[int]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        with suppress(psutil.Error, OSError):
            if "prefect_warm.child" in (process.info["cmdline"] or []) and process.cwd() == os.fspath(folder):
                found.append(process.pid)
    return found
