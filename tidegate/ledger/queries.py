"""What people and the dispatcher ask the ledger. Functions of a connection; nothing is written."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, and_, case, func, not_, or_, select

from tidegate.events import Event, EventType
from tidegate.ledger.log import chunks
from tidegate.ledger.states import FINAL_STATES
from tidegate.ledger.tables import claims, events, leases, objects
from tidegate.objects.model import ObjectVersion

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection, RowMapping

    from tidegate.ledger.claims import Lease


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectEntry:
    """What is known of one object now."""

    object: ObjectVersion
    object_id: str
    url: str
    key: str
    version: str
    dataset: str | None
    state: str
    reason: str
    attempt: int
    crashes: int
    size: int | None
    via: str
    uploaded_at: datetime
    recorded_at: datetime
    claimed_at: datetime | None
    validated_at: datetime | None
    normalized_at: datetime | None
    enriched_at: datetime | None
    committed_at: datetime | None
    finished_at: datetime | None
    rows_read: int | None
    rows_loaded: int | None
    rows_rejected: int | None
    rows_duplicate: int | None
    contract_version: str | None
    content_sha256: str | None
    flow_run_id: str | None
    correlation_id: str
    traceparent: str | None
    #: URL of the report of what is held of it
    report: str | None
    #: how it is written, as it was last read; its fields are those of `tidegate.events.payloads.Dialect`
    dialect: dict[str, Any] | None
    #: in what that differs from the objects before it
    dialect_changes: list[str] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Backlog:
    """The queue of one dataset."""

    dataset: str
    pending: int
    running: int
    #: seq of the event that made the newest pending object pending; names this state of the queue
    newest_seq: int
    oldest_recorded_at: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetStatus:
    """One line of `tidegate status`."""

    dataset: str | None
    pending: int
    running: int
    failed: int
    loaded: int
    quarantined: int
    discarded: int
    superseded: int
    duplicate: int
    unmatched: int
    ignored: int
    rows_loaded: int
    rows_rejected: int
    #: when the object that waits longest (pending, running or failed) was recorded
    oldest_waiting_at: datetime | None
    last_loaded_at: datetime | None


def backlogs(connection: Connection) -> list[Backlog]:
    """Datasets with pending or running objects."""
    pending = objects.c.state == "pending"
    query = (
        select(
            objects.c.dataset,
            func.sum(case((pending, 1), else_=0)),
            func.sum(case((objects.c.state == "running", 1), else_=0)),
            func.max(case((pending, objects.c.pending_seq), else_=0)),
            func.min(case((pending, objects.c.recorded_at), else_=None)),
        )
        .where(objects.c.state.in_(("pending", "running")), objects.c.dataset.is_not(None))
        .group_by(objects.c.dataset)
        .order_by(objects.c.dataset)
    )
    return [
        Backlog(
            dataset=dataset,
            pending=waiting,
            running=running,
            newest_seq=newest,
            oldest_recorded_at=oldest,
        )
        for dataset, waiting, running, newest, oldest in connection.execute(query)
    ]


def status(connection: Connection) -> list[DatasetStatus]:
    """All datasets that ever had an object; unmatched objects stand under dataset None."""
    states = ("pending", "running", "failed", *FINAL_STATES)
    waiting = objects.c.state.in_(("pending", "running", "failed"))
    query = (
        select(
            objects.c.dataset,
            *(func.sum(case((objects.c.state == state, 1), else_=0)).label(state) for state in states),
            func.coalesce(
                func.sum(case((objects.c.state == "loaded", objects.c.rows_loaded), else_=0)), 0
            ).label("rows_loaded"),
            func.coalesce(func.sum(objects.c.rows_rejected), 0).label("rows_rejected"),
            func.min(case((waiting, objects.c.recorded_at), else_=None)).label("oldest_waiting_at"),
            func.max(objects.c.committed_at).label("last_loaded_at"),
        )
        .group_by(objects.c.dataset)
        .order_by(objects.c.dataset)
    )
    return [DatasetStatus(**row) for row in connection.execute(query).mappings()]


def unfinished(connection: Connection) -> dict[str, int]:
    """How many objects are pending, running and failed (only states that occur)."""
    query = (
        select(objects.c.state, func.count())
        .where(objects.c.state.in_(("pending", "running", "failed")))
        .group_by(objects.c.state)
    )
    return dict(connection.execute(query).tuples().all())


def find(  # noqa: PLR0913 - every argument narrows, all by name
    connection: Connection,
    *,
    dataset: str | None = None,
    states: Sequence[str] = (),
    prefix: str = "",
    since: datetime | None = None,
    until: datetime | None = None,
    flow_run_id: str | None = None,
    limit: int | None = None,
) -> list[ObjectEntry]:
    """Objects by any of these, oldest upload first; `since` <= uploaded_at < `until`."""
    query = select(objects)
    if dataset is not None:
        query = query.where(objects.c.dataset == dataset)
    if states:
        query = query.where(objects.c.state.in_(states))
    if prefix:
        query = query.where(objects.c.key.startswith(prefix, autoescape=True))
    if since is not None:
        query = query.where(objects.c.uploaded_at >= since)
    if until is not None:
        query = query.where(objects.c.uploaded_at < until)
    if flow_run_id is not None:
        query = query.where(objects.c.flow_run_id == flow_run_id)
    query = query.order_by(objects.c.uploaded_at, objects.c.key, objects.c.object_id).limit(limit)
    return _entries(connection, query)


def finished_since(connection: Connection, moment: datetime) -> list[ObjectEntry]:
    """Objects that became final or failed at or after `moment`."""
    query = select(objects).where(
        objects.c.finished_at >= moment, objects.c.state.not_in(("pending", "running"))
    )
    return _entries(connection, query.order_by(objects.c.finished_at, objects.c.key))


def by_id(connection: Connection, object_ids: Sequence[str]) -> dict[str, ObjectEntry]:
    """These objects, those that are known."""
    found: dict[str, ObjectEntry] = {}
    for start in range(0, len(object_ids), 500):
        chunk = object_ids[start : start + 500]
        for entry in _entries(connection, select(objects).where(objects.c.object_id.in_(chunk))):
            found[entry.object_id] = entry
    return found


def claimed_by(connection: Connection, flow_run_id: str) -> list[ObjectEntry]:
    """Everything a flow run ever claimed, whoever finished it."""
    mine = select(claims.c.object_id).where(claims.c.flow_run_id == flow_run_id)
    query = select(objects).where(objects.c.object_id.in_(mine))
    return _entries(connection, query.order_by(objects.c.uploaded_at, objects.c.key))


def has_claimed(connection: Connection, flow_run_id: str) -> bool:
    """Whether a flow run has got as far as claiming objects."""
    query = select(claims.c.object_id).where(claims.c.flow_run_id == flow_run_id).limit(1)
    return connection.execute(query).first() is not None


def event_at(connection: Connection, seq: int) -> str:
    """The id of the event with this seq."""
    return str(connection.execute(select(events.c.id).where(events.c.seq == seq)).scalar_one())


def by_name(connection: Connection, name: str) -> list[ObjectEntry]:
    """All versions of what a person calls `name`: a key, a URL, an object id or a key's end.

    Newest upload last. The exact key or URL wins over keys that only end with `name`.
    """
    exact = or_(objects.c.key == name, objects.c.url == name, objects.c.object_id == name)
    order = (objects.c.uploaded_at, objects.c.recorded_at)
    found = _entries(connection, select(objects).where(exact).order_by(*order))
    if found:
        return found
    ending = objects.c.key.endswith("/" + name, autoescape=True)
    return _entries(connection, select(objects).where(ending).order_by(*order))


def broken_rules(connection: Connection, object_ids: Sequence[str]) -> dict[str, str]:
    """The rule for which each of these objects was quarantined last, where one was told."""
    found: dict[str, str] = {}
    for start in range(0, len(object_ids), 500):
        query = (
            select(events.c.object_id, events.c.data)
            .where(
                events.c.object_id.in_(object_ids[start : start + 500]),
                events.c.type == EventType.QUARANTINED.value,
            )
            .order_by(events.c.seq)
        )
        for object_id, data in connection.execute(query):
            found[object_id] = json.loads(data).get("rule", "")
    return found


def newest_upload_of(connection: Connection, bucket: str, keys: Sequence[str]) -> dict[str, int]:
    """The seq of the newest upload of each key, among objects that are not data: manifests."""
    found: dict[str, int] = {}
    for chunk in chunks(keys):
        query = (
            select(objects.c.key, func.max(objects.c.pending_seq))
            .where(
                objects.c.bucket == bucket,
                objects.c.key.in_(chunk),
                objects.c.state.in_(("ignored", "unmatched")),
            )
            .group_by(objects.c.key)
        )
        found.update(connection.execute(query).tuples().all())
    return found


def first_claims(connection: Connection, object_ids: Sequence[str]) -> dict[tuple[str, int], int]:
    """The seq of the claim that began each attempt: (object id, attempt) -> seq."""
    found: dict[tuple[str, int], int] = {}
    for chunk in chunks(object_ids):
        query = (
            select(events.c.object_id, events.c.attempt, func.min(events.c.seq))
            .where(events.c.object_id.in_(chunk), events.c.type == EventType.CLAIMED.value)
            .group_by(events.c.object_id, events.c.attempt)
        )
        found.update({(one, attempt): seq for one, attempt, seq in connection.execute(query)})
    return found


def unreported(
    connection: Connection,
    *,
    object_ids: Sequence[str] | None = None,
    finished_before: datetime | None = None,
) -> list[ObjectEntry]:
    """Objects of which something is held, or was at the last report, and no report tells of this try."""
    held = or_(
        objects.c.state == "quarantined",
        and_(objects.c.state == "loaded", or_(objects.c.rows_rejected > 0, objects.c.report.is_not(None))),
    )
    told = func.coalesce(objects.c.reported_attempt, 0) >= objects.c.attempt
    query = select(objects).where(held, not_(told))
    if object_ids is not None:
        query = query.where(objects.c.object_id.in_(object_ids))
    if finished_before is not None:
        query = query.where(objects.c.finished_at < finished_before)
    return _entries(connection, query.order_by(objects.c.finished_at))


def keys(connection: Connection, limit: int) -> list[str]:
    """Up to `limit` known keys."""
    query = select(objects.c.key).distinct().limit(limit)
    return list(connection.execute(query).scalars())


def story(connection: Connection, object_id: str) -> list[Event]:
    """Every event of one object, in the order the ledger has them."""
    query = select(events).where(events.c.object_id == object_id).order_by(events.c.seq)
    return [to_event(row) for row in connection.execute(query).mappings()]


def dead_letters(connection: Connection, limit: int = 100) -> list[Event]:
    """The newest messages that could not be read, newest first."""
    query = (
        select(events)
        .where(events.c.type == EventType.DEAD_LETTERED.value)
        .order_by(events.c.seq.desc())
        .limit(limit)
    )
    return [to_event(row) for row in connection.execute(query).mappings()]


def runs_without_lease(connection: Connection) -> list[str]:
    """Flow runs that hold running objects and no lease: nobody works on those."""
    query = (
        select(objects.c.flow_run_id)
        .distinct()
        .where(objects.c.state == "running", objects.c.flow_run_id.not_in(select(leases.c.flow_run_id)))
    )
    return [run for run in connection.execute(query).scalars() if run]


def open_leases(connection: Connection) -> list[Lease]:
    """Claims at work, whether or not their process still lives."""
    from tidegate.ledger.claims import Lease, Owner

    return [
        Lease(
            flow_run_id=row["flow_run_id"],
            dataset=row["dataset"],
            owner=Owner(host=row["host"], pid=row["pid"], pid_started=row["pid_started"]),
            heartbeat_at=row["heartbeat_at"],
        )
        for row in connection.execute(select(leases)).mappings()
    ]


def _entries(connection: Connection, query: Select[tuple[object, ...]]) -> list[ObjectEntry]:
    names = ObjectEntry.__dataclass_fields__.keys() - {"object"}
    return [
        ObjectEntry(object=to_object(row), **{name: row[name] for name in names})
        for row in connection.execute(query).mappings()
    ]


def to_object(row: RowMapping) -> ObjectVersion:
    return ObjectVersion(
        store=row["store"],
        bucket=row["bucket"],
        key=row["key"],
        version=row["version"],
        size=row["size"],
        uploaded_at=row["uploaded_at"],
        sequencer=row["sequencer"],
        etag=row["etag"],
    )


def to_event(row: RowMapping) -> Event:
    return Event(
        id=row["id"],
        type=EventType(row["type"]),
        time=row["time"],
        subject=row["subject"],
        dataset=row["dataset"],
        object_id=row["object_id"],
        correlation_id=row["correlation_id"],
        causation_id=row["causation_id"],
        traceparent=row["traceparent"],
        attempt=row["attempt"],
        data=json.loads(row["data"]),
    )
