"""The whole system in a folder of its own, used through its command line."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil

from tests.e2e.prefect_home import copy_prefect_home

if TYPE_CHECKING:
    from collections.abc import Iterable

REPOSITORY = Path(__file__).parents[2]
FAULTS = Path(__file__).parent / "faults"
EXAMPLES = REPOSITORY / "examples" / "nycflights"
#: Rows of the example files, by dataset; the files broken on purpose are left out.
EXAMPLE_ROWS = {"airlines": 16, "airports": 1458, "planes": 3322, "weather": 498, "flights": 6099}


@dataclass
class System:
    """A project in `root`; commands run in it as a person would run them."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)

    @classmethod
    def make(
        cls, root: Path, settings: str = "", prefect_home: Path | None = None, **environment: str
    ) -> System:
        """A project; without `prefect_home` its server's first start makes the database, too."""
        for folder in ("data_contracts", "flows", "tasks"):
            shutil.copytree(REPOSITORY / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(REPOSITORY / "prefect.yaml", root)
        (root / "tidegate.toml").write_text(settings)
        if prefect_home is not None:
            copy_prefect_home(prefect_home, root / ".tidegate" / "prefect")
        return cls(root, environment)

    @property
    def landing(self) -> Path:
        return self.root / ".tidegate" / "landing"

    @property
    def fault_file(self) -> Path:
        return self.root / "fault.json"

    def env(self) -> dict[str, str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        return {
            **clean,
            "PYTHONPATH": os.pathsep.join([str(FAULTS), str(self.root), str(REPOSITORY)]),
            "TIDEGATE_TEST_FAULT": str(self.fault_file),
            # Each child of the worker takes seconds of a processor to get ready.
            "TIDEGATE_PREFECT__WORKER_LIMIT": "2",
            **self.environment,
        }

    def run(self, *words: str, ok: tuple[int, ...] = (0,), timeout: float = 240) -> str:
        """Run ``tidegate WORDS…``; its stdout. AssertionError when the exit code is not in `ok`."""
        done = subprocess.run(
            [sys.executable, "-m", "tidegate.cli.app", *words],
            cwd=self.root,
            env=self.env(),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode in ok, (
            f"tidegate {' '.join(words)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        )
        return done.stdout

    def json(self, *words: str, ok: tuple[int, ...] = (0,)) -> Any:
        return json.loads(self.run(*words, "--output", "json", ok=ok))

    def query(self, sql: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.json("query", sql)
        return rows

    def count(self, table: str) -> int:
        return int(self.query(f"SELECT count(*) AS n FROM {table}")[0]["n"])

    def counts(self, tables: Iterable[str] = EXAMPLE_ROWS) -> dict[str, int]:
        """The number of rows of each table, by one command."""
        sql = " UNION ALL ".join(f"SELECT '{table}' AS name, count(*) AS n FROM {table}" for table in tables)
        return {row["name"]: row["n"] for row in self.query(sql)}

    def up(self) -> None:
        self.run("up", "--detach")

    def down(self) -> None:
        self.run("down")

    def wait(self, timeout: int = 120, ok: tuple[int, ...] = (0,)) -> None:
        self.run("wait", "--timeout", str(timeout), ok=ok)

    def object(self, key: str) -> dict[str, Any]:
        """The newest version of `key`."""
        found = [entry for entry in self.json("objects", "--prefix", key) if entry["key"] == key]
        return max(found, key=lambda entry: str(entry["uploaded_at"]))

    def states(self) -> dict[str, str]:
        return {entry["key"]: entry["state"] for entry in self.json("objects", "--limit", "100000")}

    def put(self, key: str, content: str | bytes) -> Path:
        """Rename a whole file into the landing, as well-behaved writers do."""
        target = self.landing / key
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name[:100]}.part")
        part.write_bytes(content if isinstance(content, bytes) else content.encode())
        part.rename(target)
        return target

    def api_url(self) -> str:
        return str(json.loads((self.root / ".tidegate/run/up.json").read_text())["api_url"])

    def api(self, path: str, body: Any = None) -> Any:
        """Call the Prefect API as the UI does; a server busy with SQLite (503) is asked again."""
        method = "GET" if body is None else "POST"
        url = self.api_url() + path
        answer = httpx.request(method, url, json=body, timeout=30)
        for _ in range(20):
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                break
            time.sleep(float(answer.headers.get("Retry-After", 0.5)))
            answer = httpx.request(method, url, json=body, timeout=30)
        answer.raise_for_status()
        return answer.json()

    def stop_at(self, place: str, when: str) -> None:
        """From now on, the first process to come to `place` stops there."""
        self.fault_file.with_suffix(".stopped").unlink(missing_ok=True)
        part = self.fault_file.with_suffix(".new")
        part.write_text(json.dumps({"at": place, "when": when}))
        part.replace(self.fault_file)

    def stopped(self, timeout: float = 90) -> psutil.Process:
        """The process that has stopped at the asked place."""
        marker = self.fault_file.with_suffix(".stopped")
        wait_for(marker.exists, timeout, "no process came to the place")
        process = psutil.Process(int(marker.read_text()))
        wait_for(lambda: process.status() == psutil.STATUS_STOPPED, 10, "the process did not stop")
        return process


def wait_for(condition: Any, timeout: float, otherwise: str) -> None:
    """Look every 50 ms until `condition()` is true; fail with `otherwise` after `timeout` s."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.05)


def kill(process: psutil.Process) -> None:
    """kill -9, and see it gone."""
    process.send_signal(signal.SIGKILL)
    gone, _ = psutil.wait_procs([process], timeout=10)
    assert gone or process.status() == psutil.STATUS_ZOMBIE


def drop_examples(system: System, files: list[str]) -> None:
    """Drop files under the folder of their dataset, references first."""
    for dataset in EXAMPLE_ROWS:
        of_dataset = [file for file in files if f"/{dataset}/" in file]
        if of_dataset:
            system.run("drop", *of_dataset, "--to", dataset)
