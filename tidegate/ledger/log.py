"""The append-only log: entries go in once, in one order, and are projected as they go in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import func, insert, select

from tidegate.ledger.projections import project
from tidegate.ledger.tables import events

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Connection, RowMapping

    from tidegate.events import Event

#: SQLite allows 32,766 bound values a statement; this leaves room.
_CHUNK = 500


def append(connection: Connection, log: Sequence[Event]) -> int:
    """Append entries that the log lacks, inside the caller's write transaction; how many."""
    unique = list({entry.id: entry for entry in log}.values())
    known = {
        found
        for chunk in chunks([entry.id for entry in unique])
        for (found,) in connection.execute(select(events.c.id).where(events.c.id.in_(chunk)))
    }
    fresh = [entry for entry in unique if entry.id not in known]
    if not fresh:
        return 0
    first = (connection.execute(select(func.max(events.c.seq))).scalar() or 0) + 1
    rows = [_row(seq, entry) for seq, entry in enumerate(fresh, first)]
    connection.execute(insert(events), rows)
    project(connection, rows)
    return len(fresh)


def log_after(connection: Connection, seq: int, limit: int) -> Sequence[RowMapping]:
    query = select(events).where(events.c.seq > seq).order_by(events.c.seq).limit(limit)
    return connection.execute(query).mappings().all()


def chunks(values: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(values), _CHUNK):
        yield values[start : start + _CHUNK]


def _row(seq: int, entry: Event) -> dict[str, Any]:
    return {
        "seq": seq,
        "id": entry.id,
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
