"""What people and the dispatcher ask the ledger. Functions of a connection; nothing is written."""

from __future__ import annotations

import json
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

from sqlalchemy import and_, func, or_, select

from tidegate.events import Event, EventType
from tidegate.ledger.entries import ObjectEntry, entries, to_event
from tidegate.ledger.overview import backlogs, in_states, status, unfinished
from tidegate.ledger.statements import chunks
from tidegate.ledger.tables import claims, counts, events, is_open, is_unreported, leases, objects

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Select

    from tidegate.ledger.claims import Lease

__all__ = [
    "Holder",
    "backlogs",
    "broken_rules",
    "by_id",
    "by_name",
    "claimed_by",
    "dead_letters",
    "event_at",
    "find",
    "first_claims",
    "has_any",
    "has_claimed",
    "holders",
    "in_states",
    "keys",
    "newest_upload_of",
    "open_leases",
    "runs_without_lease",
    "status",
    "story",
    "unfinished",
    "unreported",
]


#: Where the code points begin that are no characters, and no key has, and where they end.
_SURROGATES, _AFTER_SURROGATES = 0xD800, 0xE000


class Holder(NamedTuple):
    """Who works on an object, as far as a run must know before it tells how its own try ended."""

    flow_run_id: str | None
    state: str
    attempt: int
    recorded_at: datetime


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
    narrow = [_begins_with(prefix)] if prefix else []
    if since is not None:
        narrow.append(objects.c.uploaded_at >= since)
    if until is not None:
        narrow.append(objects.c.uploaded_at < until)
    if flow_run_id is not None:
        narrow.append(objects.c.flow_run_id == flow_run_id)
    order = (objects.c.uploaded_at, objects.c.key, objects.c.object_id)
    if dataset is None and not states:
        return entries(connection, select(objects).where(*narrow).order_by(*order).limit(limit))
    # An index has the objects of one dataset in one state by upload; of several, each is asked for.
    found: list[ObjectEntry] = []
    for kind in _kinds(connection, dataset, states):
        found += entries(connection, select(objects).where(*kind, *narrow).order_by(*order).limit(limit))
    return sorted(found, key=attrgetter("uploaded_at", "key", "object_id"))[:limit]


def _kinds(
    connection: Connection, dataset: str | None, states: Sequence[str]
) -> Iterator[tuple[ColumnElement[bool], ColumnElement[bool]]]:
    """What selects the objects of each dataset and state that there are, among these."""
    query = select(counts.c.dataset, counts.c.state)
    if dataset is not None:
        query = query.where(counts.c.dataset == dataset)
    if states:
        query = query.where(counts.c.state.in_(states))
    for name, state in connection.execute(query.order_by(counts.c.dataset, counts.c.state)).all():
        yield objects.c.dataset == (name or None), objects.c.state == state


def _begins_with(prefix: str) -> ColumnElement[bool]:
    """A range, for an index has no use for LIKE; and as exact about case as keys are."""
    last = prefix.rstrip("\U0010ffff")
    if not last:
        return objects.c.key >= prefix
    following = ord(last[-1]) + 1
    after = last[:-1] + chr(_AFTER_SURROGATES if following == _SURROGATES else following)
    return and_(objects.c.key >= prefix, objects.c.key < after)


def by_id(connection: Connection, object_ids: Sequence[str]) -> dict[str, ObjectEntry]:
    """These objects, those that are known."""
    return {
        entry.object_id: entry
        for chunk in chunks(object_ids)
        for entry in entries(connection, select(objects).where(objects.c.object_id.in_(chunk)))
    }


def versions_in_state(
    connection: Connection, dataset: str, states: Sequence[str], keys: Sequence[str] | None = None
) -> list[ObjectEntry]:
    """A dataset's objects in these states, of all keys or of these; cheap where there are none."""
    kinds = list(_kinds(connection, dataset, states))
    if keys is None:
        return [found for kind in kinds for found in entries(connection, select(objects).where(*kind))]
    # By key alone: asked for the state as well, SQLite would look at all of the dataset in that state.
    asked = [select(objects).where(objects.c.key.in_(chunk)) for chunk in (chunks(keys) if kinds else ())]
    found = (one for query in asked for one in entries(connection, query))
    return [one for one in found if one.dataset == dataset and one.state in states]


def holders(connection: Connection, object_ids: Sequence[str]) -> dict[str, Holder]:
    """Who works on these objects, those that are known."""
    columns = [objects.c[name] for name in Holder._fields]
    return {
        object_id: Holder(*facts)
        for chunk in chunks(object_ids)
        for object_id, *facts in connection.execute(
            select(objects.c.object_id, *columns).where(objects.c.object_id.in_(chunk))
        ).all()
    }


