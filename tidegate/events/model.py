"""The events of Tidegate: what happened to an object, in the past tense, never changed.

An event's ``id`` is a uuid5 of what happened, so that telling it twice gives the same event and
the ledger keeps one. ``correlationid`` is the id of the upload event that began the story.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from tidegate.objects.model import NAMESPACE, ObjectVersion

#: CloudEvents' own advice for what every consumer can carry; larger state is a claim check.
MAX_DATA_BYTES = 64_000


class EventType(StrEnum):
    """All event types; the value is the CloudEvents ``type``."""

    UPLOADED = "tidegate.object.uploaded.v1"
    UNMATCHED = "tidegate.object.unmatched.v1"
    #: the object holds no data of its own: it tells of others, as a manifest does
    IGNORED = "tidegate.object.ignored.v1"
    CLAIMED = "tidegate.object.claimed.v1"
    VALIDATED = "tidegate.object.validated.v1"
    NORMALIZED = "tidegate.object.normalized.v1"
    ENRICHED = "tidegate.object.enriched.v1"
    LOADED = "tidegate.object.loaded.v1"
    QUARANTINED = "tidegate.object.quarantined.v1"
    SUPERSEDED = "tidegate.object.superseded.v1"
    DUPLICATED = "tidegate.object.duplicated.v1"
    #: a run gave up on the object for now; it waits for a retry
    FAILED = "tidegate.object.failed.v1"
    #: a run died or let go of the object; it is pending again
    RELEASED = "tidegate.object.released.v1"
    #: a backfill, redrive or retry asked for the object to be processed once more
    REOPENED = "tidegate.object.reopened.v1"
    #: an attempt after the first ended without changing what was loaded before
    RETAINED = "tidegate.object.retained.v1"
    #: a person decided that a quarantined object will not be loaded
    DISCARDED = "tidegate.object.discarded.v1"
    #: what is held of the object was written to the quarantine
    REPORTED = "tidegate.object.reported.v1"
    #: a message that can't be read was set aside with its text
    DEAD_LETTERED = "tidegate.message.deadlettered.v1"

    @property
    def verb(self) -> str:
        """The past participle alone: ``loaded``."""
        return self.value.split(".")[2]


class Via(StrEnum):
    """How an upload became known."""

    #: the folder watcher saw it happen
    WATCH = "watch"
    #: a scan of the folder when the watcher started
    SCAN = "scan"
    #: an S3 notification through SQS
    SQS = "sqs"
    #: a reconcile found it in the listing
    RECONCILE = "reconcile"


def event_id(*parts: object) -> str:
    """The uuid5 of `parts`: the same parts give the same id everywhere."""
    return str(uuid.uuid5(NAMESPACE, "\n".join(str(part) for part in parts)))


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectUploaded:
    """A source's notice that an object was created; may be told many times, in any order."""

    object: ObjectVersion
    via: Via
    traceparent: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """One entry of the log."""

    id: str
    type: EventType
    #: when it happened, UTC
    time: datetime
    #: the object's URL; for a dead letter, where the message came from
    subject: str
    dataset: str | None
    object_id: str | None
    #: id of the upload event that began this object's story
    correlation_id: str
    #: id of the event that this one follows from
    causation_id: str | None = None
    traceparent: str | None = None
    #: which try at the object this belongs to; 1 unless it was reopened
    attempt: int = 1
    data: dict[str, Any] = field(default_factory=dict)

    @property
    def source(self) -> str:
        """The CloudEvents ``source``."""
        return f"tidegate/{self.dataset}" if self.dataset else "tidegate"

    def data_json(self) -> str:
        """`data` as JSON; ValueError when it is over 64 KB and so must be a claim check."""
        text = _to_json(self.data)
        if len(text.encode()) > MAX_DATA_BYTES:
            msg = f"{self.type} for {self.subject}: data is over {MAX_DATA_BYTES} bytes"
            raise ValueError(msg)
        return text

    def to_cloudevent(self) -> dict[str, Any]:
        """The event in CloudEvents' JSON format, structured mode, checked against its rules."""
        from cloudevents.core.formats.json import JSONFormat
        from cloudevents.core.v1.event import CloudEvent

        event = CloudEvent(self._attributes(), json.loads(self.data_json()))
        document: dict[str, Any] = json.loads(JSONFormat().write(event))
        return document

    def logged_cloudevent(self) -> dict[str, Any]:
        """The same document of an event as the log has it; unchecked, for those who send thousands."""
        moment = self.time.astimezone(UTC).isoformat().removesuffix("+00:00") + "Z"
        return self._attributes() | {"specversion": "1.0", "time": moment, "data": self.data}

    def _attributes(self) -> dict[str, Any]:
        attributes = {
            "id": self.id,
            "type": self.type.value,
            "source": self.source,
            "subject": self.subject,
            "time": self.time,
            "datacontenttype": "application/json",
            "correlationid": self.correlation_id,
            "causationid": self.causation_id,
            "traceparent": self.traceparent,
        }
        return {name: value for name, value in attributes.items() if value is not None}


def iso(moment: datetime) -> str:
    """ISO 8601 in UTC with microseconds and ``Z``."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")[:26] + "Z"


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return iso(value)
    msg = f"{type(value).__name__} can't stand in an event"
    raise TypeError(msg)


#: An encoder made once: `json.dumps` makes one for every call that asks for anything special.
_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=_plain).encode
