"""How far runs have got with what they work on, for as long as they hold their lease."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "progress",
        sa.Column(
            "flow_run_id",
            sa.String(36),
            sa.ForeignKey("leases.flow_run_id", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("dataset", sa.String(63), nullable=False),
        sa.Column("stage", sa.String(16), nullable=False),
        sa.Column("objects", sa.Integer(), nullable=False),
        sa.Column("url", sa.Text()),
        sa.Column("key", sa.Text()),
        sa.Column("bytes_done", sa.BigInteger()),
        sa.Column("bytes_total", sa.BigInteger()),
        sa.Column("rows", sa.BigInteger()),
        sa.Column("started_at", _MOMENT, nullable=False),
        sa.Column("updated_at", _MOMENT, nullable=False),
    )
