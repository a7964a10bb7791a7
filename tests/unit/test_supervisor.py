"""The whole story of `tidegate up`, told with tiny programs instead of a server and a worker."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from tidegate.errors import ServerUnavailableError
from tidegate.operations import running
from tidegate.operations.running import MARK_VARIABLE
from tidegate.prefect import supervisor
from tidegate.prefect.processes import Child, Program, RestartPolicy
from tidegate.prefect.supervisor import Report, Supervisor
from tidegate.settings import Settings, load_settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: Tells when it is told to stop.
POLITE = """
import os, signal, sys, time
def stop(*_):
    with open("stops.txt", "a") as file:
        file.write(sys.argv[1] + "\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
{more}
open(sys.argv[1] + ".ready", "w").close()
time.sleep(60)
"""
#: A worker that, told to stop, lets its flow run (a process of its own, told of SIGTERM) end first.
WITH_RUN = """
run = subprocess.Popen([sys.executable, "-c", RUN])
def stop(*_):
    code = run.wait()
    with open("stops.txt", "a") as file:
        file.write(f"run {{code}}\\nworker\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
"""


def worker_with_run(seconds: float) -> str:
    run = f"RUN = 'import time; time.sleep({seconds})'"
    return POLITE.format(more=f"import subprocess\n{run}\n{WITH_RUN.format()}")


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        monkeypatch.delenv(name)
    (tmp_path / "tidegate.toml").write_text("[prefect]\nport = 47000\n")
    return load_settings(tmp_path)


class Tiny:
    """Programs as the supervisor wants them; `codes` says what each runs."""

    codes: dict[str, str]
    problem = ""

    def __init__(self, settings: Settings, mark: str, port: int | None) -> None:
        self._settings, self._mark = settings, mark
        self.api_url = f"http://127.0.0.1:{port}/api"
        self.deploy_log = settings.root / "deploy.log"

    async def close(self) -> None:
        """There is nothing to close."""

    async def check_external(self, seconds: float) -> None:
        """There is no server that is not ours."""

    async def deploy(self, say: Callable[[str], None]) -> str:
        say("deployments are registered")
        return self.problem

    def children(self, changed: Callable[[], None]) -> list[Child]:
        policy = RestartPolicy(first_seconds=0.05, longest_seconds=0.1)
        return [Child(self._program(name, code), changed, policy) for name, code in self.codes.items()]

    def _program(self, name: str, code: str) -> Program:
        ready = self._settings.root / f"{name}.ready"

        async def is_ready() -> None:
            if not ready.exists():
                raise ServerUnavailableError

        return Program(
            name=name,
            command=(sys.executable, "-c", code, name),
            environment=dict(os.environ) | {MARK_VARIABLE: self._mark},
            directory=self._settings.root,
            log=running.log_dir(self._settings) / f"{name}.log",
            ready=is_ready,
        )


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> type[Tiny]:
    class Mine(Tiny):
        codes = {  # noqa: RUF012
            "server": POLITE.format(more=""),
            "dispatcher": POLITE.format(more=""),
            "worker": POLITE.format(more=""),
        }

    monkeypatch.setattr(supervisor, "Programs", Mine)
    return Mine


def run(settings: Settings, when_ready: Callable[[], None] = lambda: None) -> tuple[int, list[Report]]:
    """Run a supervisor; as soon as it is ready do something, and then ask it to stop."""
    reports: list[Report] = []

    def report(told: Report) -> None:
        reports.append(told)
        if told.kind == "ready":
            when_ready()
            os.kill(os.getpid(), signal.SIGTERM)

    return asyncio.run(Supervisor(settings, report).run()), reports


def left_over(settings: Settings) -> list[psutil.Process]:
    return list(running.marked_processes(running.project_mark(settings)))


def stops(settings: Settings) -> list[str]:
    return (settings.root / "stops.txt").read_text().splitlines()


def test_everything_starts_and_stops_in_order_and_nothing_is_left(
    settings: Settings, tiny: type[Tiny]
) -> None:
    seen: list[tuple[str, str]] = []

    def look() -> None:
        system = running.running(settings)
        assert system is not None
        seen.extend((one.name, one.state) for one in system.processes)
        assert len(left_over(settings)) == 3

    code, reports = run(settings, look)
    assert code == 0
    assert seen == [(name, "running") for name in tiny.codes]
    assert stops(settings) == ["dispatcher", "worker", "server"]
    assert left_over(settings) == []
    assert running.last_known(settings) is None
    assert [told.kind for told in reports if told.kind != "step"] == ["ready", "stopping", "stopped"]


def test_a_worker_has_the_time_that_its_flow_run_takes_to_end(settings: Settings, tiny: type[Tiny]) -> None:
    tiny.codes["worker"] = worker_with_run(3)
    _, reports = run(settings)
    assert stops(settings) == ["dispatcher", "run 0", "worker", "server"]
    assert any("Waiting for flow runs" in told.text for told in reports)


def test_asked_twice_to_stop_it_tells_the_flow_run_to_stop(settings: Settings, tiny: type[Tiny]) -> None:
    tiny.codes["worker"] = worker_with_run(60)

    def twice() -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    code, _ = run(settings, twice)
    assert code == 0
    assert stops(settings) == ["dispatcher", f"run {-signal.SIGTERM}", "worker", "server"]
    assert left_over(settings) == []


@pytest.mark.parametrize("name", ["server", "dispatcher", "worker"])
def test_what_dies_at_once_is_the_reason_why_nothing_was_started(
    settings: Settings, tiny: type[Tiny], name: str
) -> None:
    tiny.codes[name] = "print('the table is missing'); raise SystemExit(4)"
    code, reports = run(settings)
    failed = next(told for told in reports if told.kind == "failed")
    assert code == 1
    assert f"{name} ended with exit code 4" in failed.text
    assert failed.tail == "the table is missing"
    assert left_over(settings) == []
    assert running.last_known(settings) is None


def test_deployments_that_cannot_be_registered_are_a_reason_too(settings: Settings, tiny: type[Tiny]) -> None:
    tiny.problem = "`prefect deploy --all` ended with exit code 1."
    (settings.root / "deploy.log").write_text("\n--- started now\nNo such flow\n")
    code, reports = run(settings)
    assert code == 1
    assert [(told.text, told.tail) for told in reports if told.kind == "failed"] == [
        (tiny.problem, "No such flow")
    ]
    assert left_over(settings) == []


@pytest.mark.usefixtures("tiny")
def test_a_child_that_is_killed_comes_back_while_the_others_go_on(settings: Settings) -> None:
    reports: list[Report] = []
    pids: dict[str, int | None] = {}

    def report(told: Report) -> None:
        reports.append(told)
        system = running.last_known(settings)
        now = {one.name: one.pid for one in system.processes} if system else {}
        if told.kind == "ready":
            pids.update(now)
            server = now["server"]
            assert server is not None
            (settings.root / "server.ready").unlink()
            psutil.Process(server).kill()
        elif told.text == "server works" and pids:
            os.kill(os.getpid(), signal.SIGTERM)

    assert asyncio.run(Supervisor(settings, report).run()) == 0
    assert any("killed by signal 9" in told.text for told in reports)
    assert stops(settings) == ["dispatcher", "worker", "server"]


@pytest.mark.usefixtures("tiny")
def test_only_one_runs_for_a_project(settings: Settings) -> None:
    second: list[Report] = []

    def report(told: Report) -> None:
        if told.kind == "ready":
            other = asyncio.create_task(Supervisor(settings, second.append).run())
            other.add_done_callback(lambda _: os.kill(os.getpid(), signal.SIGTERM))

    assert asyncio.run(Supervisor(settings, report).run()) == 0
    assert [told.kind for told in second] == ["already"]


def test_what_a_killed_supervisor_left_is_ended_by_the_next_one(settings: Settings, tiny: type[Tiny]) -> None:
    mark = f"{running.project_mark(settings)}:earlier"
    orphan = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)"], env=dict(os.environ) | {MARK_VARIABLE: mark}
    )

    def look() -> None:
        assert orphan.poll() is not None
        assert len(left_over(settings)) == len(tiny.codes)

    code, _ = run(settings, look)
    assert code == 0
