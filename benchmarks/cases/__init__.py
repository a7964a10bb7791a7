"""The benchmarks, one module each with ``run(session) -> Result``."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.results import Result
    from benchmarks.session import Session

#: In the order in which they run.
CASES = (
    "start",
    "latency",
    "retry",
    "burst",
    "large",
    "idle",
    "s3",
    "ledger_growth",
    "table_growth",
    "refused_rows",
)
#: What `make bench-quick` leaves out: filling ledgers and tables takes longer than all the rest.
FULL_ONLY = ("ledger_growth", "table_growth", "refused_rows")


def case(name: str) -> Callable[[Session], Result]:
    """The function that runs a case."""
    run: Callable[[Session], Result] = import_module(f"benchmarks.cases.{name}").run
    return run
