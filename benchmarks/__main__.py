"""Run benchmarks and tell how they came out.

python -m benchmarks [CASE…] [--quick] [--keep] [--no-peers]
"""

from __future__ import annotations

import argparse
import signal
import sys
import time

from rich.console import Console

from benchmarks import plotting, results
from benchmarks.cases import CASES, FULL_ONLY, case
from benchmarks.session import Session


def main() -> int:
    """Run the cases; 1 when one of them could not be measured."""
    asked = _arguments()
    # What asks this process to stop must not leave its servers behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    console = Console()
    found: list[results.Result] = []
    failed: dict[str, Exception] = {}
    began = time.monotonic()
    with Session(quick=asked.quick, keep=asked.keep, peers=asked.peers) as session:
        for name in asked.cases or [one for one in CASES if not asked.quick or one not in FULL_ONLY]:
            session.console.rule(name)
            case_began = time.monotonic()
            try:
                result = case(name)(session)
            except Exception as error:  # noqa: BLE001  the other cases are measured all the same
                failed[name] = error
                session.console.print(f"[red]{name}: {type(error).__name__}[/red]: {error}", markup=True)
                continue
            session.say(f"{time.monotonic() - case_began:.0f} s")
            found.append(result)
            results.write(result)
    console.print(results.measured_table(found))
    if any(result.ratios for result in found):
        console.print(results.ratio_table(found))
    if any(result.goals for result in found):
        console.print(results.goal_table(found))
    console.print(f"{time.monotonic() - began:.0f} s; all measurements are in {results.RESULTS}")
    if not asked.quick:
        plotting.draw()
    for name, problem in failed.items():
        console.print(f"[red]{name} could not be measured: {type(problem).__name__}: {problem}[/red]")
    return 1 if failed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Run benchmarks.")
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}; all without any")
    parser.add_argument("--quick", action="store_true", help="small sizes; all together in 3 minutes")
    parser.add_argument("--keep", action="store_true", help="keep the temporary folder")
    parser.add_argument("--no-peers", dest="peers", action="store_false", help="run Tidegate alone")
    asked = parser.parse_args()
    if unknown := set(asked.cases) - set(CASES):
        parser.error(f"there is no case {', '.join(sorted(unknown))}; there are {', '.join(CASES)}")
    return asked


if __name__ == "__main__":
    sys.exit(main())
