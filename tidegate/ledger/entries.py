"""Rows of the ledger as what they tell of: objects, their entries, events."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tidegate.events import Event, EventType
from tidegate.objects.model import ObjectVersion

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection, RowMapping, Select


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectEntry:
    """What is known of one object now."""

    object: ObjectVersion
    object_id: str
    url: str
    key: str
    version: str
    dataset: str | None
    state: str
    reason: str
    attempt: int
    crashes: int
    size: int | None
    via: str
    uploaded_at: datetime
    recorded_at: datetime
    claimed_at: datetime | None
    validated_at: datetime | None
    normalized_at: datetime | None
    enriched_at: datetime | None
    committed_at: datetime | None
    finished_at: datetime | None
    rows_read: int | None
    rows_loaded: int | None
    rows_rejected: int | None
    rows_duplicate: int | None
    contract_version: str | None
    content_sha256: str | None
    flow_run_id: str | None
    correlation_id: str
    traceparent: str | None
    #: URL of the report of what is held of it
    report: str | None
    #: how it is written, as it was last read; its fields are those of `tidegate.events.payloads.Dialect`
    dialect: dict[str, Any] | None
    #: in what that differs from the objects before it
    dialect_changes: list[str] | None


def entries(connection: Connection, query: Select[tuple[object, ...]]) -> list[ObjectEntry]:
    names = ObjectEntry.__dataclass_fields__.keys() - {"object"}
    return [
        ObjectEntry(object=to_object(row), **{name: row[name] for name in names})
        for row in connection.execute(query).mappings().all()
    ]


def to_object(row: RowMapping) -> ObjectVersion:
    return ObjectVersion(
        store=row["store"],
        bucket=row["bucket"],
        key=row["key"],
        version=row["version"],
        size=row["size"],
        uploaded_at=row["uploaded_at"],
        sequencer=row["sequencer"],
        etag=row["etag"],
    )


def to_event(row: RowMapping) -> Event:
    return Event(
        id=row["id"],
        type=EventType(row["type"]),
        time=row["time"],
        subject=row["subject"],
        dataset=row["dataset"],
        object_id=row["object_id"],
        correlation_id=row["correlation_id"],
        causation_id=row["causation_id"],
        traceparent=row["traceparent"],
        attempt=row["attempt"],
        data=json.loads(row["data"]),
    )
