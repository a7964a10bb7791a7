"""The seam to a warehouse: one transaction loads a batch and says what became of each object.

Layout of every warehouse: a table a dataset, named like it; schema ``tidegate`` with

* ``tidegate.commits``: one row an object that was decided here, the truth after a crash;
* ``tidegate.rejected_rows``: one row a rule that a row broke; ``closed_at`` is null while the row
  is worth mending: until its object is tried again or something newer stands in its place;
* ``tidegate.snapshots``: the Parquet snapshots of reference datasets, newest by ``sequence``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime  # noqa: TC003 - dataclass fields are inspected at run time
from enum import StrEnum
from pathlib import Path  # noqa: TC003
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tidegate.contracts import Contract
    from tidegate.objects.model import ObjectVersion
    from tidegate.settings import Settings


class Outcome(StrEnum):
    """What the load decided for an object; equal to the ledger's states of those names."""

    LOADED = "loaded"
    #: too many of its rows were refused; only its rejected rows are kept
    QUARANTINED = "quarantined"
    #: a newer version of its key (or, under `replace`, a newer object) was loaded before
    SUPERSEDED = "superseded"
    #: what stands of its key (or, under `replace`, of the dataset) has the same content; never
    #: under `merge`, where the same rows may win by being uploaded later
    DUPLICATE = "duplicate"


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadRequest:
    """One object, validated, normalized and enriched, ready to load.

    `rows` is a Parquet file with the table's columns and ``_record`` (int64, 1-based record
    number in the file); None when the object as a whole is held. `rejected` is a Parquet file
    with ``record`` (int64), ``line`` (int64 or null), ``column``, ``rule``, ``value``,
    ``message``, ``raw`` (text or null) and ``offset`` (int64 or null): one row a broken rule; None
    when no row was refused.

    Several objects may share a file: then it has a column ``_object``, and `rows_part` or
    `rejected_part` is the number in it that stands for this object.
    """

    object: ObjectVersion
    content_sha256: str
    contract_version: str
    #: grows with every backfill, redrive or retry of the object; see `Warehouse.load`
    attempt: int
    rows_read: int
    rows_valid: int
    rows_rejected: int
    rows: Path | None
    rejected: Path | None
    #: why the object as a whole is held; None loads it
    held: str | None = None
    #: how the object was read, as JSON; empty when that is not known
    dialect: str = ""
    #: whether only the records that are held are to be loaded; see `Warehouse.load`
    redrive: bool = False
    rows_part: int | None = None
    #: columns that are not in the file `rows` but in another, the same rows in the same order
    beside: Mapping[str, Path] = field(default_factory=dict)
    rejected_part: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadOutcome:
    """What the load decided for one object. rows_read = loaded + rejected + duplicate.

    All rows of a quarantined object count as rejected, all rows of a superseded or duplicate one
    as duplicate. Under `merge`, rows that lost their key to another row are duplicate.
    """

    object_id: str
    outcome: Outcome
    #: one sentence for people; empty when there is nothing to say
    reason: str
    rows_read: int
    rows_loaded: int
    rows_rejected: int
    rows_duplicate: int
    contract_version: str
    attempt: int
    #: ids of the objects whose rows this one replaced as a whole, or (superseded, duplicate) the
    #: one that stands instead
    others: tuple[str, ...]
    committed_at: datetime
    #: whether an earlier try had committed this already and this call changed nothing
    already: bool = False
    #: this try is held and leaves what an earlier one decided in force: that decision's record
    retained: LoadOutcome | None = None
    #: id of the object that has taken the place of this one's rows since
    replaced_by: str | None = None
    #: how the object was read, as JSON; empty when that is not known
    dialect: str = ""


#: A commit record is the outcome as the warehouse keeps it.
Commit = LoadOutcome


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """A reference dataset as a Parquet file, as of one commit. Never changed once written."""

    dataset: str
    #: grows with every commit of the dataset
    sequence: int
    #: file name below the references folder: ``<dataset>/<sequence>-<batch_id>.parquet``
    path: str
    rows: int
    created_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class HeldSelection:
    """Which held rows; every field narrows."""

    dataset: str | None = None
    object_ids: tuple[str, ...] | None = None
    #: a rule, or its name without what stands in parentheses
    rule: str | None = None
    contract_version: str | None = None
    #: rejected at or after
    since: datetime | None = None
    #: rejected before
    until: datetime | None = None
    #: those that a person discarded instead of those that are held
    discarded: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class HeldLine:
    """Held rows of one object that broke one rule in one column."""

    object_id: str
    dataset: str
    url: str
    key: str
    version: str
    #: whether the object's other rows stand in the table; else it is held as a whole
    standing: bool
    rule: str
    column: str | None
    contract_version: str
    #: records; one may stand in several lines
    rows: int
    #: when the first of them was rejected
    oldest: datetime
    #: records of the object in all of its lines
    rows_of_object: int


