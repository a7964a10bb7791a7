"""Check a file against its contract: no server, no store, no ledger.

The same code for a drop, a redrive, `tidegate check` and a contract's trial.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

import polars as pl

from tidegate.errors import ObjectRejectedError
from tidegate.reading import LINE, RECORD, REJECTION_SCHEMA, LineKind, open_reading
from tidegate.stages.check import check, is_rowwise, runs_own_code
from tidegate.stages.parse import Parsed, parse
from tidegate.stages.pipeline import worked_on
from tidegate.stages.schema import file_columns
from tidegate.stages.totals import TotalsCheck

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from tidegate.contracts import Contract
    from tidegate.reading import Block, Reading


#: Beyond this finding the lines, which one thread does, takes longer than judging them.
_MOST_WORKERS = 4


@dataclass(frozen=True, slots=True)
class Part:
    """Some consecutive records of a file, judged."""

    #: ``_record``, ``_line`` and the schema's columns, typed
    valid: pl.DataFrame
    #: columns of `REJECTION_SCHEMA`, ordered by record
    rejections: pl.DataFrame
    records: int
    #: ``record``, ``line``, ``offset`` and ``raw`` of the valid records; None unless asked for
    origins: pl.DataFrame | None


@dataclass(frozen=True, slots=True)
class _Judged:
    """A part, and what it adds to what is told of the whole file."""

    part: Part
    parsed: Parsed
    rejected: int
    lines: Counter[LineKind]


@dataclass(kw_only=True)
class FileCheck:
    """A file under judgement. Its counts are complete when all `parts` have been taken."""

    reading: Reading
    contract: Contract
    patient: bool = False
    #: what the supplier says of the file, where that stands in an object of its own
    manifest: Callable[[], bytes] | None = None
    #: whether valid records are wanted as they stand in the file, too
    with_origins: bool = False
    #: told now and then how many of the file's bytes were read, from a thread that reads ahead
    taken: Callable[[int], object] | None = None
    records: int = 0
    rejected: int = 0
    #: physical lines by kind; they add up to the lines of the file
    lines: Counter[LineKind] = field(default_factory=Counter)

    @property
    def dialect(self) -> dict[str, Any]:
        """How the file is written, as found."""
        return self.reading.dialect

    @property
    def assumed(self) -> list[str]:
        """Fields of `dialect` that nothing in the file tells."""
        return self.reading.assumed

    def parts(self) -> Iterator[Part]:
        """Judge the file from its beginning to its end, part by part, in order.

        Files of a contract that judges rows among each other are one part. Raises
        ObjectRejectedError when the file as a whole is refused, perhaps after some parts.
        """
        columns = file_columns(self.contract)
        totals = TotalsCheck(self.contract, columns)
        self.records, self.rejected, self.lines = 0, 0, Counter(self.reading.head.kinds)
        blocks = self.reading.blocks(patient=self.patient, taken=self.taken)
        groups = ([block] for block in blocks) if is_rowwise(self.contract) else iter([list(blocks)])
        judged = worked_on(groups, partial(self._judge, columns), workers=_workers(self.contract))
        first = next(judged, None)
        for one in chain([first or self._judge(columns, [])], judged):
            totals.add(one.parsed, one.part.records)
            self.records += one.part.records
            self.rejected += one.rejected
            self.lines.update(one.lines)
            yield one.part
        totals.settle(self.reading.footer, self.manifest, delimiter=self.reading.dialect["delimiter"])

    def _judge(self, columns: dict[str, pl.DataType], blocks: Sequence[Block]) -> _Judged:
        """Judge some blocks; several threads may do so at a time."""
        parsed = parse_blocks(blocks, columns, self.contract)
        part, bad = judge(parsed, blocks, check(parsed, self.contract), with_origins=self.with_origins)
        lines: Counter[LineKind] = Counter()
        for block in blocks:
            kinds = block.line_kinds(_within(block, bad))
            lines.update({LineKind(kind): count for kind, count in _counted(kinds)})
        rejected = len(bad) + sum(block.damaged.height for block in blocks)
        return _Judged(part, parsed, rejected, lines)


def parse_blocks(blocks: Sequence[Block], columns: Mapping[str, pl.DataType], contract: Contract) -> Parsed:
    """All sound records of the blocks, typed."""
    own = pl.DataFrame(schema={RECORD: pl.Int64, LINE: pl.Int64, **dict.fromkeys(columns, pl.String)})
    # In one chunk: with more, Polars 2.1 panics in some text functions ("i < self.len()").
    text = pl.concat([own, *(block.rows for block in blocks)], rechunk=True)
    return parse(text, columns, contract)


def judge(
    parsed: Parsed, blocks: Sequence[Block], broken: pl.DataFrame, *, with_origins: bool
) -> tuple[Part, pl.Series]:
    """Part the records of consecutive blocks by what was found wrong; and the records that are sound but bad.

    `broken`: rejections that checks made, besides those of values that could not be read.
    """
    broken = pl.concat([parsed.unread, broken])
    bad = broken["record"].unique(maintain_order=True).sort()
    rejections = [_with_origins(block, broken, bad) for block in blocks] if len(bad) else []
    damaged = [block.damaged for block in blocks if block.damaged.height]
    together = pl.concat([pl.DataFrame(schema=REJECTION_SCHEMA), *rejections, *damaged])
    if damaged and rejections:
        together = together.sort("record", maintain_order=True)
    valid = _without(parsed, bad)
    origins = _origins(blocks, valid[RECORD]) if with_origins else None
    return Part(valid, together, sum(block.records for block in blocks), origins), bad


def check_file(
    content: Path | bytes,
    contract: Contract,
    *,
    patient: bool = False,
    manifest: Callable[[], bytes] | None = None,
    with_origins: bool = False,
    taken: Callable[[int], object] | None = None,
) -> FileCheck:
    """Open a file for checking. ObjectRejectedError when it can't be read as the contract says."""
    reading = open_reading(
        content,
        columns=list(file_columns(contract)),
        dialect=contract.dialect,
        policy=contract.columns,
        called=f"contract {contract.name} {contract.version}",
    )
    return FileCheck(
        reading=reading,
        contract=contract,
        patient=patient,
        manifest=manifest,
        with_origins=with_origins,
        taken=taken,
    )


