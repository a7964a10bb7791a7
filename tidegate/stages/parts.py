"""Rows of many objects in one frame, and a contract's steps over them.

A step is anything that makes a frame of a frame, so it is given the rows of one object at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from tidegate.errors import ContractError
from tidegate.stages.model import RECORD
from tidegate.stages.schema import run_step
from tidegate.stages.staging import PART, file_and_part

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from tidegate.contracts import Contract
    from tidegate.stages.model import Verdict

Step = Callable[[pl.LazyFrame], pl.LazyFrame]

#: Plans that are run at once.
_PLANS = 100


@dataclass
class Parts:
    """Rows of several objects, object by object; `PART` says which row is whose."""

    frame: pl.DataFrame
    #: what a step stumbled over, by object; its rows are gone
    failures: dict[int, Exception] = field(default_factory=dict)
    #: objects that came out with other columns than most; their rows are gone, too
    apart: set[int] = field(default_factory=set)

    @classmethod
    def of(cls, file: Path, numbers: Sequence[int]) -> Parts:
        """The rows that these objects have in the file."""
        frame = pl.read_parquet(file)
        if frame[PART].n_unique() > len(numbers):
            frame = frame.filter(pl.col(PART).is_in(numbers))
        return cls(frame)

    def each(self) -> Iterator[tuple[int, pl.DataFrame]]:
        """The rows of each object that has any, without their number."""
        numbers = self.frame[PART].to_numpy()
        bounds = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(numbers)]
        rows = self.frame.drop(PART)
        for first, after in pairwise(bounds):
            if after > first:
                yield int(numbers[first]), rows.slice(first, after - first)


def numbers_of(verdicts: Iterable[Verdict]) -> dict[int, Verdict]:
    """The verdicts by the numbers that their objects have in a file that they share."""
    found = {}
    for verdict in verdicts:
        number = file_and_part(str(verdict.rows))[1]
        if number is not None:
            found[number] = verdict
    return found


def run_steps(parts: Parts, steps: Sequence[Step], contract: Contract) -> Parts:
    """Every object after these steps; one that a step fails for is in `failures`."""
    before = dict(parts.each())
    failures = dict(parts.failures)
    plans: dict[int, pl.LazyFrame] = {}
    for number, rows in before.items():
        try:
            plans[number] = _planned(rows.lazy(), steps, contract)
        except Exception as failure:  # noqa: BLE001 - the stage tells it of this object
            failures[number] = failure
    results: dict[int, pl.DataFrame] = {}
    for number, result in _collected(plans):
        if isinstance(result, Exception):
            failures[number] = result
        elif (wrong := _rows_changed(result, before[number][RECORD], contract)) is not None:
            failures[number] = wrong
        else:
            results[number] = result
    if results:
        return _put_together(results, parts, failures)
    empty = _planned(parts.frame.clear().drop(PART).lazy(), steps, contract).collect()
    return Parts(empty.with_columns(pl.lit(0, pl.Int32).alias(PART)), failures, parts.apart)


def _planned(rows: pl.LazyFrame, steps: Sequence[Step], contract: Contract) -> pl.LazyFrame:
    for step in steps:
        rows = run_step(contract, step, rows)
    return rows


def _collected(plans: dict[int, pl.LazyFrame]) -> Iterator[tuple[int, pl.DataFrame | Exception]]:
    numbers = list(plans)
    for start in range(0, len(numbers), _PLANS):
        some = numbers[start : start + _PLANS]
        try:
            yield from zip(some, pl.collect_all([plans[number] for number in some]), strict=True)
        except Exception:  # noqa: BLE001 - it does not say whose plan it was
            for number in some:
                yield number, _collected_alone(plans[number])


def _collected_alone(plan: pl.LazyFrame) -> pl.DataFrame | Exception:
    try:
        return plan.collect()
    except Exception as error:  # noqa: BLE001 - the stage tells it of this object
        return error


def _put_together(results: dict[int, pl.DataFrame], parts: Parts, failures: dict[int, Exception]) -> Parts:
    schema = next(iter(results.values())).schema
    alike = {number: rows for number, rows in results.items() if rows.schema == schema}
    numbers = np.repeat(list(alike), [rows.height for rows in alike.values()])
    frame = pl.concat(list(alike.values()), rechunk=True)
    apart = parts.apart | (results.keys() - alike.keys())
    return Parts(frame.with_columns(pl.Series(PART, numbers, dtype=pl.Int32)), failures, apart)


def _rows_changed(result: pl.DataFrame, records: pl.Series, contract: Contract) -> ContractError | None:
    """What is wrong when these are not the rows of these records, in this order."""
    if RECORD in result.columns and result[RECORD].equals(records):
        return None
    return ContractError(
        f"Contract {contract.name!r} {contract.version}: its steps change which rows there are "
        f"({records.len()} before, {result.height} after). Steps may only change columns."
    )
