"""Single measurements, what they come to, and how two of them compare."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(slots=True)
class Series:
    """All measurements of one thing, in the order they were made."""

    name: str
    unit: str = "s"
    values: list[float] = field(default_factory=list)
    #: what else is known of it: where the time went, how it was measured
    details: list[dict[str, float]] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def p95(self) -> float:
        """The value that 95 of 100 measurements do not exceed; of few measurements, the largest."""
        ordered = sorted(self.values)
        return ordered[max(0, -(-len(ordered) * 95 // 100) - 1)]

    @property
    def lowest(self) -> float:
        return min(self.values)

    @property
    def highest(self) -> float:
        return max(self.values)

    def middle_of(self, detail: str) -> float:
        """The median of one detail."""
        return statistics.median(one[detail] for one in self.details if detail in one)


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times as long `of` takes as `to`."""

    of: str
    to: str
    median: float
    lowest: float
    highest: float


def ratio(of: Series, to: Series) -> Ratio:
    """Round by round when both have as many measurements, else of the medians.

    Two measurements of one round were made within the same minute, so a machine that is slow for a while
    slows both.
    """
    if len(of.values) == len(to.values):
        each = [mine / other for mine, other in zip(of.values, to.values, strict=True)]
        return Ratio(of.name, to.name, statistics.median(each), min(each), max(each))
    middle = of.median / to.median
    return Ratio(of.name, to.name, middle, of.lowest / to.highest, of.highest / to.lowest)


def interleaved(rounds: int, candidates: Mapping[str, Callable[[int], None]]) -> None:
    """Call every candidate once a round, with the round's number; every other round in reverse order."""
    names = list(candidates)
    for number in range(rounds):
        for name in names if number % 2 == 0 else reversed(names):
            candidates[name](number)


def line_through(points: Mapping[float, float], at: float) -> float:
    """The value at `at` of the straight line that lies nearest to the points and does not fall."""
    slope, start = statistics.linear_regression(list(points), list(points.values()))
    return start + slope * at if slope > 0 else statistics.mean(points.values())
