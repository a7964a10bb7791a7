"""Latency and burst with many rows already in the table, and what the measured points say of 10⁸ rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import orders
from benchmarks.cases.burst import drop_many
from benchmarks.cases.large import drop_large
from benchmarks.cases.latency import drop_one
from benchmarks.measuring import Series, line_through, ratio
from benchmarks.results import Result

if TYPE_CHECKING:
    from benchmarks.session import Session
    from benchmarks.tidegate_system import TidegateSystem

_ESTIMATED = 100_000_000


def run(session: Session) -> Result:
    """One system whose table grows from size to size, each time by a file dropped like any other."""
    result = Result("table_growth", session.quick)
    sizes = (0, 100_000, 300_000) if session.quick else (0, 1_000_000, 3_000_000, 10_000_000)
    files = session.size(1_000, 100)
    points: dict[str, dict[float, float]] = {"one file": {}, f"{files} files": {}}
    before = 0
    with session.system() as system:
        drop_one(session, system, Series("warm"), 2)
        for size in sizes:
            _fill(session, system, size - before)
            before = size
            latency = result.add(f"one file, {size} rows")
            burst = result.add(f"{files} files, {size} rows")
            drop_one(session, system, latency, session.size(10, 3))
            for _ in range(session.size(3, 1)):
                drop_many(session, system, files, burst)
            if size:
                points["one file"][size] = latency.median
                points[f"{files} files"][size] = burst.median
    for what, measured in points.items():
        result.ratios.append(ratio(result[f"{what}, {sizes[-1]} rows"], result[f"{what}, 0 rows"]))
        if session.quick:
            # A line through so few rows would tell of noise alone.
            continue
        estimate = result.add(f"{what}, {_ESTIMATED} rows, estimated")
        estimate.values.append(line_through(measured, _ESTIMATED))
    return result


def _fill(session: Session, system: TidegateSystem, rows: int) -> None:
    if rows:
        first = session.new_orders(rows)
        file = session.folder / f"orders-large-{first:012}.csv"
        orders.write_orders(file, first, rows)
        drop_large(system, file, first, rows, Series("filling"))
        file.unlink()