def commonest_rule(rules: Mapping[str, int]) -> str:
    """The rule that most rejections are of, the first by name where several are; empty for none."""
    return min(rules, key=lambda rule: (-rules[rule], rule), default="")


def too_bad(contract: Contract, rejected: int, read: int, commonest: str) -> ObjectRejectedError | None:
    """Why an object with so many rejected rows is held as a whole, if it is."""
    from tidegate.contracts import Replace

    if contract.budget.exceeded_by(rejected, read):
        msg = (
            f"{rejected} of {read} rows were refused, more than contract {contract.name} "
            f"{contract.version} allows; the commonest reason: {commonest}."
        )
        return ObjectRejectedError(msg, rule="budget")
    if isinstance(contract.load, Replace) and not read and not contract.load.allow_empty:
        msg = f"The file has a header and no rows; it may not empty the table {contract.name}."
        return ObjectRejectedError(msg, rule="no_rows")
    return None


def _workers(contract: Contract) -> int:
    """How many threads judge at a time, while one more reads; a contract's own code runs in one."""
    return 1 if runs_own_code(contract) else min(os.cpu_count() or 1, _MOST_WORKERS)


def _without(parsed: Parsed, bad: pl.Series) -> pl.DataFrame:
    if not len(bad):
        return parsed.rows
    return parsed.rows.filter(~pl.col(RECORD).is_in(bad.implode()))


def _within(block: Block, records: pl.Series) -> pl.Series:
    first = block.place.records
    return records.filter((records > first) & (records <= first + block.records))


def _origins(blocks: Sequence[Block], records: pl.Series) -> pl.DataFrame:
    schema = {name: REJECTION_SCHEMA[name] for name in ("record", "line", "offset", "raw")}
    found = [pl.DataFrame(schema=schema)]
    for block in blocks:
        own = _within(block, records).alias("record")
        found.append(own.to_frame().hstack(block.origins(own)))
    return pl.concat(found)


def _with_origins(block: Block, broken: pl.DataFrame, bad: pl.Series) -> pl.DataFrame:
    records = _within(block, bad)
    own = broken.filter(
        pl.col("record").is_between(block.place.records + 1, block.place.records + block.records)
    )
    own = own.sort("record", maintain_order=True)
    origins = block.origins(records)[records.search_sorted(own["record"])]
    return own.hstack(origins).select(REJECTION_SCHEMA.keys())


def _counted(kinds: Any) -> Iterator[tuple[int, int]]:
    import numpy as np

    counts = np.bincount(kinds, minlength=len(LineKind)).tolist()
    return ((kind, count) for kind, count in enumerate(counts) if count)
