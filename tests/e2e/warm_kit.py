"""A Prefect server and a warm worker, each started as a person would start it, and flows for them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[2]
POOL = "warm-pool"

FLOWS = """
import os, signal, time
from pathlib import Path

from prefect import flow, task

VERSION = "one"


@task
def trivial(n: int) -> int:
    return n


@flow
def quick(n: int = 0) -> str:
    os.environ["LEFT_BEHIND"] = os.environ.get("LEFT_BEHIND", "") + "x"
    trivial(n)
    Path("quick.log").open("a").write(f"{os.getpid()} {VERSION} {os.environ['LEFT_BEHIND']}\\n")
    return VERSION


@flow
async def quick_async() -> None:
    Path("async.log").open("a").write(f"{os.getpid()}\\n")


@flow
def failing() -> None:
    raise ValueError("as it should")


@flow
def slow(seconds: float = 60.0, stubborn: bool = False) -> None:
    if stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Path("slow.pid").write_text(str(os.getpid()))
    time.sleep(seconds)


@flow
def stepwise() -> None:
    Path("stepwise.begun").touch()
    while True:
        time.sleep(0.1)
        trivial(1)


@flow
def crashing() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


@flow
def hungry(megabytes: int = 400) -> None:
    global KEPT
    KEPT = bytearray(megabytes << 20)
    Path("hungry.pid").write_text(str(os.getpid()))


@slow.on_cancellation
def cancelled(flow, flow_run, state) -> None:
    Path("cancelled.log").write_text(str(flow_run.id))
"""
NAMES = ("quick", "quick_async", "failing", "slow", "stepwise", "crashing", "hungry")


class Kit:
    """One folder with flows, a server and a worker."""

    def __init__(self, folder: Path) -> None:
        # A shell starts background jobs with SIGINT ignored, and Prefect's worker stops by SIGINT.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}/api", timeout=30)
        (folder / "warm_flows.py").write_text(FLOWS)
        # So that the worker's type is found without an installed project, too.
        entry = folder / "site" / "prefect_warm_test-0.dist-info"
        entry.mkdir(parents=True)
        (entry / "METADATA").write_text("Metadata-Version: 2.1\nName: prefect-warm-test\nVersion: 0\n")
        (entry / "entry_points.txt").write_text("[prefect.collections]\nprefect_warm = prefect_warm.worker\n")
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.deployments: dict[str, str] = {}

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        home = self.folder / "prefect"
        return {
            **kept,
            "DO_NOT_TRACK": "1",
            "PREFECT_HOME": str(home),
            "PREFECT_API_URL": f"http://127.0.0.1:{self.port}/api",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
            "PREFECT_SERVER_UI_ENABLED": "false",
            "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "50",
            "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
            "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "200",
            "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": "1",
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{home / 'prefect.db'}",
            "PREFECT_LOGGING_COLORS": "false",
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(self.folder / "site")]),
            "PYTHONUNBUFFERED": "1",
        }

    def spawn(self, name: str, *words: str, **variables: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log.txt").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *words],
                cwd=self.folder,
                env=self.environment() | variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.processes[name] = process
        return process

    def start_server(self) -> None:
        child = ("tidegate.prefect.child", "--preload=tidegate.prefect.one_writer", "prefect")
        self.spawn("server", *child, "server", "start", "--host", "127.0.0.1", "--port", str(self.port))
        until(self._healthy, 90)

    def make_pool(self, pool: str = POOL, **defaults: Any) -> None:
        from prefect_warm.worker import WarmWorker

        template = WarmWorker.get_default_base_job_template()
        for name, value in {"working_dir": str(self.folder), **defaults}.items():
            template["variables"]["properties"][name]["default"] = value
        body = {"name": pool, "type": "warm", "base_job_template": template}
        self.call("POST", "/work_pools/", json=body)

    def start_worker(
        self, name: str = "w", pool: str = POOL, poll: str = "5", limit: int = 2, **variables: str
    ) -> None:
        words = ("--pool", pool, "--type", "warm", "--name", name, "--limit", str(limit))
        variables = {"PREFECT_WORKER_QUERY_SECONDS": poll, **variables}
        self.spawn(name, "prefect", "worker", "start", *words, **variables)
        until(lambda: self.online(name, pool), 60)

    def online(self, name: str, pool: str) -> bool:
        found = self.call("POST", f"/work_pools/{pool}/workers/filter", json={})
        return any(one["name"] == name and one["status"] == "ONLINE" for one in found)

    def deploy(
        self, pool: str = POOL, prefix: str = "", names: tuple[str, ...] = NAMES, **extra: Any
    ) -> None:
        for name in names:
            flow = self.call("POST", "/flows/", json={"name": name.replace("_", "-")})
            body = {
                "name": f"{prefix}d",
                "flow_id": flow["id"],
                "entrypoint": f"warm_flows.{name}",
                "work_pool_name": pool,
                "pull_steps": [],
                "enforce_parameter_schema": False,
                **extra,
            }
            self.deployments[prefix + name] = self.call("POST", "/deployments/", json=body)["id"]

    def run(self, name: str, **parameters: Any) -> str:
        body = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
        path = f"/deployments/{self.deployments[name]}/create_flow_run"
        return str(self.call("POST", path, json=body)["id"])

    def state(self, run: str) -> dict[str, Any]:
        found: dict[str, Any] = self.call("GET", f"/flow_runs/{run}")["state"]
        return found

    def history(self, run: str) -> list[tuple[str, str]]:
        found = self.call("GET", "/flow_run_states/", params={"flow_run_id": run})
        return sorted((one["timestamp"], one["name"]) for one in found)

    def wait(self, run: str, *names: str, seconds: float = 60) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            state = self.state(run)
            return state if state["name"] in names else None

        found: dict[str, Any] = until(look, seconds)
        return found

    def set_state(self, run: str, kind: str, name: str | None = None) -> None:
        state = {"type": kind, "name": name or kind.title()}
        self.call("POST", f"/flow_runs/{run}/set_state", json={"state": state, "force": True})

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log.txt").read_text()

    def call(self, method: str, path: str, **options: Any) -> Any:
        # A busy SQLite answers 503, and nothing was done then.
        answer = self.http.request(method, path, **options)
        for pause in (0.2, 0.5, 1, 2, 4):
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                break
            time.sleep(pause)
            answer = self.http.request(method, path, **options)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def stop(self, name: str, seconds: float = 60) -> int:
        process = self.processes.pop(name)
        process.send_signal(signal.SIGTERM)
        return process.wait(seconds)

    def close(self) -> None:
        for name in reversed(list(self.processes)):
            self.stop(name)
        self.http.close()

    def _healthy(self) -> bool:
        try:
            return self.http.get("/health").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False


class DeafProxy:
    """Passes all on to the server, but no connection to the stream of its events."""

    def __init__(self, port: int) -> None:
        self._server = port
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._socket.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._socket.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._server)) as server:
            first = client.recv(65_536)
            if b"/events/out" in first.partition(b"\r\n")[0]:
                return
            server.sendall(first)
            back = threading.Thread(target=_pour, args=(server, client), daemon=True)
            back.start()
            _pour(client, server)
            back.join()


def _pour(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


def until(look: Any, seconds: float) -> Any:
    """The first true answer of `look`; the processes that are asked can't tell of themselves."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, "it did not come in time"
        time.sleep(0.02)
    return found
