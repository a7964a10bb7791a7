"""Enrich many small objects at once; each keeps the verdict that it would get by itself."""

from __future__ import annotations

from functools import lru_cache
from itertools import groupby
from typing import TYPE_CHECKING

import polars as pl

from tidegate.contracts import Lookup
from tidegate.errors import ContractError
from tidegate.reading import RECORD
from tidegate.stages.enrich import held, held_for_reference, origins_of, waiting
from tidegate.stages.file_check import commonest_rule, too_bad
from tidegate.stages.lookups import FOUND, Unmatched, held_reason, joined, reference_rows, rejections
from tidegate.stages.parts import Parts, numbers_of, run_steps
from tidegate.stages.staging import PART, part_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from tidegate.contracts import Contract
    from tidegate.stages.model import Verdict
    from tidegate.stages.references import References
    from tidegate.stages.staging import Staging


def enrich_together(
    verdicts: Sequence[Verdict],
    contract: Contract,
    pinned: dict[str, str],
    references: References,
    staging: Staging,
) -> dict[str, Verdict | Exception]:
    """Apply `contract.enrich` to objects that share a file; what came of each, by object id.

    What `enrich` promises of one holds for each. Left out are those that have to be worked on by
    themselves.
    """
    absent = {one.object_id: held_for_reference(one, contract, pinned) for one in verdicts}
    if any(absent.values()):
        return {object_id: verdict for object_id, verdict in absent.items() if verdict is not None}
    verdicts = [verdict.model_copy(update={"references": pinned}) for verdict in verdicts]
    if not contract.enrich:
        return {verdict.object_id: verdict for verdict in verdicts}
    paths = {dataset: references.path(snapshot) for dataset, snapshot in pinned.items()}
    return _Enrichment(verdicts, contract, paths, staging).results()


