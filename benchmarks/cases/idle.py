"""A system that nothing happens to: its CPU; and what it holds in memory after many runs."""

from __future__ import annotations

import time
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.cases.latency import ROWS
from benchmarks.processes import cpu_seconds, family, memory_mb
from benchmarks.results import Goal, Result
from benchmarks.tidegate_system import Log

if TYPE_CHECKING:
    from benchmarks.session import Session
    from benchmarks.tidegate_system import TidegateSystem

_RUNS = 5_000
#: Runs between two looks at the memory.
_EVERY = 50
#: Looks of which the middle is taken: over two lives of a warm child, which has 200 runs.
_WINDOW = 8


def run(session: Session) -> Result:
    """Source, dispatcher and worker together; the Prefect server is told beside them, and not counted."""
    seconds = session.size(600, 10)
    result = Result("idle", session.quick, facts={"seconds": seconds})
    ours, server = result.add("source, dispatcher, worker", "%"), result.add("Prefect server", "%")
    with session.system() as system:
        time.sleep(5)
        before = _cpu(system)
        began = time.monotonic()
        time.sleep(seconds)
        share = 100 / (time.monotonic() - began)
        after = _cpu(system)
        ours.values.append((after[0] - before[0]) * share)
        server.values.append((after[1] - before[1]) * share)
        if not session.quick:
            _grow(session, system, result)
    result.goals.insert(0, Goal("idle: source, dispatcher, worker, of one core", "%", ours.median, 5))
    return result


def _cpu(system: TidegateSystem) -> tuple[float, float]:
    mine = cpu_seconds(system.processes())
    return mine, cpu_seconds(system.processes(with_server=True)) - mine


def _grow(session: Session, system: TidegateSystem, result: Result) -> None:
    memory = result.add("memory of source, dispatcher, worker", "MB")
    with system.project() as project:
        for number in range(1, _RUNS + 1):
            files, _ = session.small_files(system.ready, 1, ROWS)
            log = Log(project)
            system.drop(files)
            log.until_final([files[0].name], 180)
            if number % _EVERY == 0:
                memory.values.append(memory_mb(system.processes()))
                memory.details.append({"runs": number, **_memory_of_each(system)})
    result.goals.append(growth(memory.values))


def growth(values: list[float]) -> Goal:
    """How much more the last runs hold than those that held least.

    Not than the first: several children run when the first references are loaded, fewer do later.
    """
    windows = [median(values[at : at + _WINDOW]) for at in range(len(values) - _WINDOW + 1)]
    name = f"growth of memory over {len(values) * _EVERY:,} runs: the last {_WINDOW * _EVERY} to the least"
    return Goal(name, "%", 100 * (windows[-1] / min(windows) - 1), 10)


def _memory_of_each(system: TidegateSystem) -> dict[str, float]:
    started = [one for one in system.up_file()["processes"] if one["pid"]]
    return {one["name"]: memory_mb(family(one["pid"])) for one in started}
