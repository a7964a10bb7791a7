"""Many 200-row files moved into the landing at once: how long until all of them are final."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import peer_runs
from benchmarks.measuring import Series, interleaved, ratio
from benchmarks.results import Goal, Result
from benchmarks.tidegate_system import Log, final_after

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.session import Session
    from benchmarks.tidegate_system import TidegateSystem

ROWS = 200
_PATIENCE = 900.0


def run(session: Session) -> Result:
    """Tidegate and dlt in turn; plain Prefect once, on fewer files; then ten times as many for Tidegate."""
    files, rounds = session.size(1_000, 200), session.size(5, 2)
    result = Result("burst", session.quick, facts={"files": files, "rows": ROWS})
    ours, dlt = result.add(f"Tidegate, {files} files"), Series(f"dlt, {files} files")
    with session.system() as system:
        if session.peers:
            result.series.append(dlt)

        def of_dlt(_: int) -> None:
            if session.peers:
                _load_with_dlt(session, files, dlt)

        interleaved(rounds, {"Tidegate": lambda _: drop_many(session, system, files, ours), "dlt": of_dlt})
        if not session.quick:
            many = result.add("Tidegate, 10000 files")
            drop_many(session, system, 10_000, many)
            growth = many.median / ours.median
            result.goals.append(Goal("10,000 files to 1,000 files", "x", growth, 12))
    if session.peers:
        result.ratios.append(ratio(ours, dlt))
        result.goals.insert(
            0, Goal(f"{files:,} files at once, to dlt", "x", result.ratios[0].median, 0.5, 0.25)
        )
        if not session.quick:
            _compare_with_prefect(session, result, ours, files)
    return result


def drop_many(session: Session, system: TidegateSystem, files: int, into: Series) -> None:
    """Measure one burst."""
    made, first = session.small_files(system.ready, files, ROWS)
    with system.project() as project:
        log, cpu = Log(project), system.cpu_seconds()
        started = system.drop(made)
        entries = log.until_final([file.name for file in made], _PATIENCE, every=0.05)
    into.values.append(final_after(entries, started))
    runs = {entry.flow_run_id for entry in entries.values()}
    moved = max(entry.recorded_at.timestamp() for entry in entries.values()) - started
    into.details.append({"cpu": system.cpu_seconds() - cpu, "flow runs": len(runs), "all recorded": moved})
    system.check_loaded(first, files * ROWS)


def _load_with_dlt(session: Session, files: int, into: Series) -> None:
    folder: Path = session.new_folder("burst")
    _, first = session.small_files(folder, files, ROWS)
    arguments = (str(folder), "*.csv", "{database}", "{folder}")
    told = peer_runs.load("dlt", session.folder, arguments, first, files * ROWS)
    into.values.append(told.seconds)
    into.details.append(told.details)


def _compare_with_prefect(session: Session, result: Result, ours: Series, files: int) -> None:
    few = 30
    scaled = result.add(f"plain Prefect, {files} files, scaled from {few}")
    with session.plain_prefect() as peer:
        made, first = session.small_files(peer.folder, few, ROWS)
        started = peer.drop(made)
        told = peer.until_done([file.name for file in made], _PATIENCE)
        seconds = max(one["committed_at"] for one in told.values()) - started
        peer.check_loaded(first, few * ROWS)
    scaled.values.append(seconds * files / few)
    result.facts["plain Prefect, 30 files"] = round(seconds, 1)
    result.ratios.append(ratio(ours, scaled))
