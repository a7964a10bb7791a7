"""Validate many small objects at once; each keeps the verdict that it would get by itself."""

from __future__ import annotations

import json
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from tidegate.errors import (
    ObjectOverwrittenError,
    ObjectRejectedError,
    RejectedError,
    RetryableError,
)
from tidegate.reading import LINE, RECORD, open_reading
from tidegate.reading.together import read_together
from tidegate.stages.check import check, is_rowwise
from tidegate.stages.file_check import commonest_rule, judge, parse_blocks, too_bad
from tidegate.stages.model import Verdict, VerdictState
from tidegate.stages.parse import Parsed, no_rejections
from tidegate.stages.schema import file_columns
from tidegate.stages.staging import PART, part_of
from tidegate.stages.totals import TotalsCheck
from tidegate.stages.validate import held, manifest_of, verdict_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from tidegate.contracts import Contract
    from tidegate.ledger import ClaimedObject
    from tidegate.objects import ObjectStore
    from tidegate.reading import Reading
    from tidegate.reading.together import Extent
    from tidegate.stages.file_check import Part
    from tidegate.stages.staging import Staging

#: What a stage says of one object: its verdict, or what stood in the way.
Result = Verdict | RetryableError

#: Objects up to this size are read together.
_SMALL_BYTES = 1024 * 1024
#: So much of them at once: enough that the fixed costs don't count, little enough for the memory.
_GROUP_BYTES = 16 * 1024 * 1024
#: Unpacked, objects may be a thousand times as large: so much text is judged at once.
_MOST_TEXT = 2 * _GROUP_BYTES
#: Objects fetched at once from a bucket: one after another, its answers are what takes the time.
_FETCHERS = 8


def groups_of(objects: Sequence[ClaimedObject]) -> Iterator[list[ClaimedObject]]:
    """Small objects in groups that are read together; the others are in none."""
    group: list[ClaimedObject] = []
    size = 0
    for one in objects:
        own = one.object.size
        if own is None or own > _SMALL_BYTES:
            continue
        if group and size + own > _GROUP_BYTES:
            yield group
            group, size = [], 0
        group.append(one)
        size += own
    if group:
        yield group


def validate_together(
    group: Sequence[ClaimedObject], contract: Contract, store: ObjectStore, staging: Staging
) -> dict[str, Result]:
    """Fetch and check small objects; what `validate` promises of one holds for each of them, by object id.

    Left out are those that have to be looked at by themselves.
    """
    results: dict[str, Result] = {}
    columns = file_columns(contract)
    opened: list[_Opened] = []
    size = 0
    for one, fetched in _fetched(group, store):
        if isinstance(fetched, RetryableError):
            results[one.object.object_id] = fetched
            continue
        found = _open(one, fetched, columns, contract)
        if isinstance(found, Verdict):
            results[one.object.object_id] = found
        elif found is not None:
            if opened and size + len(found.body) > _MOST_TEXT:
                results |= _Judgement(opened, columns, contract).results(store, staging)
                opened, size = [], 0
            opened.append(found)
            size += len(found.body)
    if opened:
        results |= _Judgement(opened, columns, contract).results(store, staging)
    return results


_Fetched = tuple[bytes, str] | RejectedError | RetryableError


def _fetched(group: Sequence[ClaimedObject], store: ObjectStore) -> Iterator[tuple[ClaimedObject, _Fetched]]:
    """The content of each object and its SHA-256, or what stood in the way; from a bucket, many at once."""
    if all(one.object.store == "folder" for one in group):
        for one in group:
            yield one, _fetch(one, store)
        return
    with ThreadPoolExecutor(_FETCHERS, thread_name_prefix="fetch") as pool:
        # In a context of its own, as what is logged there belongs to this task run too.
        jobs = [pool.submit(copy_context().run, _fetch, one, store) for one in group]
        try:
            for one, job in zip(group, jobs, strict=True):
                yield one, job.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _fetch(one: ClaimedObject, store: ObjectStore) -> _Fetched:
    content = BytesIO()
    try:
        sha256 = store.fetch(one.object, content)
    except (RejectedError, RetryableError) as error:
        return error
    return content.getvalue(), sha256


