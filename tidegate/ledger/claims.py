"""Who works on what: a flow run claims pending objects, and a dead run's are taken back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import and_, delete, func, insert, literal_column, select, update

from tidegate import clock
from tidegate.events import Event, EventType
from tidegate.events.model import event_id
from tidegate.ledger.entries import to_object
from tidegate.ledger.log import append
from tidegate.ledger.statements import chunks
from tidegate.ledger.tables import claims, is_open, leases, objects

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, RowMapping

    from tidegate.objects.model import ObjectVersion


#: Others of the dataset would wait for an object above this size, if one run took it with them.
_LARGE_BYTES = 64 * 1024 * 1024
#: How long objects on which a run died wait for calmer ones, and large ones for small ones.
_PATIENCE = timedelta(seconds=60)

#: What is needed of an object to claim it or to tell what happens to it.
_NEEDED = [
    objects.c[name]
    for name in (
        *("object_id", "store", "bucket", "key", "version", "etag", "sequencer", "size", "uploaded_at"),
        *("recorded_at", "claimed_at", "pending_seq"),
        *("url", "dataset", "state", "attempt", "crashes", "redrive", "correlation_id", "traceparent"),
    )
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Owner:
    """The process behind a claim, so that another on the same host can see whether it lives."""

    host: str
    pid: int
    #: when the process started, seconds since the epoch: pids are used again
    pid_started: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ClaimedObject:
    """One object of a batch."""

    object: ObjectVersion
    dataset: str
    attempt: int
    #: times a run died on it
    crashes: int
    correlation_id: str
    traceparent: str | None
    #: whether only what is held of it is to be loaded
    redrive: bool = False
    #: whether a run had it before, which may have committed it without telling
    claimed_before: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """The objects of one dataset that one flow run works on; its id is the flow run's."""

    id: str
    dataset: str
    objects: tuple[ClaimedObject, ...]
    #: whether the run had claimed before: it was retried, and does only what is its own
    resumed: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Lease:
    """A claim at work."""

    flow_run_id: str
    dataset: str
    owner: Owner
    heartbeat_at: datetime


def claim(
    connection: Connection,
    dataset: str,
    flow_run_id: str,
    owner: Owner,
    *,
    max_objects: int,
    max_bytes: int,
) -> Batch:
    """Give the run its objects and a lease.

    The first time, pending objects of the dataset, oldest first, up to the limits (one at
    least); a large one is taken alone, and after small ones unless it has waited long. A run that
    comes back (retry) gets its own that are unfinished or quarantined, the latter as a new attempt,
    and nothing else.
    """
    moment = clock.now()
    resumed = bool(
        connection.execute(
            select(claims.c.object_id).where(claims.c.flow_run_id == flow_run_id).limit(1)
        ).first()
    )
    if resumed:
        rows = _own(connection, flow_run_id, moment)
    else:
        rows = _pending(connection, dataset, max_objects, max_bytes)
    taken = [_claimed_object(row) for row in rows]
    if taken:
        _take(connection, flow_run_id, taken, rows, moment)
        connection.execute(delete(leases).where(leases.c.flow_run_id == flow_run_id))
        connection.execute(
            insert(leases).values(
                flow_run_id=flow_run_id,
                dataset=dataset,
                host=owner.host,
                pid=owner.pid,
                pid_started=owner.pid_started,
                heartbeat_at=moment,
            )
        )
    return Batch(id=flow_run_id, dataset=dataset, objects=tuple(taken), resumed=resumed)


def _own(connection: Connection, flow_run_id: str, moment: datetime) -> Sequence[RowMapping]:
    """The run's own unfinished objects; its quarantined ones are reopened first."""
    mine = select(*_NEEDED).where(objects.c.flow_run_id == flow_run_id).order_by(objects.c.pending_seq)
    held = connection.execute(mine.where(objects.c.state == "quarantined")).mappings().all()
    append(
        connection,
        [
            reopened(row, moment, requested_by=f"retry of flow run {flow_run_id}", dataset=row["dataset"])
            for row in held
        ],
    )
    states = ("running", "failed", "pending")
    return connection.execute(mine.where(objects.c.state.in_(states))).mappings().all()


