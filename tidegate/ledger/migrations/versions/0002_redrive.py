"""Which try an object is at, and where the report of what is held of it lies."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("objects", sa.Column("redrive", sa.Boolean()))
    op.add_column("objects", sa.Column("report", sa.Text()))
    op.add_column("objects", sa.Column("reported_attempt", sa.Integer()))
