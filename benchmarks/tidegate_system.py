"""A whole Tidegate in a folder of its own: Prefect server and UI, source, dispatcher, worker."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from benchmarks import orders
from benchmarks.processes import clean_environment, cpu_seconds, family
from benchmarks.results import REPOSITORY, WrongResultError
from tidegate.ledger import queries
from tidegate.ledger.tables import events
from tidegate.operations.project import Project, open_project

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import psutil

    from tidegate.ledger.entries import ObjectEntry

_STAGES = ("uploaded", "claimed", "validated", "normalized", "enriched", "loaded")
#: exit codes: done, and done while something is quarantined
_DONE = (0, 3)
#: ends of the types of events after which an object is final
_FINAL = ("loaded", "quarantined", "superseded", "duplicated", "unmatched")


@dataclass
class TidegateSystem:
    """A project in `root`, used as a person would: through its command line and its landing."""

    root: Path
    variables: Mapping[str, str] = field(default_factory=dict)
    #: how files come to a landing that is no folder
    upload: Callable[[Sequence[Path]], object] | None = None

    def make(self, settings: str = "") -> None:
        """Lay the project: the repository's flows and tasks, the benchmarks' contracts."""
        for folder in ("flows", "tasks"):
            shutil.copytree(REPOSITORY / folder, self.root / folder, ignore=_NO_CACHE)
        contracts = Path(__file__).parent / "contracts"
        shutil.copytree(contracts, self.root / "data_contracts", ignore=_NO_CACHE)
        shutil.copy(REPOSITORY / "prefect.yaml", self.root)
        self.set_up_anew(settings, self.variables)
        self.landing.mkdir(parents=True, exist_ok=True)
        self.ready.mkdir()

    def set_up_anew(self, settings: str, variables: Mapping[str, str]) -> None:
        """Have the next start follow these settings."""
        (self.root / "tidegate.toml").write_text(settings, encoding="utf-8")
        self.variables = variables

    @property
    def state(self) -> Path:
        return self.root / ".tidegate"

    @property
    def landing(self) -> Path:
        return self.state / "landing"

    @property
    def ready(self) -> Path:
        """Where files are made, on the landing's disk, before they are renamed into it."""
        return self.root / "ready"

    def env(self) -> dict[str, str]:
        path = f"{self.root}:{REPOSITORY}"
        return clean_environment(PYTHONPATH=path, **self.variables)

    def run(self, *words: str, timeout: float = 900) -> str:
        """Run ``tidegate WORDS…``; its stdout. RuntimeError with its output when it fails."""
        command = [sys.executable, "-m", "tidegate.cli.app", *words]
        done = subprocess.run(  # noqa: S603  our own command line
            command,
            cwd=self.root,
            env=self.env(),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if done.returncode not in _DONE:
            msg = f"tidegate {' '.join(words)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
            raise RuntimeError(msg)
        return done.stdout

    def json(self, *words: str) -> Any:
        return json.loads(self.run(*words, "--output", "json"))

    @contextmanager
    def up(self) -> Iterator[TidegateSystem]:
        """Fully started, with the reference tables loaded; stopped at the end."""
        self.run("up", "--detach")
        try:
            self.load_references()
            yield self
        finally:
            self.run("down")

    def load_references(self) -> None:
        """Drop the tables that orders are looked up in, unless they are there."""
        if any(entry["dataset"] == "stores" for entry in self.json("status")):
            return
        with self.project() as project:
            log = Log(project)
            files = orders.write_references(self.ready)
            (self.upload or self.drop)(files)
            log.until_final([file.name for file in files], 300)

    def drop(self, files: Sequence[Path]) -> float:
        """Rename files into the landing; the moment before the first."""
        started = time.time()
        for file in files:
            file.rename(self.landing / file.name)
        return started

    @contextmanager
    def project(self) -> Iterator[Project]:
        """The project's ledger, opened in this process."""
        project = open_project(self.root)
        try:
            yield project
        finally:
            project.close()

    def up_file(self) -> dict[str, Any]:
        """What `tidegate up` tells of itself."""
        told: dict[str, Any] = json.loads((self.state / "run" / "up.json").read_text(encoding="utf-8"))
        return told

    def supervisor(self) -> int:
        """The process that all others come from."""
        return int(self.up_file()["pid"])

    def processes(self, *, with_server: bool = False) -> list[psutil.Process]:
        """Source, dispatcher and worker with all that they started; the Prefect server only when asked."""
        wanted = [
            one
            for one in self.up_file()["processes"]
            if one["pid"] and (with_server or one["name"] != "server")
        ]
        return [process for one in wanted for process in family(one["pid"])]

    def cpu_seconds(self) -> float:
        """CPU time that everything has taken so far, the Prefect server too."""
        return cpu_seconds(self.processes(with_server=True))

    def check_loaded(self, first: int, rows: int, table: str = "orders") -> None:
        """WrongResultError unless exactly these orders are in the warehouse, each with its lookups."""
        where = f"order_id >= {first} AND order_id < {first + rows}"
        all_taken = "count(*) FILTER (region <> '' AND category <> '' AND city <> '')"
        *sums, with_lookups = _row(self.json("query", orders.sums_query(table, where, all_taken)))
        same(orders.Sums(*sums), orders.expected(first, rows), "Tidegate")
        if with_lookups != rows:
            msg = f"Tidegate: {rows} orders are loaded, and {with_lookups} of them have all lookups"
            raise WrongResultError(msg)


_NO_CACHE = shutil.ignore_patterns("__pycache__")


class Log:
    """Follows a ledger's log from where it is now."""

    def __init__(self, project: Project) -> None:
        self._ledger = project.ledger
        with self._ledger.reading() as connection:
            self._seq = connection.execute(select(func.max(events.c.seq))).scalar() or 0

    def until_final(
        self, names: Sequence[str], seconds: float, every: float = 0.02
    ) -> dict[str, ObjectEntry]:
        """The objects of these files once all are loaded, each with every stage in the log.

        TimeoutError when they are not in time; WrongResultError when one ends otherwise.
        """
        waiting = set(names)
        stages: dict[str, set[str]] = {name: set() for name in names}
        ids: dict[str, str] = {}
        deadline = time.monotonic() + seconds
        while waiting:
            for name, object_id, stage in self._news():
                if name in stages:
                    ids[name] = object_id
                    stages[name].add(stage)
                    if stage in _FINAL:
                        waiting.discard(name)
            if waiting and time.monotonic() > deadline:
                msg = f"{len(waiting)} of {len(names)} files are not final after {seconds} s"
                raise TimeoutError(msg)
            time.sleep(every)
        for name, seen in stages.items():
            if missing := set(_STAGES) - seen:
                msg = (
                    f"{name} became final without {', '.join(sorted(missing))}; the log tells {sorted(seen)}"
                )
                raise WrongResultError(msg)
        entries = self._ledger.ask(queries.by_id, list(ids.values()))
        return {name: entries[object_id] for name, object_id in ids.items()}

    def _news(self) -> Iterator[tuple[str, str, str]]:
        query = (
            select(events.c.seq, events.c.subject, events.c.object_id, events.c.type)
            .where(events.c.seq > self._seq)
            .order_by(events.c.seq)
        )
        with self._ledger.reading() as connection:
            rows = connection.execute(query).all()
        for seq, subject, object_id, kind in rows:
            self._seq = seq
            yield subject.rpartition("/")[2], object_id, kind.split(".")[-2]


def committed_after(entry: ObjectEntry, started: float) -> float:
    """Seconds from `started` until the object's rows were committed and the ledger was told so.

    `committed_at` is not asked: it is the moment that the load's rows bear, of before its transaction.
    """
    if entry.committed_at is None or entry.finished_at is None:
        msg = f"{entry.key} is {entry.state} and was never committed"
        raise WrongResultError(msg)
    return entry.finished_at.timestamp() - started


def moments_after(entry: ObjectEntry, started: float) -> dict[str, float]:
    """Seconds from `started` until the object had passed each stage."""
    moments = {
        "recorded": entry.recorded_at,
        "claimed": entry.claimed_at,
        "validated": entry.validated_at,
        "normalized": entry.normalized_at,
        "enriched": entry.enriched_at,
        "committed": entry.finished_at,
    }
    return {name: at.timestamp() - started for name, at in moments.items() if at}


def final_after(entries: Mapping[str, ObjectEntry], started: float) -> float:
    """Seconds from `started` until the last of the objects was final."""
    return max(entry.finished_at.timestamp() for entry in entries.values() if entry.finished_at) - started


def same(found: orders.Sums, wanted: orders.Sums, who: str) -> None:
    """WrongResultError unless both are the same."""
    if found != wanted:
        msg = f"{who} loaded other rows than the files hold: {found} instead of {wanted}"
        raise WrongResultError(msg)


def _row(rows: list[dict[str, Any]]) -> list[int]:
    return [int(value) for value in rows[0].values()]