def claimed_by(connection: Connection, flow_run_id: str) -> list[ObjectEntry]:
    """Everything a flow run ever claimed, whoever finished it."""
    mine = select(claims.c.object_id).where(claims.c.flow_run_id == flow_run_id)
    query = select(objects).where(objects.c.object_id.in_(mine))
    return entries(connection, query.order_by(objects.c.uploaded_at, objects.c.key))


def has_claimed(connection: Connection, flow_run_id: str) -> bool:
    """Whether a flow run has got as far as claiming objects."""
    query = select(claims.c.object_id).where(claims.c.flow_run_id == flow_run_id).limit(1)
    return connection.execute(query).first() is not None


def event_at(connection: Connection, seq: int) -> str:
    """The id of the event with this seq."""
    return str(connection.execute(select(events.c.id).where(events.c.seq == seq)).scalar_one())


def has_any(connection: Connection, kinds: Sequence[EventType], *, after: int) -> bool:
    """Whether an event of one of these types stands in the log after this seq."""
    query = select(events.c.seq).where(
        events.c.seq > after, events.c.type.in_([kind.value for kind in kinds])
    )
    return connection.execute(query.limit(1)).first() is not None


def by_name(connection: Connection, name: str) -> list[ObjectEntry]:
    """All versions of what a person calls `name`: a key, a URL, an object id or a key's end.

    Newest upload last. The exact key or URL wins over keys that only end with `name`.
    """
    exact = or_(objects.c.key == name, objects.c.object_id == name)
    if "://" in name:
        exact = or_(exact, and_(objects.c.key.in_(_keys_of_url(name)), objects.c.url == name))
    order = (objects.c.uploaded_at, objects.c.recorded_at)
    found = entries(connection, select(objects).where(exact).order_by(*order))
    if found:
        return found
    ending = select(objects.c.key).where(objects.c.key.endswith("/" + name, autoescape=True))
    full = connection.execute(ending).scalars().all()
    return entries(connection, select(objects).where(objects.c.key.in_(full)).order_by(*order))


def _keys_of_url(name: str) -> list[str]:
    """What the key may be: where a folder's path ends and the key begins, a URL does not tell."""
    path = name.partition("://")[2]
    ends = set()
    for text in (path, unquote(path)):
        parts = text.split("/")
        ends |= {"/".join(parts[start:]) for start in range(1, len(parts))}
    return sorted(ends)


def broken_rules(connection: Connection, object_ids: Sequence[str]) -> dict[str, str]:
    """The rule for which each of these objects was quarantined last, where one was told."""
    found: dict[str, str] = {}
    for chunk in chunks(object_ids):
        query = (
            select(events.c.object_id, events.c.data)
            .where(events.c.story.in_(_stories(chunk)), events.c.type == EventType.QUARANTINED.value)
            .order_by(events.c.seq)
        )
        for object_id, data in connection.execute(query):
            found[object_id] = json.loads(data).get("rule", "")
    return found


def _stories(object_ids: Sequence[str]) -> Select[tuple[int]]:
    return select(objects.c.story).where(objects.c.object_id.in_(object_ids))


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
            .where(events.c.story.in_(_stories(chunk)), events.c.type == EventType.CLAIMED.value)
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
    query = select(objects).where(is_unreported).order_by(objects.c.finished_at)
    if finished_before is not None:
        query = query.where(objects.c.finished_at < finished_before)
    if object_ids is None:
        return entries(connection, query)
    found: list[ObjectEntry] = []
    for chunk in chunks(object_ids):
        found += entries(connection, query.where(objects.c.object_id.in_(chunk)))
    return found


def keys(connection: Connection, limit: int) -> list[str]:
    """Up to `limit` known keys."""
    query = select(objects.c.key).distinct().limit(limit)
    return list(connection.execute(query).scalars())


def story(connection: Connection, object_id: str) -> list[Event]:
    """Every event of one object, in the order the ledger has them."""
    mine = events.c.story.in_(_stories([object_id]))
    query = select(events).where(mine).order_by(events.c.seq)
    return [to_event(row) for row in connection.execute(query).mappings()]


def dead_letters(connection: Connection, limit: int = 100) -> list[Event]:
    """The newest messages that could not be read, newest first."""
    query = (
        select(events)
        .where(events.c.story.is_(None), events.c.type == EventType.DEAD_LETTERED.value)
        .order_by(events.c.seq.desc())
        .limit(limit)
    )
    return [to_event(row) for row in connection.execute(query).mappings()]


def runs_without_lease(connection: Connection) -> list[str]:
    """Flow runs that hold running objects and no lease: nobody works on those."""
    query = (
        select(objects.c.flow_run_id)
        .distinct()
        .where(
            objects.c.dataset.in_(select(counts.c.dataset).where(counts.c.state == "running")),
            is_open,
            objects.c.state == "running",
            objects.c.flow_run_id.not_in(select(leases.c.flow_run_id)),
        )
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
