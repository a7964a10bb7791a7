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
    result = frame.collect()
    check_rows(result, verdict.rows, contract, staging)
    name = staging.name(verdict.object_id, verdict.attempt, "normalized.parquet")
    return verdict.model_copy(update={"rows": staging.write(result, name)})


def check_rows(result: pl.DataFrame, before: str, contract: Contract, staging: Staging) -> None:
    """ContractError unless the steps left the staged rows `before` as many, and in order."""
    records = pl.read_parquet(staging.path(before), columns=[RECORD])[RECORD]
    if RECORD not in result.columns or not result[RECORD].equals(records):
        msg = (
            f"Contract {contract.name!r} {contract.version}: its steps change which rows there are "
            f"({records.len()} before, {result.height} after). Steps may only change columns."
        )
        raise ContractError(msg)
