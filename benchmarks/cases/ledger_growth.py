"""Latency, burst, `status` and `why` with many objects already in the ledger."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from benchmarks.cases.burst import drop_many
from benchmarks.cases.latency import drop_one
from benchmarks.filled_ledger import fill
from benchmarks.measuring import Series, ratio
from benchmarks.results import Goal, Result
from tidegate.settings import load_settings

if TYPE_CHECKING:
    from benchmarks.session import Session


def run(session: Session) -> Result:
    """Each size in a system of its own, the empty one first and last: the machine may have changed speed."""
    result = Result("ledger_growth", session.quick)
    files = session.size(1_000, 100)
    sizes = (0, 1_000, 10_000) if session.quick else (0, 1_000, 100_000, 1_000_000)
    for size in (*sizes, 0):
        _measure(session, result, size, files)
    for size in sizes[1:]:
        for what in ("one file", f"{files} files"):
            result.ratios.append(ratio(result[f"{what}, {size} objects"], result[f"{what}, 0 objects"]))
    largest = sizes[-1]
    for one in result.ratios[-2:]:
        work = f"{one.of.partition(',')[0]} with {largest:,} objects in the ledger, to none"
        result.goals.append(Goal(work, "x", one.median, 1.3))
    for command in ("status", "why"):
        median = result[f"tidegate {command}, {largest} objects"].median
        result.goals.append(
            Goal(f"tidegate {command} with {largest:,} objects in the ledger", "s", median, 1.0)
        )
    return result


def _measure(session: Session, result: Result, size: int, files: int) -> None:
    latency = _series(result, f"one file, {size} objects")
    burst = _series(result, f"{files} files, {size} objects")
    system = session.new_system()
    if size:
        session.say(f"filling a ledger with {size} objects")
        began = time.monotonic()
        fill(load_settings(system.root), size, ["orders"])
        result.facts[f"seconds to fill {size}"] = round(time.monotonic() - began, 1)
    with system.up():
        drop_one(session, system, Series("warm"), 2)
        drop_one(session, system, latency, session.size(10, 3))
        for _ in range(session.size(3, 1)):
            drop_many(session, system, files, burst)
        key = min(system.landing.glob("orders-*.csv")).name
        for words in (("status",), ("why", key)):
            command = _series(result, f"tidegate {words[0]}, {size} objects")
            for _ in range(5):
                began = time.perf_counter()
                system.run(*words)
                command.values.append(time.perf_counter() - began)


def _series(result: Result, name: str) -> Series:
    found = [one for one in result.series if one.name == name]
    return found[0] if found else result.add(name)
