"""Enrich: take columns from reference datasets, as of one snapshot of each."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import polars as pl

from tidegate.stages.model import Verdict, VerdictState
from tidegate.stages.normalize import transform

if TYPE_CHECKING:
    from pathlib import Path

    from tidegate.contracts import Contract
    from tidegate.stages.references import References
    from tidegate.stages.staging import Staging

_PIN = "references.json"


def pin_references(contract: Contract, references: References, staging: Staging) -> dict[str, str]:
    """The snapshots this batch uses: chosen once, the same on every retry of it."""
    pin = staging.path(_PIN)
    if pin.exists():
        pinned: dict[str, str] = json.loads(pin.read_text(encoding="utf-8"))
        if all(references.path(snapshot).exists() for snapshot in pinned.values()):
            return pinned
    found = {lookup.dataset: references.latest(lookup.dataset) for lookup in contract.lookups}
    pinned = {dataset: snapshot for dataset, snapshot in found.items() if snapshot is not None}
    staging.folder.mkdir(parents=True, exist_ok=True)
    if len(pinned) == len(found):
        staging.write_text(json.dumps(pinned), _PIN)
    return pinned


def enrich(
    verdict: Verdict,
    contract: Contract,
    pinned: dict[str, str],
    references: References,
    staging: Staging,
) -> Verdict:
    """Apply `contract.enrich`; an object whose reference was never loaded is held."""
    if verdict.rows is None:
        return verdict
    absent = sorted({lookup.dataset for lookup in contract.lookups} - pinned.keys())
    if absent:
        reason = (
            f"It needs the reference {', '.join(absent)}, which has not been loaded. "
            "Load it, then retry the run or run a backfill of this object."
        )
        update = {"state": VerdictState.HELD, "rule": "reference", "reason": reason, "rows": None}
        return verdict.model_copy(update=update)
    paths = {dataset: references.path(snapshot) for dataset, snapshot in pinned.items()}
    done = transform(verdict, contract, contract.enrich, paths, staging, "enriched.parquet")
    return done.model_copy(
        update={"references": pinned, "unmatched": _unmatched(done, contract, paths, staging)}
    )


def _unmatched(
    verdict: Verdict, contract: Contract, paths: dict[str, Path], staging: Staging
) -> dict[str, int]:
    """Per reference, how many rows found no match there."""
    if verdict.rows is None:
        return {}
    rows = pl.scan_parquet(staging.path(verdict.rows))
    counts: dict[str, int] = {}
    for lookup in contract.lookups:
        keys = pl.scan_parquet(paths[lookup.dataset]).select(*lookup.on.values())
        alone = rows.join(keys, left_on=list(lookup.on), right_on=list(lookup.on.values()), how="anti")
        counts[lookup.dataset] = counts.get(lookup.dataset, 0) + alone.select(pl.len()).collect().item()
    return counts