def reopen(
    connection: Connection,
    datasets: Mapping[str, str],
    moment: datetime,
    *,
    requested_by: str,
    states: Sequence[str],
    redrive: bool = False,
) -> int:
    """Reopen objects (id -> dataset), those that are in one of `states` still; how many.

    With `redrive`, good rows that stand are left as they are: only what is held is loaded.
    """
    rows = _in_state(connection, list(datasets), states)
    return append(
        connection,
        [
            reopened(
                row,
                moment,
                requested_by=requested_by,
                dataset=datasets[row["object_id"]],
                redrive=redrive,
            )
            for row in rows
        ],
    )


def discard(connection: Connection, object_ids: Sequence[str], *, by: str, reason: str) -> int:
    """Discard objects, those that are quarantined still; how many."""
    moment = clock.now()
    return append(
        connection,
        [
            _moved(row, EventType.DISCARDED, moment, {"reason": reason, "by": by})
            for row in _in_state(connection, object_ids, ["quarantined"])
        ],
    )


def reopened(
    row: RowMapping, moment: datetime, *, requested_by: str, dataset: str, redrive: bool = False
) -> Event:
    """The event that makes a final object pending once more, as its next attempt."""
    attempt = row["attempt"] + 1
    return Event(
        id=event_id(EventType.REOPENED, row["object_id"], attempt),
        type=EventType.REOPENED,
        time=moment,
        subject=row["url"],
        dataset=dataset,
        object_id=row["object_id"],
        correlation_id=row["correlation_id"],
        traceparent=row["traceparent"],
        attempt=attempt,
        data={"reason": requested_by, "was": row["state"], **({"redrive": True} if redrive else {})},
    )


