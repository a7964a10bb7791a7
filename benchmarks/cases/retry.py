"""A retry from the Prefect UI: how long until the run is Running again."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

import httpx

from benchmarks.cases.latency import ROWS
from benchmarks.processes import wait_until
from benchmarks.results import Goal, Result
from benchmarks.tidegate_system import Log

if TYPE_CHECKING:
    from benchmarks.measuring import Series
    from benchmarks.session import Session
    from benchmarks.tidegate_system import TidegateSystem

_TERMINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


def run(session: Session) -> Result:
    """One run of ours, retried again and again."""
    result = Result("retry", session.quick)
    taken = result.add("retry to Running")
    with session.system() as system:
        flow_run_id = _a_run(session, system)
        with httpx.Client(base_url=system.up_file()["api_url"], timeout=30) as api:
            for _ in range(session.size(20, 5)):
                _retry(api, flow_run_id, taken)
    result.goals = [Goal("retry from the Prefect UI to Running", "s", taken.median, 2, 1)]
    return result


def _a_run(session: Session, system: TidegateSystem) -> str:
    files, _ = session.small_files(system.ready, 1, ROWS)
    with system.project() as project:
        log = Log(project)
        system.drop(files)
        (entry,) = log.until_final([files[0].name], 180).values()
    return str(entry.flow_run_id)


def _retry(api: httpx.Client, flow_run_id: str, into: Series) -> None:
    wait_until(lambda: _state(api, flow_run_id) in _TERMINAL, 120, f"flow run {flow_run_id} does not end")
    time.sleep(0.5)
    # As the page of a run sends it.
    state = {"type": "SCHEDULED", "name": "AwaitingRetry", "message": "Retry from the UI"}
    asked = time.time()
    answer = api.post(f"/flow_runs/{flow_run_id}/set_state", json={"state": state, "force": True})
    answer.raise_for_status()
    into.values.append(_running_since(api, flow_run_id, asked) - asked)


def _state(api: httpx.Client, flow_run_id: str) -> str:
    answer = api.get(f"/flow_runs/{flow_run_id}")
    return str(answer.json()["state_type"]) if answer.is_success else ""


def _running_since(api: httpx.Client, flow_run_id: str, asked: float) -> float:
    found: list[float] = []

    def is_running() -> bool:
        answer = api.get("/flow_run_states/", params={"flow_run_id": flow_run_id})
        states: list[dict[str, Any]] = answer.json() if answer.is_success else []
        moments = (
            datetime.fromisoformat(one["timestamp"]).timestamp() for one in states if one["type"] == "RUNNING"
        )
        found.extend(moment for moment in moments if moment > asked)
        return bool(found)

    wait_until(is_running, 120, f"flow run {flow_run_id} does not run again")
    return min(found)
