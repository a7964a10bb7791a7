"""Normalize: run the contract's own steps over the valid rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from tidegate.errors import ContractError
from tidegate.stages.model import RECORD, Verdict
from tidegate.stages.schema import run_step
from tidegate.stages.staging import is_worth_spreading

if TYPE_CHECKING:
    from tidegate.contracts import Contract
    from tidegate.stages.staging import Staging


def normalize(verdict: Verdict, contract: Contract, staging: Staging) -> Verdict:
    """Apply `contract.normalize`; raises ContractError when a step fails or loses rows."""
    if verdict.rows is None or not contract.normalize:
        return verdict
    before = staging.rows(verdict.rows)
    after = before
    for step in contract.normalize:
        after = run_step(contract, step, after)
    left = _left_alone(before, after) if is_worth_spreading(verdict.rows_valid) else []
    names = after.collect_schema().names()
    name = staging.name(verdict.object_id, verdict.attempt, "normalized.parquet")
    file = staging.write(after.select(one for one in names if one not in left) if left else after, name)
    check_rows(file, verdict.rows, contract, staging)
    if left:
        where = staging.where(verdict.rows)
        columns = {one: where[one] if one in left else file for one in names}
        name = staging.name(verdict.object_id, verdict.attempt, "normalized.json")
        file = staging.spread(columns, name)
    return verdict.model_copy(update={"rows": file})


def _left_alone(before: pl.LazyFrame, after: pl.LazyFrame) -> list[str]:
    """Columns that steps left as they were, apart from `RECORD`; none when rows may have changed.

    The plan of such a column is, once optimized, that of the column before the steps.
    """
    known = before.collect_schema()
    names = [name for name in after.collect_schema() if name in known]
    if any(map(is_pattern, names)):
        return []
    try:
        left = [name for name in names if after.select(name).explain() == before.select(name).explain()]
    except Exception:  # noqa: BLE001 - what is wrong with the steps is told when they are run
        return []
    return [name for name in left if name != RECORD] if RECORD in left else []


def is_pattern(name: str) -> bool:
    """Whether Polars takes a column's name for a pattern of several."""
    return name == "*" or name.startswith("^")


def check_rows(after: str, before: str, contract: Contract, staging: Staging) -> None:
    """ContractError unless the steps left the staged rows `before` as many, and in order."""
    old, new = (staging.rows(name) for name in (before, after))
    counts = [frame.select(pl.len()).collect().item() for frame in (old, new)]
    if counts[0] != counts[1] or RECORD not in new.collect_schema() or not _same_records(old, new):
        msg = (
            f"Contract {contract.name!r} {contract.version}: its steps change which rows there are "
            f"({counts[0]} before, {counts[1]} after). Steps may only change columns."
        )
        raise ContractError(msg)


def _same_records(old: pl.LazyFrame, new: pl.LazyFrame) -> bool:
    pair = pl.concat([old.select(old=RECORD), new.select(new=RECORD)], how="horizontal")
    same = pair.select(pl.col("old").eq_missing(pl.col("new")).all())
    return bool(same.collect(engine="streaming").item())