def _pending(connection: Connection, dataset: str, max_objects: int, max_bytes: int) -> Sequence[RowMapping]:
    """Oldest first; objects on which a run died come after the others, in ever smaller groups.

    So an object that kills its run is alone by its third try, and no other is blamed for it.
    """
    waiting = and_(is_open, objects.c.dataset == dataset, objects.c.state == "pending")
    calmest = _calmest(connection, waiting)
    if calmest is None:
        return []
    room = max_objects if calmest == 0 else max(1, max_objects // 10) if calmest == 1 else 1
    rows = (
        connection.execute(
            select(*_NEEDED)
            .where(waiting, objects.c.crashes == calmest)
            .order_by(objects.c.pending_seq)
            .limit(room)
        )
        .mappings()
        .all()
    )
    return _sharing_a_run(rows, max_bytes)


def _sharing_a_run(rows: Sequence[RowMapping], max_bytes: int) -> Sequence[RowMapping]:
    """Those of the rows that one run takes: small objects together, before a large one by itself.

    But a large one that has waited for long has its turn before those that came after it, or new small
    ones would keep it back.
    """
    large = [row for row in rows if (row["size"] or 0) > _LARGE_BYTES]
    small = [row for row in rows if (row["size"] or 0) <= _LARGE_BYTES]
    if large and (not small or _is_its_turn(large[0], small[0])):
        return large[:1]
    total = 0
    for count, row in enumerate(small):
        total += row["size"] or 0
        if count and total > max_bytes:
            return small[:count]
    return small


def _is_its_turn(large: RowMapping, small: RowMapping) -> bool:
    # By a supplier's clock an upload may be of the year to come.
    since = min(large["uploaded_at"], large["recorded_at"])
    overdue = since <= clock.now() - _PATIENCE
    return bool(overdue and large["pending_seq"] < small["pending_seq"])


def _calmest(connection: Connection, waiting: ColumnElement[bool]) -> int | None:
    """The number of crashes of the objects whose turn it is; None when nothing waits."""
    # Not compared with a bound value, or the index of the few that crashed would be of no use.
    crashed = and_(waiting, objects.c.crashes > literal_column("0"))
    # One that has waited long since its run died comes first, or new uploads would keep it back.
    overdue = objects.c.claimed_at < clock.now() - _PATIENCE
    fewest = select(func.min(objects.c.crashes)).where(crashed)
    if (found := connection.execute(fewest.where(overdue)).scalar()) is not None:
        return int(found)
    calm = select(objects.c.crashes).where(waiting, objects.c.crashes == 0).limit(1)
    if connection.execute(calm).first() is not None:
        return 0
    return connection.execute(fewest).scalar()


def _take(
    connection: Connection,
    flow_run_id: str,
    taken: list[ClaimedObject],
    rows: Sequence[RowMapping],
    moment: datetime,
) -> None:
    append(
        connection,
        [
            Event(
                id=event_id(EventType.CLAIMED, one.object.object_id, one.attempt, flow_run_id, moment),
                type=EventType.CLAIMED,
                time=moment,
                subject=row["url"],
                dataset=one.dataset,
                object_id=one.object.object_id,
                correlation_id=one.correlation_id,
                causation_id=one.correlation_id,
                traceparent=one.traceparent,
                attempt=one.attempt,
                data={"flow_run_id": flow_run_id, "objects_in_batch": len(taken)},
            )
            for one, row in zip(taken, rows, strict=True)
        ],
    )


def heartbeat(connection: Connection, flow_run_id: str) -> bool:
    """Renew the lease; False when there is none any more."""
    done = connection.execute(
        update(leases).where(leases.c.flow_run_id == flow_run_id).values(heartbeat_at=clock.now())
    )
    return bool(done.rowcount)


def end(connection: Connection, flow_run_id: str, failure: str | None) -> None:
    """Give up the lease; what the run leaves unfinished waits in state ``failed`` for a retry."""
    moment = clock.now()
    reason = failure or "The run ended without finishing it. Retry the run."
    append(
        connection,
        [
            _moved(row, EventType.FAILED, moment, {"reason": reason, "flow_run_id": flow_run_id})
            for row in _running(connection, flow_run_id)
        ],
    )
    connection.execute(delete(leases).where(leases.c.flow_run_id == flow_run_id))


def release(connection: Connection, flow_run_id: str, reason: str, *, crashed: bool) -> int:
    """Make a dead run's running objects pending again, if it `crashed` each with one crash more; how many."""
    moment = clock.now()
    log = []
    for row in _running(connection, flow_run_id):
        data = {"reason": reason, "flow_run_id": flow_run_id, "crashes": row["crashes"] + crashed}
        log.append(_moved(row, EventType.RELEASED, moment, data))
    append(connection, log)
    connection.execute(delete(leases).where(leases.c.flow_run_id == flow_run_id))
    return len(log)


def _moved(row: RowMapping, kind: EventType, moment: datetime, data: dict[str, object]) -> Event:
    return Event(
        id=event_id(kind, row["object_id"], row["attempt"], data.get("flow_run_id"), moment),
        type=kind,
        time=moment,
        subject=row["url"],
        dataset=row["dataset"],
        object_id=row["object_id"],
        correlation_id=row["correlation_id"],
        traceparent=row["traceparent"],
        attempt=row["attempt"],
        data=data,
    )


def _running(connection: Connection, flow_run_id: str) -> Sequence[RowMapping]:
    mine = objects.c.flow_run_id == flow_run_id, objects.c.state == "running"
    return connection.execute(select(*_NEEDED).where(*mine)).mappings().all()


def _in_state(
    connection: Connection, object_ids: Sequence[str], states: Sequence[str]
) -> Iterator[RowMapping]:
    """These objects, those that are in one of `states`."""
    for chunk in chunks(object_ids):
        chosen = objects.c.object_id.in_(chunk), objects.c.state.in_(list(states))
        yield from connection.execute(select(*_NEEDED).where(*chosen)).mappings().all()


def _claimed_object(row: RowMapping) -> ClaimedObject:
    return ClaimedObject(
        object=to_object(row),
        dataset=row["dataset"],
        attempt=row["attempt"],
        crashes=row["crashes"],
        correlation_id=row["correlation_id"],
        traceparent=row["traceparent"],
        redrive=bool(row["redrive"]),
        claimed_before=row["claimed_at"] is not None,
    )
