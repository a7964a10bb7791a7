"""What `up.json` tells, when it is believed, and which processes are swept."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import psutil
import pytest

from tidegate import clock
from tidegate.operations import running
from tidegate.operations.running import MARK_VARIABLE, ProcessState, RunningSystem
from tidegate.settings import Settings, load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "tidegate.toml").touch()
    return load_settings(tmp_path)


@pytest.fixture
def system() -> RunningSystem:
    me = psutil.Process()
    server = ProcessState(name="server", state="failing", pid=None, restarts=3, detail="ended", log="x.log")
    return RunningSystem(
        pid=me.pid,
        pid_started=me.create_time(),
        mark="mark",
        api_url="http://127.0.0.1:4200/api",
        ui_url="http://127.0.0.1:4200",
        started_at=clock.now(),
        state="ready",
        processes=(server,),
    )


@pytest.fixture
def start() -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    """Start a process that carries a mark."""
    started: list[subprocess.Popen[bytes]] = []

    def starting(mark: str, code: str = "import time; time.sleep(60)") -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-c", f"print(flush=True); {code}"],
            env=dict(os.environ) | {MARK_VARIABLE: mark},
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        process.stdout.readline()
        started.append(process)
        return process

    yield starting
    for process in started:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


def test_what_is_written_is_read(settings: Settings, system: RunningSystem) -> None:
    running.write(settings, system)
    assert running.running(settings) == system
    assert [one.name for one in system.failing] == ["server"]
    running.forget(settings)
    assert running.running(settings) is None


@pytest.mark.parametrize("change", [{"pid_started": 1.0}, {"pid": 2**22 - 1}])
def test_a_supervisor_that_is_gone_runs_nothing(
    settings: Settings, system: RunningSystem, change: dict[str, float]
) -> None:
    stale = replace(system, **change)  # type: ignore[arg-type]
    running.write(settings, stale)
    assert running.running(settings) is None
    assert running.last_known(settings) == stale


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}'])
def test_a_file_of_another_making_is_ignored(settings: Settings, text: str) -> None:
    path = running.state_file(settings)
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert running.running(settings) is None


@pytest.mark.parametrize(
    ("api_url", "ui_url"),
    [
        ("http://127.0.0.1:4200/api", "http://127.0.0.1:4200"),
        ("https://prefect.example.com/base/api/", "https://prefect.example.com/base"),
        (
            "https://api.prefect.cloud/api/accounts/a1/workspaces/w1",
            "https://app.prefect.cloud/account/a1/workspace/w1",
        ),
    ],
)
def test_the_ui_of_an_api(api_url: str, ui_url: str) -> None:
    assert running.ui_url_of(api_url) == ui_url


def test_a_sweep_ends_what_carries_the_mark_and_nothing_else(
    start: Callable[..., subprocess.Popen[bytes]],
) -> None:
    mark = f"test-{os.getpid()}"
    ignore = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    deaf = f"{ignore}; print(flush=True); time.sleep(60)"
    mine, stubborn, other = start(f"{mark}:1"), start(f"{mark}:2", deaf), start("test-other")
    assert stubborn.stdout is not None
    stubborn.stdout.readline()
    assert running.sweep(mark, patience=0.3) == 2
    assert [process.poll() is None for process in (mine, stubborn, other)] == [False, False, True]
    assert running.sweep(mark) == 0


def test_two_projects_have_different_marks_and_one_keeps_its_own(tmp_path: Path) -> None:
    marks = set()
    for name in ("a", "b", "a"):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        (folder / "tidegate.toml").touch()
        marks.add(running.project_mark(load_settings(folder)))
    assert len(marks) == 2


def test_a_process_that_ends_is_seen_to_be_gone_though_nobody_collects_it(
    start: Callable[..., subprocess.Popen[bytes]],
) -> None:
    process = psutil.Process(start("test-gone").pid)
    assert running.wait_until_gone([process], 0.1) == [process]
    process.kill()
    assert running.wait_until_gone([process], 5) == []


def test_a_sign_of_being_ready_is_that_of_one_process(settings: Settings) -> None:
    assert not running.is_ready(settings, "dispatcher", os.getpid())
    running.tell_ready(settings, "dispatcher")
    assert running.is_ready(settings, "dispatcher", os.getpid())
    assert not running.is_ready(settings, "dispatcher", os.getpid() + 1)
    assert not running.is_ready(settings, "worker", os.getpid())
