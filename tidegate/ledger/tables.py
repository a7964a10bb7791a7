"""The ledger's tables: ``events`` is the truth; ``objects``, ``claims`` and ``waits`` come from it.

``leases`` and ``cursors`` are neither: they say who is at work now and how far each sink has
read, and an empty one only costs time.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

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
)
from sqlalchemy.types import TypeDecorator

metadata = MetaData()

#: SQLite gives a rowid alias only to INTEGER; Postgres needs the 64 bits said.
_Sequence = BigInteger().with_variant(Integer, "sqlite")


class UtcDateTime(TypeDecorator[datetime]):
    """An aware moment in UTC; SQLite, which has no zones, keeps it as naive UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        moment: datetime = value
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


events = Table(
    "events",
    metadata,
    Column("seq", _Sequence, primary_key=True, autoincrement=True),
    Column("id", String(36), nullable=False, unique=True),
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
    Index("ix_events_object_id", "object_id", "seq"),
    sqlite_autoincrement=True,
)

objects = Table(
    "objects",
    metadata,
    Column("object_id", String(36), primary_key=True),
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
    Index("ix_objects_key", "store", "bucket", "key"),
    Index("ix_objects_dataset_state", "dataset", "state", "pending_seq"),
    Index("ix_objects_dataset_state_uploaded", "dataset", "state", "uploaded_at"),
    Index("ix_objects_flow_run_id", "flow_run_id"),
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

cursors = Table(
    "cursors",
    metadata,
    Column("sink", String(64), primary_key=True),
    Column("seq", BigInteger, nullable=False),
)

#: Tables that `Ledger.rebuild` makes anew from the log, parents first.
PROJECTIONS = (objects, claims, waits)