class _Enrichment:
    """The rows of objects that share a file, enriched at once."""

    def __init__(
        self,
        verdicts: Sequence[Verdict],
        contract: Contract,
        paths: Mapping[str, Path],
        staging: Staging,
    ) -> None:
        self.contract = contract
        self.staging = staging
        self.verdicts = numbers_of(verdicts)
        self.group = staging.group([(one.object_id, one.attempt) for one in verdicts], contract.version)
        self.parts = Parts.of(staging.path(str(verdicts[0].rows)), list(self.verdicts))
        self.found: list[Unmatched] = []
        for looks_up, steps in groupby(contract.enrich, key=lambda step: isinstance(step, Lookup)):
            if looks_up:
                self._look_up([step for step in steps if isinstance(step, Lookup)], paths)
            else:
                own = [step for step in steps if not isinstance(step, Lookup)]
                self.parts = run_steps(self.parts, own, contract)
        asked = [one for one in self.found if one.lookup.unmatched != "keep"]
        #: objects with rows whose key a reference lacks that ought to have it
        self.lacking = {number for one in asked for number in one.missing[PART].unique().to_list()}

    def _look_up(self, lookups: Iterable[Lookup], paths: Mapping[str, Path]) -> None:
        before = self.parts.frame.select(PART, RECORD)
        frame, missed = self.parts.frame.lazy(), []
        lookups = list(lookups)
        for lookup in lookups:
            rows = joined(frame, lookup, _reference(lookup, paths[lookup.dataset]))
            told = [] if lookup.unmatched == "keep" else list(lookup.on)
            missed.append(rows.filter(pl.col(FOUND).is_null()).select(PART, RECORD, *told))
            frame = rows.drop(FOUND)
        # Together, so that what they share is worked out once.
        result, *missing = pl.collect_all([frame, *missed])
        if not result.select(PART, RECORD).equals(before):
            msg = f"Contract {self.contract.name!r}: a lookup changes which rows there are. Report this."
            raise ContractError(msg)
        self.parts = Parts(result, self.parts.failures, self.parts.apart)
        self.found += [Unmatched(*pair) for pair in zip(lookups, missing, strict=True)]

    def results(self) -> dict[str, Verdict | Exception]:
        """What came of each object, with the files that its verdict speaks of staged."""
        self._count()
        refused = self._refuse()
        held_ones: dict[int, Verdict] = {}
        for number in sorted(self.lacking & self.verdicts.keys()):
            verdict = self._held(number, refused.get(number))
            if verdict is not None:
                held_ones[number] = verdict
        gone = [*held_ones, *self.parts.failures]
        frame = self.parts.frame
        if gone:
            frame = frame.filter(~pl.col(PART).is_in(gone))
        file = self.staging.write(frame, f"{self.group}/enriched.parquet")
        results: dict[str, Verdict | Exception] = {}
        for number, verdict in self.verdicts.items():
            if number in self.parts.apart:
                continue
            going_on = verdict.model_copy(update={"rows": part_of(file, number)})
            results[verdict.object_id] = self.parts.failures.get(number) or held_ones.get(number) or going_on
        return results

    def _count(self) -> None:
        """Note per object and reference how many rows found no match there."""
        counts = [dict(one.rows.group_by(PART).len().iter_rows()) for one in self.found]
        for number, verdict in self.verdicts.items():
            unmatched: dict[str, int] = {}
            for one, own in zip(self.found, counts, strict=True):
                dataset = one.lookup.dataset
                unmatched[dataset] = unmatched.get(dataset, 0) + own.get(number, 0)
            self.verdicts[number] = verdict.model_copy(update={"unmatched": unmatched})

    def _refuse(self) -> dict[int, dict[str, int]]:
        """Take the rows without a match out, and stage why; the rules that were broken, by object."""
        refused = [one for one in self.found if one.lookup.unmatched == "reject" and one.missing.height]
        if not refused:
            return {}
        bad = pl.concat([one.missing.select(PART, RECORD) for one in refused]).unique()
        bad = bad.filter(pl.col(PART).is_in([n for n in self.verdicts if n not in self.parts.failures]))
        counts: dict[int, int] = dict(bad.group_by(PART).len().iter_rows())
        if not counts:
            return {}
        own = [self.verdicts[number] for number in counts]
        told = rejections(refused, origins_of(own[0], self.contract, self.staging))
        before = sorted({self.staging.path(one.rejected) for one in own if one.rejected is not None})
        frames = [pl.read_parquet(file).select(told.columns) for file in before]
        together = pl.concat([*frames, told]).filter(pl.col(PART).is_in(list(counts)))
        file = self.staging.write(together, f"{self.group}/refused.parquet")
        for number, count in counts.items():
            verdict = self.verdicts[number]
            update = {
                "rejected": part_of(file, number),
                "rows_valid": verdict.rows_valid - count,
                "rows_rejected": verdict.rows_rejected + count,
            }
            self.verdicts[number] = verdict.model_copy(update=update)
        frame = self.parts.frame.join(bad, on=[PART, RECORD], how="anti", maintain_order="left")
        self.parts = Parts(frame, self.parts.failures, self.parts.apart)
        rules: dict[int, dict[str, int]] = {}
        for number, rule, count in together.group_by(PART, "rule").len().iter_rows():
            rules.setdefault(number, {})[rule] = count
        return rules

    def _held(self, number: int, rules: Mapping[str, int] | None) -> Verdict | None:
        """The verdict on an object that its lookups hold, if they do."""
        verdict = self.verdicts[number]
        own = [Unmatched(one.lookup, one.rows.filter(pl.col(PART) == number)) for one in self.found]
        lacking = [one for one in own if one.lookup.unmatched == "hold" and one.missing.height]
        if lacking:
            waits = waiting([one.lookup for one in lacking])
            return held(verdict, "lookup", held_reason(lacking, self.contract), waits=waits)
        if rules is None:
            return None
        problem = too_bad(self.contract, verdict.rows_rejected, verdict.rows_read, commonest_rule(rules))
        return held(verdict, problem.rule, str(problem)) if problem is not None else None


#: Snapshots up to this size stay in memory for the next batches, so many of them.
_SMALL_SNAPSHOT_BYTES = 1024 * 1024
_KEPT = 16


def _reference(lookup: Lookup, snapshot: Path) -> pl.LazyFrame:
    """What a snapshot has for a lookup."""
    found = snapshot.stat()
    if found.st_size > _SMALL_SNAPSHOT_BYTES:
        return reference_rows(lookup, snapshot)
    return _kept(snapshot, found.st_mtime_ns, lookup.dataset, (*lookup.on.items(),), (*lookup.take.items(),))


@lru_cache(maxsize=_KEPT)
def _kept(
    snapshot: Path,
    _changed: int,
    dataset: str,
    on: tuple[tuple[str, str], ...],
    take: tuple[tuple[str, str], ...],
) -> pl.LazyFrame:
    lookup = Lookup(dataset=dataset, on=dict(on), take=dict(take))
    return reference_rows(lookup, snapshot).collect().lazy()
