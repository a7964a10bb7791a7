"""Lookups: match rows with a reference, and say which rows it has no match for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from tidegate.reading import RECORD, REJECTION_SCHEMA
from tidegate.stages.sentences import one_line, shown
from tidegate.stages.staging import PART

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tidegate.contracts import Contract, Lookup

#: Keys that the reason of a held object names.
_NAMED = 5
#: Column that tells whether a row has a match.
FOUND = "_found"


@dataclass(frozen=True)
class Unmatched:
    """The rows for which a lookup found nothing."""

    lookup: Lookup
    #: ``_record`` and their own key under the names of its columns, and the object's number where several
    #: share a file; when they are kept, only how many of an object there are
    rows: pl.DataFrame

    @property
    def count(self) -> int:
        """How many there are."""
        return int(self.rows.item()) if self.lookup.unmatched == "keep" else self.rows.height

    @property
    def missing(self) -> pl.DataFrame:
        """Those that have a key: as in SQL, one with a null in it refers to nothing."""
        return self.rows.filter(pl.all_horizontal(pl.col(list(self.lookup.on)).is_not_null()))


def look_up(frame: pl.LazyFrame, lookup: Lookup, snapshot: Path) -> tuple[pl.LazyFrame, pl.LazyFrame]:
    """The rows with what is taken from the reference, and those without a match (as in `Unmatched`)."""
    rows = joined(frame, lookup, reference_rows(lookup, snapshot))
    unmatched = rows.filter(pl.col(FOUND).is_null())
    told = unmatched.select(pl.len()) if lookup.unmatched == "keep" else unmatched.select(RECORD, *lookup.on)
    return rows.drop(FOUND), told


def reference_rows(lookup: Lookup, snapshot: Path) -> pl.LazyFrame:
    """What a snapshot has for a lookup: keys, `FOUND` and the columns that are taken."""
    keys = list(lookup.on.values())
    # Snapshots stand newest object first, so `first` is the row that counts.
    return (
        pl.scan_parquet(snapshot)
        .unique(subset=keys, keep="first", maintain_order=True)
        .select(
            *(pl.col(key).alias(f"_key{n}") for n, key in enumerate(keys)),
            pl.lit(value=True).alias(FOUND),
            **dict(lookup.take),
        )
    )


def joined(frame: pl.LazyFrame, lookup: Lookup, reference: pl.LazyFrame) -> pl.LazyFrame:
    """The rows with what is taken from `reference_rows`, and `FOUND`, which is null without a match."""
    return frame.join(
        reference,
        left_on=list(lookup.on),
        right_on=[f"_key{n}" for n in range(len(lookup.on))],
        how="left",
        maintain_order="left",
    )


def rejections(found: Sequence[Unmatched], origins: Path) -> pl.DataFrame:
    """One rejection for each lookup in which a row has no match; `origins` is as in `Verdict.origins`."""
    told = pl.concat([_told(one) for one in found]).unique(maintain_order=True)
    shared = [PART] if PART in told.columns else []
    return (
        pl.scan_parquet(origins)
        .join(told.lazy(), on=[*shared, "record"], how="inner", maintain_order="left_right")
        .select(*REJECTION_SCHEMA, *shared)
        .collect(engine="streaming")
    )


def _told(one: Unmatched) -> pl.DataFrame:
    own, others = list(one.lookup.on), list(one.lookup.on.values())
    texts = [pl.col(name).cast(pl.String) for name in own]
    together = "together " if len(own) > 1 else ""
    rest = f"which {together}{one.lookup.dataset} does not have in its {_columns(others)}"
    subject = pl.concat_str(
        [
            pl.format("{} is {}", pl.lit(one_line(name)), shown(text))
            for name, text in zip(own, texts, strict=True)
        ],
        separator=" and ",
    )
    return one.missing.select(
        pl.col(f"^{PART}$"),
        pl.col(RECORD).alias("record"),
        pl.lit(", ".join(own)).alias("column"),
        pl.lit("lookup").alias("rule"),
        pl.concat_str(texts, separator=", ").alias("value"),
        pl.format("{}, {}.", subject, pl.lit(rest)).alias("message"),
    )


def held_reason(found: Sequence[Unmatched], contract: Contract) -> str:
    """Which keys are missing, and what happens next."""
    lacking = "; ".join(_lacking(one) for one in found)
    return f"{lacking}. {_again([one.lookup for one in found], contract, 'lookup')}"


def never_loaded_reason(absent: Sequence[Lookup], holding: Sequence[Lookup], contract: Contract) -> str:
    """Which references were never loaded, and what happens next; `holding` are those waited for."""
    names = ", ".join(sorted({lookup.dataset for lookup in absent}))
    what_next = (
        _again(holding, contract, "reference")
        if holding
        else "Load it, then retry the run or run a backfill of this object."
    )
    return f"It needs the reference {names}, which has not been loaded. {what_next}"


def _again(lookups: Sequence[Lookup], contract: Contract, rule: str) -> str:
    names = " or ".join(dict.fromkeys(lookup.dataset for lookup in lookups))
    seconds = max(lookup.hold_seconds for lookup in lookups)
    return (
        f"While nothing of it is loaded, it is tried again when {names} is loaded within {seconds:g} s of "
        f"the upload; otherwise run `tidegate quarantine redrive --dataset {contract.name} --rule {rule}`."
    )


def _lacking(one: Unmatched) -> str:
    own, missing = list(one.lookup.on), one.missing
    keys = missing.select(own).unique(maintain_order=True)
    listed = [shown(pl.col(name).cast(pl.String)).alias(name) for name in own]
    named = ["/".join(row) for row in keys.head(_NAMED).select(listed).iter_rows()]
    more = f" and {keys.height - _NAMED} more" if keys.height > _NAMED else ""
    rows = f"{missing.height} row{'s have keys' if missing.height > 1 else ' has a key'}"
    return (
        f"{rows} in {one_line(', '.join(own))} that {one.lookup.dataset} does not have in its "
        f"{_columns(list(one.lookup.on.values()))}: {', '.join(named)}{more}"
    )


def _columns(names: Sequence[str]) -> str:
    return one_line(f"column{'s' if len(names) > 1 else ''} {', '.join(names)}")