@dataclass(frozen=True, slots=True)
class _Opened:
    claimed: ClaimedObject
    sha256: str
    reading: Reading
    #: its text after the head
    body: bytes


def _open(
    one: ClaimedObject,
    fetched: tuple[bytes, str] | RejectedError,
    columns: Mapping[str, pl.DataType],
    contract: Contract,
) -> _Opened | Verdict | None:
    """The object's content; a verdict where there is none to check, None where it is to be read alone."""
    if isinstance(fetched, ObjectOverwrittenError):
        return verdict_of(one, contract, state=VerdictState.OVERWRITTEN, reason=str(fetched))
    if isinstance(fetched, RejectedError):
        return held(one, contract, fetched)
    content, sha256 = fetched
    try:
        reading = open_reading(
            content,
            columns=list(columns),
            dialect=contract.dialect,
            policy=contract.columns,
            called=f"contract {contract.name} {contract.version}",
        )
    except ObjectRejectedError as error:
        return held(one, contract, error, content_sha256=sha256)
    try:
        body = reading.whole_body()
    except ObjectRejectedError:
        return None
    return _Opened(one, sha256, reading, body) if body is not None else None


class _Judgement:
    """The records of opened objects, judged at once."""

    def __init__(
        self, opened: Sequence[_Opened], columns: dict[str, pl.DataType], contract: Contract
    ) -> None:
        self.contract = contract
        self.columns = columns
        own = {id(one.reading): one for one in opened}
        blocks, self.extents = read_together([(one.reading, one.body) for one in opened])
        #: object by object as they stand in the blocks, which is the number of each in staged files
        self.opened = [own[id(extent.reading)] for extent in self.extents]
        self.parsed = parse_blocks(blocks, columns, contract)
        self._before = np.array([extent.before for extent in self.extents])
        #: numbers of objects that have to be judged alone
        self.left: set[int] = set()
        part, _ = judge(self.parsed, blocks, self._broken(), with_origins=contract.refuses_unmatched)
        self._divide(part)

    def _broken(self) -> pl.DataFrame:
        if is_rowwise(self.contract):
            return check(self.parsed, self.contract)
        broken = [no_rejections()]
        for number, parsed in self._each_parsed():
            try:
                broken.append(check(parsed, self.contract))
            except ObjectRejectedError:
                self.left.add(number)
        return pl.concat(broken)

    def _each_parsed(self) -> Iterator[tuple[int, Parsed]]:
        """What was parsed of each object that has records."""
        records = self.parsed.rows[RECORD].to_numpy()
        after = [extent.before + extent.records for extent in self.extents]
        firsts = np.searchsorted(records, self._before, side="right").tolist()
        lasts = np.searchsorted(records, np.array(after), side="right").tolist()
        unread = self.parsed.unread
        for number, (first, last) in enumerate(zip(firsts, lasts, strict=True)):
            rows = self.parsed.rows.slice(first, last - first)
            text = self.parsed.text.slice(first, last - first) if self.parsed.text is not None else None
            within = pl.col("record").is_between(self._before[number] + 1, after[number])
            yield number, Parsed(rows, unread.filter(within) if unread.height else unread, text)

    def _divide(self, part: Part) -> None:
        """Number records by object, and lines and offsets as they are in it."""
        objects = self._objects(part.valid[RECORD])
        before = pl.Series(self._before[objects], dtype=pl.Int64)
        self.valid = part.valid.drop(LINE).with_columns(
            pl.Series(PART, objects, dtype=pl.Int32), pl.col(RECORD) - before
        )
        self.counts = np.bincount(objects, minlength=len(self.extents)).tolist()
        self.origins = part.origins
        if part.origins is not None:
            self.origins = self._localized(part.origins, objects)
        self.rejections = self._localized(part.rejections, self._objects(part.rejections["record"]))
        refused = self.rejections.group_by(PART).agg(pl.col("record").n_unique())
        self.refused: dict[int, int] = dict(refused.iter_rows())
        self.rules: dict[int, dict[str, int]] = defaultdict(dict)
        for number, rule, count in self.rejections.group_by(PART, "rule").len().iter_rows():
            self.rules[number][rule] = count

    def _objects(self, records: pl.Series) -> NDArray[np.int64]:
        """The number of the object that each record belongs to."""
        return np.searchsorted(self._before, records.to_numpy() - 1, side="right") - 1

    def _localized(self, frame: pl.DataFrame, objects: NDArray[np.int64]) -> pl.DataFrame:
        shift = {
            "record": self._before,
            "line": np.array([extent.lines for extent in self.extents]),
            "offset": np.array([extent.offset for extent in self.extents]),
        }
        return frame.with_columns(
            pl.Series(PART, objects, dtype=pl.Int32),
            *(pl.col(name) - pl.Series(by[objects], dtype=pl.Int64) for name, by in shift.items()),
        )

    def results(self, store: ObjectStore, staging: Staging) -> dict[str, Result]:
        """The verdicts, with the files that they speak of staged."""
        settled = self._settled(store)
        members = [one.claimed for one in self.opened]
        group = staging.group([(one.object.object_id, one.attempt) for one in members], self.contract.version)
        verdicts = {n: found for n, found in settled.items() if isinstance(found, Verdict)}
        passed = [n for n, verdict in verdicts.items() if verdict.state is VerdictState.PASSED]
        files: dict[str, str] = {}
        if passed:
            files["rows"] = staging.write(self._only(self.valid, passed), f"{group}/validated.parquet")
            if self.origins is not None and self.contract.refuses_unmatched:
                files["origins"] = staging.write(self._only(self.origins, passed), f"{group}/origins.parquet")
        if any(number in self.rules for number in verdicts):
            rejected = self._only(self.rejections, list(verdicts))
            files["rejected"] = staging.write(rejected, f"{group}/rejected.parquet")
        for number, verdict in verdicts.items():
            own = {
                name: part_of(file, number)
                for name, file in files.items()
                if (number in self.rules if name == "rejected" else verdict.state is VerdictState.PASSED)
            }
            settled[number] = verdict.model_copy(update=own)
        return {members[number].object.object_id: found for number, found in settled.items()}

    def _only(self, frame: pl.DataFrame, numbers: Sequence[int]) -> pl.DataFrame:
        if len(numbers) == len(self.extents):
            return frame
        return frame.filter(pl.col(PART).is_in(numbers))

    def _settled(self, store: ObjectStore) -> dict[int, Result]:
        """What is to be said of each object by its number, but for the files."""
        problems = self._control_totals(store) if self.contract.totals is not None else {}
        settled: dict[int, Result] = {}
        for number, (one, extent) in enumerate(zip(self.opened, self.extents, strict=True)):
            valid, rejected = self.counts[number], self.refused.get(number, 0)
            if number in self.left or valid + rejected != extent.records:
                continue  # judged alone, it is told what is wrong
            problem = problems.get(number)
            if isinstance(problem, RetryableError):
                settled[number] = problem
                continue
            problem = problem or too_bad(
                self.contract, rejected, extent.records, commonest_rule(self.rules.get(number, {}))
            )
            settled[number] = self._verdict(one, extent, rejected, problem)
        return settled

    def _verdict(
        self, one: _Opened, extent: Extent, rejected: int, problem: ObjectRejectedError | None
    ) -> Verdict:
        values: dict[str, Any] = {
            "content_sha256": one.sha256,
            "dialect": json.dumps(one.reading.dialect, sort_keys=True),
            "dialect_assumed": one.reading.assumed,
            "rows_read": extent.records,
            "rows_valid": extent.records - rejected,
            "rows_rejected": rejected,
        }
        if problem is not None:
            return held(one.claimed, self.contract, problem, **values)
        return verdict_of(one.claimed, self.contract, state=VerdictState.PASSED, **values)

    def _control_totals(self, store: ObjectStore) -> dict[int, ObjectRejectedError | RetryableError]:
        """What is wrong with the totals of objects, by their numbers."""
        found: dict[int, ObjectRejectedError | RetryableError] = {}
        for number, parsed in self._each_parsed():
            one, extent = self.opened[number], self.extents[number]
            totals = TotalsCheck(self.contract, self.columns)
            totals.add(parsed, extent.records)
            try:
                totals.settle(
                    one.reading.footer,
                    manifest_of(one.claimed, self.contract, store),
                    delimiter=one.reading.dialect["delimiter"],
                )
            except (ObjectRejectedError, RetryableError) as error:
                found[number] = error
        return found
