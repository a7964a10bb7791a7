"""The append-only log: entries go in once, in one order, and are projected as they go in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, func, select

from tidegate.events import EventType
from tidegate.ledger.projections import project, standings
from tidegate.ledger.statements import chunks, insert_rows
from tidegate.ledger.tables import events

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy import Connection, RowMapping

    from tidegate.events import Event
    from tidegate.ledger.projections import Standing


#: Made once: SQLAlchemy takes longer to put them together than SQLite to answer them.
_NEWEST = select(func.max(events.c.seq))
_OF_STORIES = select(events.c.id).where(events.c.story.in_(bindparam("stories", expanding=True)))
_LOOSE = select(events.c.id).where(
    events.c.story.is_(None), events.c.id.in_(bindparam("ids", expanding=True))
)


def append(connection: Connection, log: Sequence[Event]) -> int:
    """Append entries that the log lacks, inside the caller's write transaction; how many.

    A few statements, however many the entries.
    """
    unique = {entry.id: entry for entry in log}
    told_of = {entry.object_id: None for entry in unique.values() if entry.object_id is not None}
    current = standings(connection, list(told_of))
    known = _known(connection, unique.values(), current)
    fresh = [entry for entry in unique.values() if entry.id not in known]
    if not fresh:
        return 0
    first = (connection.execute(_NEWEST).scalar() or 0) + 1
    stories = {object_id: standing.story for object_id, standing in current.items()}
    rows = [_row(seq, entry, stories) for seq, entry in enumerate(fresh, first)]
    insert_rows(connection, events, rows)
    # Folded as it was given: what a rebuild reads back from the log is the same.
    project(connection, [(row, entry.data) for row, entry in zip(rows, fresh, strict=True)], current)
    return len(fresh)


def log_after(connection: Connection, seq: int, limit: int) -> Sequence[RowMapping]:
    query = select(events).where(events.c.seq > seq).order_by(events.c.seq).limit(limit)
    return connection.execute(query).mappings().all()


def _known(connection: Connection, log: Iterable[Event], current: Mapping[str, Standing]) -> set[str]:
    """The ids that the stories of these objects have already, and those of entries without a story."""
    stories = [standing.story for standing in current.values()]
    loose = [entry.id for entry in log if entry.object_id not in current]
    found: set[str] = set()
    for chunk in chunks(stories):
        found.update(connection.execute(_OF_STORIES, {"stories": chunk}).scalars())
    for part in chunks(loose):
        found.update(connection.execute(_LOOSE, {"ids": part}).scalars())
    return found


def _row(seq: int, entry: Event, stories: dict[str, int]) -> dict[str, Any]:
    if entry.type is EventType.UPLOADED and entry.object_id is not None:
        stories.setdefault(entry.object_id, seq)
    return {
        "seq": seq,
        "id": entry.id,
        "story": stories.get(entry.object_id or ""),
        "type": entry.type.value,
        "time": entry.time,
        "subject": entry.subject,
        "dataset": entry.dataset,
        "object_id": entry.object_id,
        "correlation_id": entry.correlation_id,
        "causation_id": entry.causation_id,
        "traceparent": entry.traceparent,
        "attempt": entry.attempt,
        "data": entry.data_json(),
    }
