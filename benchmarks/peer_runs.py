"""Run the peers: each in its own process and environment, its result checked before its time is believed."""

from __future__ import annotations

import json
import os
import subprocess
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import duckdb
import httpx

from benchmarks import environments, orders
from benchmarks.processes import clean_environment, free_port, started, wait_until
from benchmarks.tidegate_system import same

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PEERS = Path(__file__).parent / "peers"


@dataclass(frozen=True, slots=True)
class Told:
    """What a peer's script tells of one load."""

    seconds: float
    #: CPU seconds, peak memory in MB, and seconds of each step it tells of
    details: dict[str, float]


def load(peer: str, folder: Path, arguments: Sequence[str], first: int, rows: int) -> Told:
    """Run a peer's ``load.py`` into a fresh DuckDB file; ``{database}`` and ``{folder}`` are filled in.

    WrongResultError unless exactly these orders are in the file afterwards.
    """
    own = folder / f"{peer}-{uuid.uuid4().hex[:8]}"
    own.mkdir()
    database = own / "peer.duckdb"
    filled = [one.format(database=database, folder=own) for one in arguments]
    command = [str(environments.peer(peer)), str(PEERS / peer / "load.py"), *filled]
    quiet = {"DLT_DATA_DIR": str(own), "RUNTIME__DLTHUB_TELEMETRY": "false"}
    done = subprocess.run(  # noqa: S603  a peer's script
        command, cwd=own, env=clean_environment(**quiet), capture_output=True, text=True, check=False
    )
    if done.returncode:
        msg = f"{peer} ended with {done.returncode}:\n{done.stderr[-4000:]}"
        raise RuntimeError(msg)
    told: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    with duckdb.connect(str(database), read_only=True) as con:
        table = "bench.orders" if peer == "dlt" else "orders"
        same(orders.loaded(con, f'"{database.stem}".{table}'), orders.expected(first, rows), peer)
    database.unlink()
    details = {"cpu": told["cpu"], "peak_mb": told["peak_mb"], **told.get("steps", {})}
    return Told(told["seconds"], details)


class PlainPrefect:
    """A Prefect server of its own and a served flow with an event trigger, all settings at their defaults."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = folder / "peer.duckdb"
        self.landing = folder / "landing"
        self._done = folder / "done.jsonl"
        self._python = environments.peer("plain_prefect")
        self._port = free_port()
        self._emitter: IO[bytes] | None = None

    @contextmanager
    def up(self) -> Iterator[PlainPrefect]:
        """Fully started, and one file gone through; stopped at the end."""
        self.landing.mkdir(parents=True)
        self._done.touch()
        env = clean_environment(
            PREFECT_HOME=str(self.folder / "prefect"),
            PREFECT_API_URL=f"http://127.0.0.1:{self._port}/api",
            PREFECT_SERVER_ANALYTICS_ENABLED="false",
            DO_NOT_TRACK="1",
            BENCH_DATABASE=str(self.database),
            BENCH_DONE=str(self._done),
        )
        script = PEERS / "plain_prefect"
        server = [str(self._python), "-m", "prefect", "server", "start", "--port", str(self._port)]
        serve = [str(self._python), str(script / "ingest.py")]
        emit = [str(self._python), str(script / "emit.py")]
        emit_log = self.folder / "emit.log"
        with started(server, self.folder / "server.log", env):
            wait_until(self._healthy, 90, f"the peer's Prefect server did not start, see {self.folder}")
            with (
                started(serve, self.folder / "serve.log", env),
                started(emit, emit_log, env, stdin=subprocess.PIPE) as emitter,
            ):
                self._emitter = emitter.stdin
                wait_until(self._has_trigger, 90, f"the peer's trigger did not come, see {self.folder}")
                wait_until(lambda: "ready" in emit_log.read_text(), 60, "the peer's emitter did not start")
                self._warm()
                yield self

    def drop(self, files: Sequence[Path]) -> float:
        """Rename files into the landing, with an event for each; the moment before the first."""
        if self._emitter is None:
            msg = "plain Prefect is not up"
            raise RuntimeError(msg)
        began = time.time()
        for file in files:
            target = self.landing / file.name
            file.rename(target)
            self._emitter.write(f"{target}\n".encode())
            self._emitter.flush()
        return began

    def until_done(self, names: Sequence[str], seconds: float) -> dict[str, dict[str, Any]]:
        """For each file what its flow run told once its rows were committed."""
        wait_until(
            lambda: set(names) <= set(self._told()), seconds, f"plain Prefect loaded not all of {names[:3]}…"
        )
        told = self._told()
        return {name: told[name] for name in names}

    def check_loaded(self, first: int, rows: int) -> None:
        """WrongResultError unless exactly these orders are in its table."""
        with duckdb.connect(str(self.database), read_only=True) as con:
            where = f"order_id >= {first} AND order_id < {first + rows}"
            same(orders.loaded(con, "orders", where), orders.expected(first, rows), "plain Prefect")

    def _told(self) -> dict[str, dict[str, Any]]:
        lines = self._done.read_text(encoding="utf-8").splitlines()
        return {os.path.basename(told["path"]): told for told in map(json.loads, lines)}  # noqa: PTH119

    def _warm(self) -> None:
        # An automation that was only just made may miss an event: ask again until one goes through.
        deadline = time.monotonic() + 120
        number = 0
        while not self._told() and time.monotonic() < deadline:
            file = self.folder / f"warm-{number}.csv"
            orders.write_orders(file, 10**9 + number, 1)
            self.drop([file])
            number += 1
            patience = time.monotonic() + 30
            while not self._told() and time.monotonic() < patience:
                time.sleep(0.05)
        if not self._told():
            msg = f"plain Prefect loaded none of {number} files, see {self.folder}"
            raise TimeoutError(msg)

    def _healthy(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self._port}/api/health", timeout=2).is_success
        except httpx.HTTPError:
            return False

    def _has_trigger(self) -> bool:
        answer = httpx.post(f"http://127.0.0.1:{self._port}/api/automations/filter", json={}, timeout=10)
        return answer.is_success and bool(answer.json())
