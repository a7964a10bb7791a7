"""What the ``data`` of each event type holds. The JSON Schemas in schemas/ are made from these.

A consumer may rely on every field that stands here; a field is added as optional, and anything
else is a new version of the type. ``python -m tidegate.events.payloads`` writes the schemas.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from tidegate.events.model import EventType

SCHEMAS = Path(__file__).parent / "schemas"


class Payload(BaseModel):
    """The data of one event type; consumers must ignore fields they do not know."""

    model_config = ConfigDict(extra="forbid")


class Uploaded(Payload):
    """An object was created in the landing and is in the ledger now."""

    store: str = Field(description="folder, s3 or gcs")
    bucket: str
    key: str
    version: str = Field(description="S3 versionId or eTag, GCS generation, mtime_ns-size of a file")
    uploaded_at: datetime
    via: str = Field(description="watch, scan, sqs or reconcile")
    etag: str | None = None
    size: int | None = Field(default=None, description="bytes")
    sequencer: str | None = None


class Unmatched(Payload):
    """No data contract, or more than one, matches the object's key."""

    reason: str


class Ignored(Payload):
    """The object holds no data of its own: it is the manifest of others."""

    reason: str


class Claimed(Payload):
    """A flow run took the object into its batch."""

    flow_run_id: str
    objects_in_batch: int


class _Staged(Payload):
    flow_run_id: str
    contract_version: str
    staged: str = Field(description="claim check: Parquet file below the staging folder")
    at: datetime


class Dialect(Payload):
    """How an object is written, as it was read."""

    encoding: str
    byte_order_mark: bool
    compression: str = Field(description="none, gzip, zstd, bz2 or zip")
    delimiter: str
    quote: str | None
    escape: str | None
    line_end: str | None = Field(
        description="what ends a row: a newline, a return, both, or the word mixed; null when nothing does"
    )
    preamble_lines: int
    header_lines: int
    header: list[str] | None = Field(
        description="names as they stand; null when that is over 8,000 characters of JSON"
    )
    comment: str | None = Field(description="as the contract declares it")
    footer: str | None = Field(description="as the contract declares it")
    assumed: list[str] = Field(
        description="fields that nothing in the object tells, such as the quote where there is none"
    )


class Validated(_Staged):
    """Every row was read and checked."""

    content_sha256: str
    rows_read: int
    rows_valid: int
    rows_rejected: int
    dialect: Dialect | None = None
    dialect_changes: list[str] | None = Field(
        default=None, description="in what the dialect differs from the loaded objects before it"
    )


class Normalized(_Staged):
    """The contract's normalization was done."""


class Enriched(_Staged):
    """Columns were taken from the reference datasets."""

    references: dict[str, str] = Field(description="reference dataset -> its snapshot")
    rows_unmatched: dict[str, int] = Field(description="reference dataset -> rows without a match")
    rows_valid: int | None = Field(default=None, description="rows that go on")
    rows_rejected: int | None = Field(default=None, description="rows refused so far, by lookups too")


class _Committed(Payload):
    table: str
    contract_version: str
    rows_read: int
    rows_loaded: int
    rows_rejected: int
    rows_duplicate: int
    reason: str
    others: list[str] = Field(description="ids of objects that this one replaced or that stand instead")
    rule: str | None = None


class Loaded(_Committed):
    """The object's rows, rejected rows and commit record are in the warehouse."""

    committed_at: datetime


class Quarantined(Payload):
    """The object as a whole is held."""

    reason: str
    rule: str | None = None
    flow_run_id: str | None = None
    crashes: int | None = None
    table: str | None = None
    contract_version: str | None = None
    rows_read: int | None = None
    rows_loaded: int | None = None
    rows_rejected: int | None = None
    rows_duplicate: int | None = None
    others: list[str] | None = None
    references: dict[str, str] | None = Field(
        default=None, description="reference dataset that it waits for -> the snapshot that it was tried with"
    )
    waits_until: dict[str, datetime] | None = Field(
        default=None, description="reference dataset that it waits for -> until when"
    )


class Superseded(Payload):
    """A newer version counts instead of this one."""

    reason: str
    others: list[str] | None = None
    flow_run_id: str | None = None
    table: str | None = None
    contract_version: str | None = None
    rows_read: int | None = None
    rows_loaded: int | None = None
    rows_rejected: int | None = None
    rows_duplicate: int | None = None


class Duplicated(_Committed):
    """The loaded version of the key has the same content; nothing was changed."""


class Failed(Payload):
    """A run gave up on the object for now; it waits for a retry."""

    reason: str
    flow_run_id: str


class Released(Payload):
    """The run that had claimed the object died; it is pending again."""

    reason: str
    flow_run_id: str
    crashes: int


class Reopened(Payload):
    """A backfill, redrive or retry, or a reference loaded anew, made the object pending once more."""

    reason: str
    was: str = Field(description="the state before")
    redrive: bool | None = Field(default=None, description="whether only what is held is to be loaded")


class Retained(Payload):
    """A further try changed nothing: what was loaded before stands."""

    state: str
    reason: str
    table: str | None = None
    contract_version: str | None = None
    rows_read: int | None = None
    rows_loaded: int | None = None
    rows_rejected: int | None = None
    rows_duplicate: int | None = None
    others: list[str] | None = None
    committed_at: datetime | None = None
    rule: str | None = None


class Discarded(Payload):
    """A person decided that a quarantined object will not be loaded."""

    reason: str
    by: str = Field(description="who decided it: the name of the user's account")


class Reported(Payload):
    """What is held of the object, with the reasons, was written to the quarantine."""

    report: str = Field(description="URL below which report.json, rejected.csv and a held object's copy lie")
    rows_held: int = Field(description="rejected rows that wait for a redrive")


class DeadLettered(Payload):
    """A message that can't be read was set aside."""

    error: str
    text: str
    cut: bool = Field(description="whether the text was longer than what is kept")


PAYLOADS: dict[EventType, type[Payload]] = {
    EventType.UPLOADED: Uploaded,
    EventType.UNMATCHED: Unmatched,
    EventType.IGNORED: Ignored,
    EventType.CLAIMED: Claimed,
    EventType.VALIDATED: Validated,
    EventType.NORMALIZED: Normalized,
    EventType.ENRICHED: Enriched,
    EventType.LOADED: Loaded,
    EventType.QUARANTINED: Quarantined,
    EventType.SUPERSEDED: Superseded,
    EventType.DUPLICATED: Duplicated,
    EventType.FAILED: Failed,
    EventType.RELEASED: Released,
    EventType.REOPENED: Reopened,
    EventType.RETAINED: Retained,
    EventType.DISCARDED: Discarded,
    EventType.REPORTED: Reported,
    EventType.DEAD_LETTERED: DeadLettered,
}


def schema_of(kind: EventType) -> dict[str, Any]:
    """The JSON Schema of a type's ``data``."""
    schema = PAYLOADS[kind].model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": kind.value, **schema}


def write_schemas(folder: Path = SCHEMAS) -> None:
    """Write one file a type: ``<type>.json``."""
    folder.mkdir(exist_ok=True)
    for kind in EventType:
        text = json.dumps(schema_of(kind), indent=2) + "\n"
        (folder / f"{kind.value}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write_schemas()
