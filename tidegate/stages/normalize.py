"""Normalize: run the contract's own steps over the valid rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from tidegate.errors import ContractError
from tidegate.stages.model import RECORD, Verdict
from tidegate.stages.schema import run_step
from tidegate.stages.staging import part_of

if TYPE_CHECKING:
    from collections.abc import Sequence

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


def normalize_together(
    verdicts: Sequence[Verdict], contract: Contract, staging: Staging
) -> dict[str, Verdict | Exception]:
    """Apply `contract.normalize` to objects that share a file; what came of each, by object id.

    Left out are those that have to be worked on by themselves.
    """
    from tidegate.stages.parts import Parts, numbers_of, run_steps

    if not contract.normalize:
        return {verdict.object_id: verdict for verdict in verdicts}
    own = numbers_of(verdicts)
    parts = Parts.of(staging.path(str(verdicts[0].rows)), list(own))
    parts = run_steps(parts, contract.normalize, contract)
    group = staging.group([(one.object_id, one.attempt) for one in verdicts], contract.version)
    file = staging.write(parts.frame, f"{group}/normalized.parquet")
    return {
        verdict.object_id: parts.failures.get(number)
        or verdict.model_copy(update={"rows": part_of(file, number)})
        for number, verdict in own.items()
        if number not in parts.apart
    }


def check_rows(result: pl.DataFrame, before: str, contract: Contract, staging: Staging) -> None:
    """ContractError unless the steps left the staged rows `before` as many, and in order."""
    records = pl.read_parquet(staging.path(before), columns=[RECORD])[RECORD]
    error = rows_changed(result, records, contract)
    if error is not None:
        raise error


def rows_changed(result: pl.DataFrame, records: pl.Series, contract: Contract) -> ContractError | None:
    """What is wrong when these are not the rows of these records, in this order."""
    if RECORD in result.columns and result[RECORD].equals(records):
        return None
    return ContractError(
        f"Contract {contract.name!r} {contract.version}: its steps change which rows there are "
        f"({records.len()} before, {result.height} after). Steps may only change columns."
    )
