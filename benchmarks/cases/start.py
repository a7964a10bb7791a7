"""How long the command line takes to answer: `--help`, and `check` of a file of about 1 MB."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from benchmarks import orders
from benchmarks.measuring import interleaved
from benchmarks.results import Goal, Result

if TYPE_CHECKING:
    from benchmarks.session import Session

_ROWS = 9_500


def run(session: Session) -> Result:
    """Both in turn, each time in a new process."""
    result = Result("start", session.quick)
    system = session.new_system()
    file = system.root / "orders.csv"
    orders.write_orders(file, 0, _ROWS)
    result.facts = {"rows": _ROWS, "bytes": file.stat().st_size}
    shown, checked = result.add("tidegate --help"), result.add("tidegate check, 1 MB")

    def help_(_: int) -> None:
        began = time.perf_counter()
        system.run("--help")
        shown.values.append(time.perf_counter() - began)

    def check(_: int) -> None:
        began = time.perf_counter()
        system.run("check", str(file), "--contract", "orders")
        checked.values.append(time.perf_counter() - began)

    help_(0)
    check(0)
    shown.values.clear()
    checked.values.clear()
    interleaved(session.size(20, 3), {"help": help_, "check": check})
    result.goals = [
        Goal("tidegate --help", "s", shown.median, 0.5),
        Goal("tidegate check on a small file", "s", checked.median, 1.0),
    ]
    return result
