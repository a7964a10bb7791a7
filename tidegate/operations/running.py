"""Is the system up, where is its Prefect server, and which processes belong to it.

`tidegate up` writes ``<state>/run/up.json``; everybody else reads it here. Prefect is not imported.
"""

from __future__ import annotations

import json
import logging
import os
import time
import uuid
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import psutil

from tidegate.events.model import iso
from tidegate.objects.model import NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tidegate.settings import Settings

log = logging.getLogger(__name__)

#: Environment variable that every process of one `tidegate up` carries, its flow runs included.
MARK_VARIABLE = "TIDEGATE_UP"

#: Two readings of one process's start may differ by this much when the clock is being set.
_CLOCK_SLACK = 2.0
_LOOK_SECONDS = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessState:
    """One process of the system."""

    name: str
    #: ``waiting``, ``starting``, ``running``, ``failing`` (dies again and again), ``stopped``
    state: str
    pid: int | None
    restarts: int
    #: why it is not running; empty when it is
    detail: str
    log: str


@dataclass(frozen=True, kw_only=True, slots=True)
class RunningSystem:
    """A `tidegate up` at work."""

    #: the supervisor
    pid: int
    #: when the supervisor started, seconds since the epoch: pids are used again
    pid_started: float
    mark: str
    api_url: str
    ui_url: str
    started_at: datetime
    #: ``starting``, ``ready`` or ``stopping``
    state: str
    processes: tuple[ProcessState, ...]

    def flow_run_url(self, flow_run_id: str) -> str:
        """Where the Prefect UI shows a run."""
        return flow_run_url(self.ui_url, flow_run_id)

    @property
    def failing(self) -> list[ProcessState]:
        """Processes that die again and again."""
        return [one for one in self.processes if one.state == "failing"]


def running(settings: Settings) -> RunningSystem | None:
    """The system that runs for this project now; None when its supervisor is gone."""
    system = last_known(settings)
    return system if system and find_process(system.pid, system.pid_started) else None


def wait_until_written(settings: Settings, seconds: float) -> RunningSystem | None:
    """The system of another `tidegate up` that has only just begun; None when it tells nothing."""
    deadline = time.monotonic() + seconds
    while (system := running(settings)) is None and time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS)
    return system


def wait_until_ready(settings: Settings) -> RunningSystem | None:
    """The system when its start is over; None when it came to nothing."""
    while (system := running(settings)) and system.state == "starting":
        # Another process writes the file, and need not be our child.
        time.sleep(_LOOK_SECONDS)
    return system


def last_known(settings: Settings) -> RunningSystem | None:
    """What the last `tidegate up` wrote, whether or not it still runs; None after a clean stop."""
    path = state_file(settings)
    try:
        document = json.loads(path.read_text())
        processes = tuple(ProcessState(**one) for one in document.pop("processes"))
        document["started_at"] = datetime.fromisoformat(document["started_at"])
        return RunningSystem(**document, processes=processes)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        # It is replaced in one step, so another version of Tidegate or a hand wrote this.
        log.warning("%s can't be read and is ignored: %s", path, error)
        return None


def write(settings: Settings, system: RunningSystem) -> None:
    """Tell everybody, in one step."""
    path = state_file(settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    document: dict[str, Any] = asdict(system) | {"started_at": iso(system.started_at)}
    part = path.with_suffix(f".{os.getpid()}.part")
    part.write_text(json.dumps(document, indent=2) + "\n")
    part.replace(path)


def forget(settings: Settings) -> None:
    """Nothing runs any more."""
    state_file(settings).unlink(missing_ok=True)


def state_file(settings: Settings) -> Path:
    return settings.state_dir / "run" / "up.json"


def tell_ready(settings: Settings, name: str) -> None:
    """Tell that this process, of this name, does its work from now on."""
    path = _sign(settings, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(str(os.getpid()))


def is_ready(settings: Settings, name: str, pid: int, seconds: float = 0.0) -> bool:
    """Whether the process of this name with this pid told so long ago that it does its work."""
    sign = _sign(settings, name)
    try:
        return sign.read_text() == str(pid) and time.time() - sign.stat().st_mtime >= seconds
    except FileNotFoundError:
        return False


def forget_ready(settings: Settings, name: str) -> None:
    """Have no process of this name be ready: pids are used again."""
    _sign(settings, name).unlink(missing_ok=True)


def _sign(settings: Settings, name: str) -> Path:
    return settings.state_dir / "run" / f"{name}.ready"


def log_dir(settings: Settings) -> Path:
    return settings.state_dir / "logs"


def ui_url_of(api_url: str) -> str:
    """The UI that belongs to an API: a server's own, or Prefect Cloud's."""
    base = api_url.rstrip("/")
    if "/accounts/" in base:
        base = base.replace("//api.", "//app.").replace("/api/accounts/", "/account/")
        return base.replace("/workspaces/", "/workspace/")
    return base.removesuffix("/api")


def flow_run_url(ui_url: str, flow_run_id: str) -> str:
    return f"{ui_url}/runs/flow-run/{flow_run_id}"


# -- processes ---------------------------------------------------------------------------------


def find_process(pid: int, started: float) -> psutil.Process | None:
    """The process with this pid, if it is still the one that started then."""
    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() - started) < _CLOCK_SLACK
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.NoSuchProcess:
        return None


def wait_until_gone(processes: Sequence[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Those that have not ended within `seconds`. A zombie has, whoever has to collect it."""
    deadline = time.monotonic() + seconds
    while left := [process for process in processes if _lives(process)]:
        if time.monotonic() > deadline:
            return left
        # They are not our children: nothing tells when they end, on every system alike.
        time.sleep(_LOOK_SECONDS / 4)
    return []


def _lives(process: psutil.Process) -> bool:
    try:
        # psutil compares the start as well, so a pid that is used again is not mistaken for it.
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def project_mark(settings: Settings) -> str:
    """What the marks of all processes of this project begin with."""
    return str(uuid.uuid5(NAMESPACE, f"up\n{settings.state_dir.resolve()}"))


def marked_processes(mark: str) -> Iterator[psutil.Process]:
    """Processes whose mark begins with `mark`; never this one or one above it."""
    spared = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    for process in psutil.process_iter():
        if process.pid in spared:
            continue
        try:
            found = process.environ().get(MARK_VARIABLE, "")
        except psutil.Error:
            # Gone meanwhile, a zombie, or somebody else's: none of these is ours to stop.
            continue
        if found.startswith(mark):
            yield process


def sweep(mark: str, patience: float = 3.0) -> int:
    """Stop every process that carries `mark`: SIGTERM, and SIGKILL after `patience` seconds.

    Returns how many there were. Processes that they start meanwhile are stopped too.
    """
    stopped: set[int] = set()
    while left := list(marked_processes(mark)):
        stopped.update(process.pid for process in left)
        for process in left:
            _signal(process.terminate)
        stubborn = wait_until_gone(left, patience)
        for process in stubborn:
            _signal(process.kill)
        wait_until_gone(stubborn, patience)
    return len(stopped)


def _signal(send: Any) -> None:
    try:
        send()
    except psutil.NoSuchProcess:
        log.debug("a process ended before it could be stopped")
