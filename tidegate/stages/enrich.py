"""Enrich: take columns from reference datasets, as of one snapshot of each."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import polars as pl

from tidegate.contracts import Lookup
from tidegate.errors import ContractError
from tidegate.stages.file_check import too_bad
from tidegate.stages.lookups import Unmatched, held_reason, look_up, never_loaded_reason, rejections
from tidegate.stages.model import RECORD, Verdict, VerdictState
from tidegate.stages.normalize import check_rows, is_pattern
from tidegate.stages.schema import run_step
from tidegate.stages.staging import is_worth_spreading

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
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
    """Apply `contract.enrich`.

    Rows for which a rejecting lookup has no match join those that validation refused, under the
    same budget. An object is held whose reference was never loaded, or lacks a key that a holding
    lookup needs.
    """
    if verdict.rows is None:
        return verdict
    lacking = held_for_reference(verdict, contract, pinned)
    if lacking is not None:
        return lacking
    verdict = verdict.model_copy(update={"references": pinned})
    if not contract.enrich:
        return verdict
    paths = {dataset: references.path(snapshot) for dataset, snapshot in pinned.items()}
    return _judged(verdict, contract, *_run(verdict, contract, paths, staging), staging)


def held_for_reference(verdict: Verdict, contract: Contract, pinned: Mapping[str, str]) -> Verdict | None:
    """The verdict on an object while one of its references was never loaded."""
    absent = [lookup for lookup in contract.lookups if lookup.dataset not in pinned]
    if not absent:
        return None
    holding = [lookup for lookup in absent if lookup.unmatched == "hold"]
    waits = waiting(holding)
    seen = {**pinned, **dict.fromkeys(waits, "")}
    reason = never_loaded_reason(absent, holding, contract)
    return held(verdict, "reference", reason, references=seen, waits=waits)


def _judged(
    verdict: Verdict, contract: Contract, rows: str, found: Sequence[Unmatched], staging: Staging
) -> Verdict:
    """Refuse rows or hold the object, as its lookups say; else the staged `rows` go on."""
    verdict = verdict.model_copy(update={"unmatched": _counts(found)})
    refused = [one for one in found if one.lookup.unmatched == "reject" and one.missing.height]
    if refused:
        verdict, rows = _refuse(verdict, contract, rows, refused, staging)
    lacking = [one for one in found if one.lookup.unmatched == "hold" and one.missing.height]
    if lacking:
        waits = waiting([one.lookup for one in lacking])
        return held(verdict, "lookup", held_reason(lacking, contract), waits=waits)
    if refused:
        commonest = _commonest_rule(verdict, staging)
        problem = too_bad(contract, verdict.rows_rejected, verdict.rows_read, commonest)
        if problem is not None:
            return held(verdict, problem.rule, str(problem))
    return verdict.model_copy(update={"rows": rows})


def _run(
    verdict: Verdict, contract: Contract, paths: Mapping[str, Path], staging: Staging
) -> tuple[str, list[Unmatched]]:
    """All rows, enriched and staged, and for each lookup those without a match."""
    rows = str(verdict.rows)
    before = frame = staging.rows(rows)
    unmatched = []
    for step in contract.enrich:
        if isinstance(step, Lookup):
            frame, missed = look_up(frame, step, paths[step.dataset])
            unmatched.append(missed)
        else:
            frame = run_step(contract, step, frame)
    name = staging.name(verdict.object_id, verdict.attempt, "enriched.parquet")
    kept = _untouched(verdict, contract, before)
    names = frame.collect_schema().names()
    new = frame.select(one for one in names if one not in kept) if kept else frame
    missing = staging.write_beside(new, name, unmatched)
    check_rows(name, rows, contract, staging)
    if kept:
        where = staging.where(rows)
        columns = {one: where[one] if one in kept else name for one in names}
        name = staging.spread(columns, staging.name(verdict.object_id, verdict.attempt, "enriched.json"))
    return name, [Unmatched(*pair) for pair in zip(contract.lookups, missing, strict=True)]


def _untouched(verdict: Verdict, contract: Contract, before: pl.LazyFrame) -> list[str]:
    """Columns of many rows that need not be written again: lookups alone only add some."""
    only_lookups = all(isinstance(step, Lookup) for step in contract.enrich)
    if not only_lookups or not is_worth_spreading(verdict.rows_valid):
        return []
    names = before.collect_schema().names()
    return [] if any(map(is_pattern, names)) else [name for name in names if name != RECORD]


def _refuse(
    verdict: Verdict, contract: Contract, rows: str, refused: Sequence[Unmatched], staging: Staging
) -> tuple[Verdict, str]:
    """Take the rows without a match out, and stage why beside what validation refused."""
    told = rejections(refused, origins_of(verdict, contract, staging))
    bad = pl.concat([one.missing[RECORD] for one in refused]).unique()
    before = [pl.scan_parquet(staging.path(verdict.rejected))] if verdict.rejected is not None else []
    name = staging.name(verdict.object_id, verdict.attempt, "refused.parquet")
    update = {
        "rejected": staging.write(pl.concat([*before, told.lazy()]), name),
        "rows_valid": verdict.rows_valid - bad.len(),
        "rows_rejected": verdict.rows_rejected + bad.len(),
    }
    kept = staging.rows(rows).filter(~pl.col(RECORD).is_in(bad.implode()))
    name = staging.name(verdict.object_id, verdict.attempt, "kept.parquet")
    return verdict.model_copy(update=update), staging.write(kept, name)


def origins_of(verdict: Verdict, contract: Contract, staging: Staging) -> Path:
    """Where the records stand as they were written; ContractError when validation kept none."""
    if verdict.origins is None:
        msg = (
            f"Contract {contract.name!r} {contract.version} was changed without a step of its version "
            "while a run was at work. Give it a new version and retry the run."
        )
        raise ContractError(msg)
    return staging.path(verdict.origins)


def _commonest_rule(verdict: Verdict, staging: Staging) -> str:
    rules = pl.scan_parquet(staging.path(str(verdict.rejected))).group_by("rule").len().collect()
    return str(rules.sort("len", "rule", descending=[True, False])["rule"][0])


def _counts(found: Sequence[Unmatched]) -> dict[str, int]:
    """Per reference, how many rows found no match there."""
    counts: dict[str, int] = {}
    for one in found:
        counts[one.lookup.dataset] = counts.get(one.lookup.dataset, 0) + one.count
    return counts


def waiting(lookups: Sequence[Lookup]) -> dict[str, float]:
    """For how long an object that is held waits for each reference that these look up in."""
    seconds: dict[str, float] = {}
    for one in lookups:
        seconds[one.dataset] = max(seconds.get(one.dataset, 0.0), one.hold_seconds)
    return seconds


def held(verdict: Verdict, rule: str, reason: str, **more: object) -> Verdict:
    """The verdict on an object that is held as a whole."""
    update = {"state": VerdictState.HELD, "rule": rule, "reason": reason, "rows": None}
    return verdict.model_copy(update={**update, **more})
