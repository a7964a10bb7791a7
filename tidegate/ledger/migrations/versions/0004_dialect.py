"""How each object is written, in what that differs from the objects before it, and how to find those."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("objects", sa.Column("dialect", sa.JSON()))
    op.add_column("objects", sa.Column("dialect_changes", sa.JSON()))
    op.create_index("ix_objects_dataset_state_uploaded", "objects", ["dataset", "state", "uploaded_at"])
