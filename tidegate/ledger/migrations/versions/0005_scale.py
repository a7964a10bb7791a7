"""Indexes and counts for millions of objects, and events found by the story that they belong to."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_MOMENT = sa.DateTime(timezone=True)
_SEQUENCE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

_COPIED = (
    "seq, id, type, time, subject, dataset, object_id, "
    "correlation_id, causation_id, traceparent, attempt, data"
)
_IS_OPEN = "state IN ('pending', 'running', 'failed')"
_IS_UNREPORTED = (
    "(state = 'quarantined' OR state = 'loaded' AND (rows_rejected > 0 OR report IS NOT NULL)) "
    "AND attempt > coalesce(reported_attempt, 0)"
)


def upgrade() -> None:
    op.add_column("objects", sa.Column("story", sa.BigInteger(), nullable=False, server_default="0"))
    # An object that no event tells of was written by hand; it gets a story of its own all the same.
    op.execute(
        "UPDATE objects SET story = coalesce("
        "(SELECT min(seq) FROM events WHERE events.object_id = objects.object_id), "
        "-(SELECT count(*) FROM objects AS others WHERE others.object_id <= objects.object_id))"
    )
    _events()
    op.create_table(
        "counts",
        sa.Column("dataset", sa.String(63), primary_key=True),
        sa.Column("state", sa.String(16), primary_key=True),
        *(
            sa.Column(name, sa.BigInteger(), nullable=False)
            for name in ("objects", "rows_loaded", "rows_rejected")
        ),
    )
    op.execute(
        "INSERT INTO counts (dataset, state, objects, rows_loaded, rows_rejected) "
        "SELECT coalesce(dataset, ''), state, count(*), coalesce(sum(rows_loaded), 0), "
        "coalesce(sum(rows_rejected), 0) FROM objects GROUP BY coalesce(dataset, ''), state"
    )
    _indexes()


def _events() -> None:
    """The log anew: the ids of all events together are indexed no more, and SQLite can't drop that."""
    op.create_table(
        "events_with_story",
        sa.Column("seq", _SEQUENCE, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("story", sa.BigInteger()),
        sa.Column("type", sa.String(64), nullable=False),
        sa.Column("time", _MOMENT, nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("dataset", sa.String(63)),
        sa.Column("object_id", sa.String(36)),
        sa.Column("correlation_id", sa.String(36), nullable=False),
        sa.Column("causation_id", sa.String(36)),
        sa.Column("traceparent", sa.String(64)),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sqlite_autoincrement=True,
    )
    op.execute(
        f"INSERT INTO events_with_story ({_COPIED}, story) "  # noqa: S608 - names, all of them from above
        f"SELECT {_COPIED}, (SELECT story FROM objects WHERE objects.object_id = events.object_id) "
        "FROM events ORDER BY seq"
    )
    op.drop_table("events")
    op.rename_table("events_with_story", "events")
    op.create_index("ix_events_story", "events", ["story", "id"], unique=True)
    op.create_index("ix_events_no_story", "events", ["id"], unique=True, **_only("story IS NULL"))


def _indexes() -> None:
    op.drop_index("ix_objects_key", "objects")
    op.drop_index("ix_objects_dataset_state", "objects")
    op.create_index("ix_objects_key", "objects", ["key"])
    op.create_index("ix_objects_uploaded", "objects", ["uploaded_at"])
    for name, columns, condition in (
        ("open", ("dataset", "state", "pending_seq"), _IS_OPEN),
        ("waiting", ("dataset", "state", "recorded_at"), _IS_OPEN),
        ("crashed", ("dataset", "crashes"), "crashes > 0"),
        ("committed", ("dataset", "committed_at"), "committed_at IS NOT NULL"),
        ("dialect_changed", ("dataset", "validated_at"), "dialect_changes IS NOT NULL"),
        ("unreported", ("finished_at",), _IS_UNREPORTED),
    ):
        op.create_index(f"ix_objects_{name}", "objects", list(columns), **_only(condition))


def _only(condition: str) -> dict[str, Any]:
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}
