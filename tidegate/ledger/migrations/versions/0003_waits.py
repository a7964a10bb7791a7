"""Which held objects wait for which reference."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "waits",
        sa.Column("object_id", sa.String(36), sa.ForeignKey("objects.object_id"), primary_key=True),
        sa.Column("reference", sa.String(63), primary_key=True),
        sa.Column("snapshot", sa.Text(), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
    )
