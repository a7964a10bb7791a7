"""What the ledger knows of how objects are written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, null, select

from tidegate.ledger.tables import counts, objects

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from sqlalchemy import Connection

#: How many objects are looked back upon: an object need not show all of its dialect.
LOOKED_BACK = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class DialectChange:
    """The last object of a dataset that was written otherwise than those before it."""

    dataset: str
    key: str
    validated_at: datetime
    changes: list[str]


def loaded_dialects(
    connection: Connection, dataset: str, first: datetime, last: datetime
) -> Iterator[tuple[datetime, str, dict[str, Any]]]:
    """Upload time, id and dialect of loaded objects, in order of upload.

    All that were uploaded from `first` to `last`, and the `LOOKED_BACK` before them.
    """
    loaded = (
        objects.c.dataset == dataset,
        objects.c.state == "loaded",
        objects.c.dialect.is_not(null()),
    )
    before = (
        select(objects.c.uploaded_at)
        .where(*loaded, objects.c.uploaded_at < first)
        .order_by(objects.c.uploaded_at.desc())
        .limit(LOOKED_BACK)
        .subquery()
    )
    start = func.coalesce(select(func.min(before.c.uploaded_at)).scalar_subquery(), first)
    query = (
        select(objects.c.uploaded_at, objects.c.object_id, objects.c.dialect)
        .where(*loaded, objects.c.uploaded_at >= start, objects.c.uploaded_at <= last)
        .order_by(objects.c.uploaded_at, objects.c.object_id)
    )
    yield from connection.execute(query).tuples()


def dialect_changes(connection: Connection) -> list[DialectChange]:
    """The last change of each dataset that ever had one."""
    datasets = select(counts.c.dataset).where(counts.c.dataset != "").distinct().order_by(counts.c.dataset)
    changed = select(objects.c.dataset, objects.c.key, objects.c.validated_at, objects.c.dialect_changes)
    newest = changed.where(objects.c.dialect_changes.is_not(null())).order_by(
        objects.c.validated_at.desc(), objects.c.uploaded_at.desc()
    )
    last = (
        connection.execute(newest.where(objects.c.dataset == dataset).limit(1)).first()
        for dataset in connection.execute(datasets).scalars().all()
    )
    return [
        DialectChange(dataset=row[0], key=row[1], validated_at=row[2], changes=row[3])
        for row in last
        if row is not None
    ]
