"""The ledger's tables: ``events`` is the truth; `PROJECTIONS` come from it.

``leases``, ``progress`` and ``cursors`` are neither: they say who is at work now, how far that is, and
how far each sink has read, and an empty one only costs time.

A ledger keeps millions of objects, and what is written for a batch must cost the same then. So an
index that is written with every event follows the order in which objects arrive, and what is asked
all the time has an index that holds only what is not over yet.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    literal_column,
    null,
    text,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.types import TypeDecorator, TypeEngine

from tidegate.ledger.states import OPEN_STATES

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import ColumnElement, TextClause

metadata = MetaData()

#: SQLite gives a rowid alias only to INTEGER; Postgres needs the 64 bits said.
_Sequence = BigInteger().with_variant(Integer, "sqlite")


class _SqliteMoment(sqlite.DATETIME):
    """Naive UTC as text: SQLite has no zones. Read and written by what Python has built in.

    Every event and most changes of an object carry moments, and SQLAlchemy's own way is slower.
    """

    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> Callable[[datetime | None], str | None]:
        del dialect

        def to_text(value: datetime | None) -> str | None:
            if value is None:
                return None
            return value.astimezone(UTC).isoformat(" ", "microseconds")[:26]

        return to_text

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[str | None], datetime | None]:
        del dialect, coltype

        def to_moment(value: str | None) -> datetime | None:
            return None if value is None else datetime.fromisoformat(value).replace(tzinfo=UTC)

        return to_moment


class UtcDateTime(TypeDecorator[datetime]):
    """An aware moment in UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[datetime]:
        if dialect.name == "sqlite":
            return _SqliteMoment()  # type: ignore[no-untyped-call]
        return DateTime(timezone=True)


def _only(condition: ColumnElement[bool] | TextClause) -> dict[str, Any]:
    """An index of the rows for which `condition` holds.

    Postgres is told by the migration: to name it here would import all of its dialect.
    """
    return {"sqlite_where": condition}


events = Table(
    "events",
    metadata,
    Column("seq", _Sequence, primary_key=True, autoincrement=True),
    Column("id", String(36), nullable=False),
    #: seq of the event with which the object's story began; none for what belongs to no known object
    Column("story", BigInteger),
    Column("type", String(64), nullable=False),
    Column("time", UtcDateTime, nullable=False),
    Column("subject", Text, nullable=False),
    Column("dataset", String(63)),
    Column("object_id", String(36)),
    Column("correlation_id", String(36), nullable=False),
    Column("causation_id", String(36)),
    Column("traceparent", String(64)),
    Column("attempt", Integer, nullable=False),
    Column("data", Text, nullable=False),
    #: an object's events have ids of their own, so that the pair is as unique as the id
    Index("ix_events_story", "story", "id", unique=True),
    sqlite_autoincrement=True,
)
Index("ix_events_no_story", events.c.id, unique=True, **_only(events.c.story.is_(None)))