@dataclass(frozen=True, slots=True)
class HeldReason:
    """A rule that a record broke."""

    column: str | None
    rule: str
    value: str | None
    message: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class HeldRecord:
    """A record that is held, with every rule it broke."""

    object_id: str
    record: int
    line: int | None
    offset: int | None
    raw: str | None
    contract_version: str
    rejected_at: datetime
    reasons: tuple[HeldReason, ...]


class Warehouse(Protocol):
    """Where tables live. Every call opens what it needs and lets go of it before it returns."""

    def load(
        self,
        contract: Contract,
        columns: Mapping[str, Any],
        requests: Sequence[LoadRequest],
        *,
        batch_id: str,
        flow_run_id: str,
        snapshot_to: Path | None,
    ) -> tuple[list[LoadOutcome], Snapshot | None]:
        """Load a batch in one transaction: rows, rejected rows, commit records, snapshot record.

        `columns` maps the table's columns to Polars data types, engine columns left out. The
        table is made or widened to fit; a changed type raises ContractError.

        The table depends on which objects were uploaded, not on the order in which they arrive,
        on how they are cut into batches, or on repetitions. Of objects that contend (versions of
        a key; under `replace` all of the dataset) the newest that is not held stands. `append` is
        the union of what stands, `merge` the best row of each key in it: a row comes back when
        the one that beat it goes. Rows with a null in the key are all kept.

        An object whose commit record has an attempt >= the request's is left as it is and its
        outcome returned with ``already=True``: that makes any repetition harmless. A record with
        a lower attempt is replaced together with its rows, and its rejected rows are closed. But
        a try that is held takes nothing back: an earlier decision other than quarantined stays in
        force (`LoadOutcome.retained`), and the record remembers the try.

        A `redrive` of an object that stands leaves its rows as they are: only records that are
        held are loaded or refused anew, and the others of the request are passed over. Its record
        keeps the contract version that the rows before were loaded under. An object that was read
        in another way then, so that its records may be numbered otherwise, is loaded anew as a
        whole. A redrive that is held leaves the rejected rows as they are, too.

        With `snapshot_to` (the references folder), the table as it stands after this batch is
        written there before the commit and recorded in it, newest object first, then by record;
        None when the newest snapshot has all of it already. Without requests it only catches up.
        Raises AccountingError when a row is unaccounted for, and has committed nothing then;
        WarehouseLockedError (after the wait in the settings) or WarehouseUnavailableError, after
        which the same call can be made again, whether or not it had committed.
        """

    def commits(self, object_ids: Sequence[str]) -> dict[str, Commit]:
        """The newest commit record of each of these objects that has one. Reads only."""

    def held(self, wanted: HeldSelection) -> list[HeldLine]:
        """The held rows, counted by object, rule, column and contract version. Reads only."""

    def held_records(
        self, wanted: HeldSelection, *, after: tuple[str, int] = ("", 0), limit: int
    ) -> list[HeldRecord]:
        """The first `limit` held records after this object id and record, in their order. Reads only."""

    def discard(self, wanted: HeldSelection, *, by: str, note: str) -> int:
        """Close what is held of every chosen record, for good; how many records.

        The record of the object counts them as rejected still, and a redrive passes over them.
        """

    def restore(self, wanted: HeldSelection) -> int:
        """Hold discarded records of standing objects again; how many records."""

    def latest_snapshot(self, dataset: str) -> Snapshot | None:
        """The newest snapshot of a reference dataset. Reads only."""

    def query(self, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Column names and rows of one statement, run read-only. UsageError says what is wrong."""


def open_warehouse(settings: Settings) -> Warehouse:
    """The warehouse of the project; nothing is opened before the first call."""
    from tidegate.warehouse.duckdb import DuckDBWarehouse

    return DuckDBWarehouse(settings.warehouse_path, lock_timeout=settings.warehouse.lock_timeout_seconds)
