"""The first schema: log, projections, leases, cursors."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_MOMENT = sa.DateTime(timezone=True)
_SEQUENCE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _events()
    _objects()
    op.create_table(
        "claims",
        sa.Column("flow_run_id", sa.String(36), primary_key=True),
        sa.Column("object_id", sa.String(36), sa.ForeignKey("objects.object_id"), primary_key=True),
        sa.Column("claimed_at", _MOMENT, nullable=False),
    )
    op.create_table(
        "leases",
        sa.Column("flow_run_id", sa.String(36), primary_key=True),
        sa.Column("dataset", sa.String(63), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("pid_started", sa.Float(), nullable=False),
        sa.Column("heartbeat_at", _MOMENT, nullable=False),
    )
    op.create_table(
        "cursors",
        sa.Column("sink", sa.String(64), primary_key=True),
        sa.Column("seq", sa.BigInteger(), nullable=False),
    )


def _events() -> None:
    op.create_table(
        "events",
        sa.Column("seq", _SEQUENCE, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(36), nullable=False, unique=True),
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
    op.create_index("ix_events_object_id", "events", ["object_id", "seq"])


def _objects() -> None:
    op.create_table(
        "objects",
        sa.Column("object_id", sa.String(36), primary_key=True),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("url",)),
        sa.Column("store", sa.String(16), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("bucket", "key", "version")),
        sa.Column("etag", sa.Text()),
        sa.Column("sequencer", sa.Text()),
        sa.Column("size", sa.BigInteger()),
        sa.Column("dataset", sa.String(63)),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("via", sa.String(16), nullable=False),
        sa.Column("correlation_id", sa.String(36), nullable=False),
        sa.Column("traceparent", sa.String(64)),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("crashes", sa.Integer(), nullable=False),
        sa.Column("pending_seq", sa.BigInteger(), nullable=False),
        sa.Column("flow_run_id", sa.String(36)),
        sa.Column("uploaded_at", _MOMENT, nullable=False),
        sa.Column("recorded_at", _MOMENT, nullable=False),
        *(
            sa.Column(f"{stage}_at", _MOMENT)
            for stage in ("claimed", "validated", "normalized", "enriched", "committed", "finished")
        ),
        sa.Column("content_sha256", sa.String(64)),
        sa.Column("contract_version", sa.String(32)),
        *(sa.Column(f"rows_{what}", sa.BigInteger()) for what in ("read", "loaded", "rejected", "duplicate")),
    )
    op.create_index("ix_objects_key", "objects", ["store", "bucket", "key"])
    op.create_index("ix_objects_dataset_state", "objects", ["dataset", "state", "pending_seq"])
    op.create_index("ix_objects_flow_run_id", "objects", ["flow_run_id"])
