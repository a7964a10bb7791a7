"""One large file through all stages: time against bare loads and scripts, memory at two sizes."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

from benchmarks import orders, peer_runs
from benchmarks.measuring import Series, interleaved, ratio
from benchmarks.processes import Peak, family, memory_mb
from benchmarks.results import Goal, Result
from benchmarks.tidegate_system import Log, committed_after, moments_after

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.session import Session
    from benchmarks.tidegate_system import TidegateSystem

_PATIENCE = 1_800.0
#: The time is that of the event, so there is no need to disturb what is measured by many looks.
_LOOK_SECONDS = 0.25


def run(session: Session) -> Result:
    """Times first, with everything running; then the stages alone; then memory in runs of their own."""
    rows, rounds = session.size(5_000_000, 300_000), session.size(3, 2)
    result = Result("large", session.quick, facts={"rows": rows})
    ours = result.add("Tidegate, drop to commit")
    peers = {name: Series(name) for name in ("DuckDB, bare", "dlt", "pandas")} if session.peers else {}
    result.series.extend(peers.values())
    with session.system() as system:
        files = [_new_file(session, rows) for _ in range(rounds)]
        candidates: dict[str, Callable[[int], None]] = {
            "Tidegate": lambda number: drop_large(system, *files[number], rows, ours)
        }
        for name, series in peers.items():
            candidates[name] = _at_peer(session, name, series, files, rows)
        interleaved(rounds, candidates)
    result.facts["bytes"] = files[0][0].stat().st_size
    if not session.quick:
        for name, series in stages_alone(session, *files[0], rows).items():
            series.name = f"Tidegate, {name} alone"
            result.series.append(series)
    _compare(result, ours, peers, rows)
    for file, _ in files:
        file.unlink()
    if not session.quick:
        _measure_memory(session, result, rows)
    return result


def drop_large(system: TidegateSystem, file: Path, first: int, rows: int, into: Series) -> None:
    """Measure one file, given by link so that it stays for others."""
    mine = system.ready / file.name
    mine.hardlink_to(file)
    with system.project() as project:
        log, cpu = Log(project), system.cpu_seconds()
        started = system.drop([mine])
        (entry,) = log.until_final([mine.name], _PATIENCE, every=_LOOK_SECONDS).values()
    into.values.append(committed_after(entry, started))
    into.details.append({"cpu": system.cpu_seconds() - cpu, **moments_after(entry, started)})
    system.check_loaded(first, rows)
    (system.landing / mine.name).unlink()


def stages_alone(session: Session, file: Path, first: int, rows: int) -> dict[str, Series]:
    """Each stage's time in one process, without Prefect: name -> series of one."""
    system = session.new_system()
    for made in [*orders.write_references(system.ready), file]:
        (system.landing / made.name).hardlink_to(made)
    command = [sys.executable, "-m", "benchmarks.stages_alone", str(system.root)]
    done = subprocess.run(  # noqa: S603  our own module
        command, cwd=system.root, env=system.env(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        msg = f"the stages alone ended with {done.returncode}:\n{done.stderr[-4000:]}"
        raise RuntimeError(msg)
    told = json.loads(done.stdout.strip().splitlines()[-1])
    system.check_loaded(first, rows)
    series = {}
    for name, one in told["stages"].items():
        series[name] = Series(name, "s", [one["seconds"]], [{"cpu": one["cpu"], "peak_mb": one["peak_mb"]}])
    return series


def _new_file(session: Session, rows: int) -> tuple[Path, int]:
    first = session.new_orders(rows)
    file = session.folder / f"orders-large-{first:012}.csv"
    orders.write_orders(file, first, rows)
    return file, first


def _at_peer(
    session: Session, name: str, into: Series, files: list[tuple[Path, int]], rows: int
) -> Callable[[int], None]:
    references = session.new_folder("references")
    orders.write_references(references)

    def load(number: int) -> None:
        file, first = files[number]
        arguments = {
            "DuckDB, bare": ("duckdb", (str(file), "{database}")),
            "dlt": ("dlt", (str(file.parent), file.name, "{database}", "{folder}")),
            "pandas": ("pandas", (str(file), str(references), "{database}")),
        }
        peer, words = arguments[name]
        told = peer_runs.load(peer, session.folder, words, first, rows)
        into.values.append(told.seconds)
        into.details.append(told.details)

    return load


def _compare(result: Result, ours: Series, peers: dict[str, Series], rows: int) -> None:
    for name, series in peers.items():
        compared = ratio(ours, series)
        result.ratios.append(compared)
        if result.quick:
            continue  # what is to be reached is so for files whose fixed costs no longer count
        work = f"a file of {rows:,} rows, to {name}"
        if name == "DuckDB, bare":
            result.goals.append(Goal(work, "x", compared.median, 2.5, 1.5))
        elif name == "dlt":
            result.goals.append(Goal(work, "x", compared.median, 1.0))


def _measure_memory(session: Session, result: Result, rows: int) -> None:
    peaks = {}
    for size in (rows, 3 * rows):
        memory = result.add(f"Tidegate, memory above idle, {size} rows", "MB")
        file, first = _new_file(session, size)
        with session.system() as system:
            idle = memory_mb(family(system.supervisor()))
            with Peak(system.supervisor()).watched() as peak:
                drop_large(system, file, first, size, Series("watched"))
            memory.values.append(peak.mb - idle)
            memory.details.append({"idle_mb": idle, "samples": peak.samples})
        file.unlink()
        peaks[size] = memory.median
        result.goals.append(Goal(f"memory above idle, {size:,} rows", "MB", memory.median, 1536, 819))
    growth = peaks[3 * rows] / peaks[rows]
    result.goals.append(Goal(f"memory at {3 * rows:,} to {rows:,} rows", "x", growth, 1.2))
