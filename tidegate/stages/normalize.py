"""Normalize: run the contract's own steps over the valid rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from tidegate.contracts import Lookup
from tidegate.errors import ContractError
from tidegate.stages.model import RECORD, Verdict
from tidegate.stages.schema import run_step

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tidegate.contracts import Contract, Step
    from tidegate.stages.staging import Staging


def normalize(verdict: Verdict, contract: Contract, staging: Staging) -> Verdict:
    """Apply `contract.normalize`; raises ContractError when a step fails or loses rows."""
    return transform(verdict, contract, contract.normalize, {}, staging, "normalized.parquet")


def transform(
    verdict: Verdict,
    contract: Contract,
    steps: Sequence[Lookup | Step],
    references: Mapping[str, Path],
    staging: Staging,
    name: str,
) -> Verdict:
    """Run steps and lookups over a verdict's rows and stage the result under `name`."""
    if verdict.rows is None or not steps:
        return verdict
    frame = pl.scan_parquet(staging.path(verdict.rows))
    for step in steps:
        if isinstance(step, Lookup):
            frame = _look_up(frame, step, references[step.dataset])
        else:
            frame = run_step(contract, step, frame)
    result = frame.collect()
    before = pl.read_parquet(staging.path(verdict.rows), columns=[RECORD])[RECORD]
    if RECORD not in result.columns or not result[RECORD].equals(before):
        msg = (
            f"Contract {contract.name!r} {contract.version}: its steps change which rows there are "
            f"({before.len()} before, {result.height} after). Steps may only change columns."
        )
        raise ContractError(msg)
    relative = staging.write(result, staging.name(verdict.object_id, verdict.attempt, name))
    return verdict.model_copy(update={"rows": relative})


def _look_up(frame: pl.LazyFrame, lookup: Lookup, snapshot: Path) -> pl.LazyFrame:
    keys = list(lookup.on.values())
    # Snapshots stand newest object first, so `first` is the row that counts.
    reference = (
        pl.scan_parquet(snapshot)
        .unique(subset=keys, keep="first", maintain_order=True)
        .select(*(pl.col(key).alias(f"_key{n}") for n, key in enumerate(keys)), **dict(lookup.take))
    )
    return frame.join(
        reference,
        left_on=list(lookup.on),
        right_on=[f"_key{n}" for n in range(len(keys))],
        how="left",
        maintain_order="left",
    )
