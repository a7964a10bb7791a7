"""Normalize: run the contract's own steps over the valid rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from tidegate.errors import ContractError
from tidegate.stages.model import RECORD, Verdict
from tidegate.stages.schema import run_step

if TYPE_CHECKING:
    from tidegate.contracts import Contract
    from tidegate.stages.staging import Staging


def normalize(verdict: Verdict, contract: Contract, staging: Staging) -> Verdict:
    """Apply `contract.normalize`; raises ContractError when a step fails or loses rows."""
    if verdict.rows is None or not contract.normalize:
        return verdict
    frame = pl.scan_parquet(staging.path(verdict.rows))
    for step in contract.normalize:
        frame = run_step(contract, step, frame)
    name = staging.name(verdict.object_id, verdict.attempt, "normalized.parquet")
    after = staging.write(frame, name)
    check_rows(after, verdict.rows, contract, staging)
    return verdict.model_copy(update={"rows": after})


def check_rows(after: str, before: str, contract: Contract, staging: Staging) -> None:
    """ContractError unless the steps left the staged rows `before` as many, and in order."""
    old, new = (pl.scan_parquet(staging.path(name)) for name in (before, after))
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
