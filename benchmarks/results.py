"""What a benchmark found: kept as JSON, shown as tables."""

from __future__ import annotations

import json
import platform
import subprocess
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from rich.table import Table

from benchmarks.measuring import Ratio, Series
from tidegate.clock import now

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

REPOSITORY = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
_PACKAGES = ("prefect", "polars", "pandera", "duckdb", "sqlalchemy", "rich")


class WrongResultError(Exception):
    """A load gave other rows than the files hold; its time means nothing."""


@dataclass(frozen=True, slots=True)
class Goal:
    """A number that is to be reached; lower is better, but for `at_least`."""

    work: str
    unit: str
    measured: float
    reach: float
    then: float | None = None
    at_least: bool = False

    def meets(self, bound: float) -> bool:
        return self.measured >= bound if self.at_least else self.measured <= bound


@dataclass(slots=True)
class Result:
    """The outcome of one case."""

    case: str
    quick: bool
    series: list[Series] = field(default_factory=list)
    ratios: list[Ratio] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)
    #: sizes and settings that the numbers hold for
    facts: dict[str, Any] = field(default_factory=dict)

    def add(self, name: str, unit: str = "s") -> Series:
        """A new, empty series."""
        series = Series(name, unit)
        self.series.append(series)
        return series

    def __getitem__(self, name: str) -> Series:
        return next(one for one in self.series if one.name == name)


def write(result: Result) -> Path:
    """Keep a result, with all single measurements and the machine they were made on."""
    RESULTS.mkdir(exist_ok=True)
    name = f"{result.case}-quick" if result.quick else result.case
    path = RESULTS / f"{name}.json"
    told = {
        "case": result.case,
        "quick": result.quick,
        "environment": environment(),
        "facts": result.facts,
        "series": [_told(one) for one in result.series],
        "ratios": [_rounded(asdict(one)) for one in result.ratios],
        "goals": [_rounded(asdict(one)) | {"reached": one.meets(one.reach)} for one in result.goals],
    }
    path.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return path


def environment() -> dict[str, Any]:
    """The machine, the versions and the commit that a measurement holds for."""
    return {
        "measured_at": now().isoformat(timespec="seconds"),
        "cpu": _cpu_model(),
        "cpus": psutil.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1024**3, 1),
        "load": [round(one, 2) for one in psutil.getloadavg()],
        "system": platform.system(),
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in _PACKAGES},
        "commit": _commit(),
    }


def measured_table(results: Iterable[Result]) -> Table:
    """Every series: median, spread, number of measurements, CPU time where it was measured."""
    table = Table(title="Measured", title_justify="left")
    table.add_column("case")
    table.add_column("what")
    for column in ("median", "p95", "fastest", "slowest", "times", "CPU"):
        table.add_column(column, justify="right")
    for result in results:
        for one in result.series:
            numbers = (one.median, one.p95, one.lowest, one.highest)
            shown = [amount(number, one.unit) for number in numbers]
            cpu = amount(one.middle_of("cpu"), "s") if any("cpu" in each for each in one.details) else ""
            table.add_row(result.case, one.name, *shown, str(len(one.values)), cpu)
        table.add_section()
    return table


def ratio_table(results: Iterable[Result]) -> Table:
    """Every comparison."""
    table = Table(title="Compared, in the same run on the same files", title_justify="left")
    for column in ("case", "time of", "to that of"):
        table.add_column(column)
    for column in ("ratio", "from", "to"):
        table.add_column(column, justify="right")
    for result in results:
        for one in result.ratios:
            numbers = (f"{number:.2f}" for number in (one.median, one.lowest, one.highest))
            table.add_row(result.case, one.of, one.to, *numbers)
        table.add_section()
    return table


def goal_table(results: Iterable[Result]) -> Table:
    """The numbers that are to be reached, and whether they are."""
    table = Table(title="Numbers to reach", title_justify="left")
    table.add_column("work")
    for column in ("measured", "reach", "then"):
        table.add_column(column, justify="right")
    table.add_column("")
    for goal in (goal for result in results for goal in result.goals):
        sign = "≥" if goal.at_least else "≤"
        bounds = [
            f"{sign} {amount(one, goal.unit)}" if one is not None else "" for one in (goal.reach, goal.then)
        ]
        table.add_row(goal.work, amount(goal.measured, goal.unit), *bounds, _verdict(goal))
    return table


def amount(number: float, unit: str) -> str:
    """A measurement as people read it."""
    if unit == "s" and abs(number) < 1:
        return f"{number * 1000:.0f} ms"
    return f"{number:,.0f} {unit}" if unit == "MB" else f"{number:,.2f} {unit}"


def _verdict(goal: Goal) -> str:
    if goal.then is not None and goal.meets(goal.then):
        return "[green]reached, both[/green]"
    return "[green]reached[/green]" if goal.meets(goal.reach) else "[red]not reached[/red]"


def _told(series: Series) -> dict[str, Any]:
    told = {
        "name": series.name,
        "unit": series.unit,
        "median": series.median,
        "p95": series.p95,
        "lowest": series.lowest,
        "highest": series.highest,
        "values": series.values,
    }
    if series.details:
        told["details"] = [_rounded(one) for one in series.details]
    return _rounded(told)


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    return dict(_each_rounded(values))


def _each_rounded(values: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, float):
            yield name, round(value, 4)
        elif isinstance(value, list):
            yield name, [round(one, 4) if isinstance(one, float) else one for one in value]
        else:
            yield name, value


def _cpu_model() -> str:
    told = Path("/proc/cpuinfo")
    lines = told.read_text(encoding="utf-8").splitlines() if told.exists() else []
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown"
    )


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    told = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)  # noqa: S603
    return told.stdout.strip() or "unknown"