objects = Table(
    "objects",
    metadata,
    Column("object_id", String(36), primary_key=True),
    Column("story", BigInteger, nullable=False),
    Column("url", Text, nullable=False),
    Column("store", String(16), nullable=False),
    Column("bucket", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("etag", Text),
    Column("sequencer", Text),
    Column("size", BigInteger),
    Column("dataset", String(63)),
    Column("state", String(16), nullable=False),
    Column("reason", Text, nullable=False, default=""),
    Column("via", String(16), nullable=False),
    Column("correlation_id", String(36), nullable=False),
    Column("traceparent", String(64)),
    Column("attempt", Integer, nullable=False, default=1),
    Column("crashes", Integer, nullable=False, default=0),
    #: seq of the event that made it pending last; orders the queue
    Column("pending_seq", BigInteger, nullable=False),
    Column("flow_run_id", String(36)),
    Column("uploaded_at", UtcDateTime, nullable=False),
    Column("recorded_at", UtcDateTime, nullable=False),
    Column("claimed_at", UtcDateTime),
    Column("validated_at", UtcDateTime),
    Column("normalized_at", UtcDateTime),
    Column("enriched_at", UtcDateTime),
    Column("committed_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    Column("content_sha256", String(64)),
    Column("contract_version", String(32)),
    Column("rows_read", BigInteger),
    Column("rows_loaded", BigInteger),
    Column("rows_rejected", BigInteger),
    Column("rows_duplicate", BigInteger),
    #: whether the present try is to load only what is held
    Column("redrive", Boolean),
    #: URL of the report of what is held of it
    Column("report", Text),
    #: the try that the report tells of
    Column("reported_attempt", Integer),
    #: how it is written, as event ``validated`` tells; none of what was validated before that was told
    Column("dialect", JSON(none_as_null=True)),
    #: in what that differs from the objects before it; none when in nothing
    Column("dialect_changes", JSON(none_as_null=True)),
    Index("ix_objects_key", "key"),
    Index("ix_objects_uploaded", "uploaded_at"),
    Index("ix_objects_dataset_state_uploaded", "dataset", "state", "uploaded_at"),
    Index("ix_objects_flow_run_id", "flow_run_id"),
)

#: Objects that are not over. Written out, and not as bound values, so that a database sees that the
#: index of them will do.
is_open = objects.c.state.in_([literal_column(f"'{state}'") for state in OPEN_STATES])

#: Objects of which something is held, or was at the last report, and no report tells of this try. The
#: column stands on the left: SQLite turns other comparisons round, and then misses the index.
is_unreported = text(
    "(state = 'quarantined' OR state = 'loaded' AND (rows_rejected > 0 OR report IS NOT NULL)) "
    "AND attempt > coalesce(reported_attempt, 0)"
)

Index("ix_objects_open", objects.c.dataset, objects.c.state, objects.c.pending_seq, **_only(is_open))
Index("ix_objects_waiting", objects.c.dataset, objects.c.state, objects.c.recorded_at, **_only(is_open))
Index(
    "ix_objects_crashed",
    objects.c.dataset,
    objects.c.crashes,
    **_only(objects.c.crashes > literal_column("0")),
)
Index(
    "ix_objects_committed",
    objects.c.dataset,
    objects.c.committed_at,
    **_only(objects.c.committed_at.is_not(None)),
)
Index(
    "ix_objects_dialect_changed",
    objects.c.dataset,
    objects.c.validated_at,
    **_only(objects.c.dialect_changes.is_not(null())),
)
Index("ix_objects_unreported", objects.c.finished_at, **_only(is_unreported))

counts = Table(
    "counts",
    metadata,
    #: empty for objects that no contract takes
    Column("dataset", String(63), primary_key=True),
    Column("state", String(16), primary_key=True),
    Column("objects", BigInteger, nullable=False),
    Column("rows_loaded", BigInteger, nullable=False),
    Column("rows_rejected", BigInteger, nullable=False),
)

claims = Table(
    "claims",
    metadata,
    Column("flow_run_id", String(36), primary_key=True),
    Column("object_id", String(36), ForeignKey("objects.object_id"), primary_key=True),
    Column("claimed_at", UtcDateTime, nullable=False),
)

waits = Table(
    "waits",
    metadata,
    Column("object_id", String(36), ForeignKey("objects.object_id"), primary_key=True),
    #: the dataset whose next load may bring the keys that the object lacks
    Column("reference", String(63), primary_key=True),
    #: the snapshot that it was tried with; empty for none
    Column("snapshot", Text, nullable=False),
    Column("until", UtcDateTime, nullable=False),
)

leases = Table(
    "leases",
    metadata,
    Column("flow_run_id", String(36), primary_key=True),
    Column("dataset", String(63), nullable=False),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("pid_started", Float, nullable=False),
    Column("heartbeat_at", UtcDateTime, nullable=False),
)

progress = Table(
    "progress",
    metadata,
    #: It goes with the lease, whoever gives that up or takes it back.
    Column("flow_run_id", String(36), ForeignKey("leases.flow_run_id", ondelete="CASCADE"), primary_key=True),
    Column("dataset", String(63), nullable=False),
    Column("stage", String(16), nullable=False),
    #: how many objects the batch has
    Column("objects", Integer, nullable=False),
    #: the object at work; none while several are worked on together
    Column("url", Text),
    Column("key", Text),
    Column("bytes_done", BigInteger),
    Column("bytes_total", BigInteger),
    Column("rows", BigInteger),
    Column("started_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
)

cursors = Table(
    "cursors",
    metadata,
    Column("sink", String(64), primary_key=True),
    Column("seq", BigInteger, nullable=False),
)

#: Tables that `Ledger.rebuild` makes anew from the log, parents first.
PROJECTIONS = (objects, claims, waits, counts)
