"""What refused rows cost: a file with none, with one in a hundred, and with nothing but refused rows.

    python -m benchmarks refused_rows

Times the validate stage as a run does it (read, parse, check, stage the valid and the refused rows), each
time in a process of its own, round by round after one that does not count, and prints medians and their ratio
to the clean file. The counts are checked before a time is told.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import pandera.polars as pa
import polars as pl

from benchmarks.measuring import ratio
from benchmarks.results import WrongResultError
from tidegate.contracts import Contract
from tidegate.stages.file_check import check_file
from tidegate.stages.staging import Staging

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.results import Result


class Order(pa.DataFrameModel):
    id: int = pa.Field(ge=0)
    day: pl.Date
    name: str
    qty: int = pa.Field(ge=0, le=1000)
    price: Annotated[pl.Decimal, 10, 2]
    region: str = pa.Field(isin=["north", "south"])
    flag: bool
    a: int
    b: int
    c: str
    d: str


ORDERS = Contract(
    name="orders", version="1.0.0", owner="bench", description="Orders.", keys=["*.csv"], schema=Order
)


def _line(number: int) -> str:
    day = f"2026-{number % 12 + 1:02}-{number % 28 + 1:02}"
    price = f"{number % 10_000 / 100:.2f}"
    region = "north" if number % 2 else "south"
    rest = f"{number * 7},{number % 13},text number {number},x{number % 100}"
    return f"{number},{day},name {number},{number % 1000},{price},{region},true,{rest}"


def _with(number: int, place: int, value: str) -> str:
    fields = _line(number).split(",")
    fields[place] = value
    return ",".join(fields)


#: kind of damage -> a refused line
DAMAGE: dict[str, Callable[[int], str]] = {
    "type": lambda number: _with(number, 3, "many"),
    "two rules": lambda number: _with(number, 3, "9999").replace("north", "east").replace("south", "east"),
    "fields": lambda number: _line(number).rpartition(",")[0],
    "quotes": lambda number: _with(number, 2, f'name "{number}"'),
}
KINDS = list(DAMAGE)
DAMAGE["mixed"] = lambda number: DAMAGE[KINDS[number // 100 % len(KINDS)]](number)


def write_file(path: Path, rows: int, damage: str | None, every: int) -> None:
    """One file of `rows` lines, of which every so many is refused."""
    bad = DAMAGE[damage] if damage is not None else _line
    with path.open("w", encoding="utf-8") as file:
        file.write(",".join(Order.to_schema().columns) + "\n")
        file.writelines(
            f"{bad(number) if number % every == 0 else _line(number)}\n" for number in range(rows)
        )


def measure(path: Path, staged: Path) -> dict[str, Any]:
    """Seconds, peak memory in MB and counts of validating one file."""
    started = time.perf_counter()
    staging = Staging(staged)
    valid = 0
    checked = check_file(path, ORDERS)
    with staging.spool("valid.parquet") as rows, staging.spool("refused.parquet") as refused:
        for part in checked.parts():
            valid += part.valid.height
            rows.add(part.valid)
            if part.rejections.height:
                refused.add(part.rejections)
        rows.close()
        if checked.rejected:
            refused.close()
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "linux" else 1024**2)
    return {"seconds": seconds, "peak_mb": peak, "valid": valid, "refused": checked.rejected}


def _in_own_process(path: Path, folder: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=folder) as staged:
        command = [sys.executable, "-m", "benchmarks.refused_rows", str(path), staged]
        done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603  this file
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def measure_all(result: Result, rows: int, rounds: int) -> None:
    """Add a series for each kind of file and its ratio to the clean one.

    WrongResultError when the counts are wrong.
    """
    cases: list[tuple[str, str | None, int]] = [("clean", None, rows + 1)]
    cases += [
        (f"{share} {kind}", kind, every) for every, share in ((100, "1 %"), (1, "100 %")) for kind in DAMAGE
    ]
    measured = {name: result.add(name) for name, _, _ in cases}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name, damage, every in cases:
            write_file(folder / f"{name}.csv", rows, damage, every)
        for counts in [False] + [True] * rounds:
            for name, damage, every in cases:
                found = _in_own_process(folder / f"{name}.csv", folder)
                expected = 0 if damage is None else -(-rows // every)
                if (found["valid"], found["refused"]) != (rows - expected, expected):
                    msg = f"{name}: expected {expected} refused of {rows} rows, found {found}"
                    raise WrongResultError(msg)
                if counts:
                    measured[name].values.append(found["seconds"])
                    measured[name].details.append({"peak_mb": found["peak_mb"]})
    clean = measured.pop("clean")
    result.ratios.extend(ratio(one, clean) for one in measured.values())


def main() -> None:
    """Measure one file: ``FILE STAGING_FOLDER``. A process of its own, so that its peak memory is its own."""
    path, staged = (Path(word) for word in sys.argv[1:])
    json.dump(measure(path, staged), sys.stdout)


if __name__ == "__main__":
    main()
