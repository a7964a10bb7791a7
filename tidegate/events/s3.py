"""Read S3's notices of new objects, in the three forms in which they come through SQS.

The forms are S3 event notifications (records of version 2.x, from S3 and from what speaks its
protocol), those notifications wrapped by SNS, and EventBridge's "Object Created". Nothing here has a
side effect, and no message, however broken, raises.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

from tidegate.events.model import ObjectUploaded, Via
from tidegate.objects.model import ObjectVersion

if TYPE_CHECKING:
    from collections.abc import Callable

_LARGEST_SIZE = 2**63 - 1

#: characters of a wrong value that an error repeats
_SHOWN = 100


@dataclass(frozen=True, slots=True)
class Decoded:
    """What one message says. All three may be filled: a message may hold many records."""

    uploads: list[ObjectUploaded] = field(default_factory=list)
    #: why something was left out that was never an upload
    ignored: list[str] = field(default_factory=list)
    #: what can't be read; the message belongs with the dead letters
    errors: list[str] = field(default_factory=list)


class _UnreadableError(Exception):
    """A message or record does not have the form that S3 gives it."""


def decode(body: str | bytes, via: Via = Via.SQS) -> Decoded:
    """Read a message's body. Keys come back as they are in the bucket; never raises."""
    decoded = Decoded()
    try:
        message = _unwrapped(_json(body))
        if message.get("Event") == "s3:TestEvent":
            decoded.ignored.append("S3's test event")
        elif message.get("detail-type") is not None:
            _collect(decoded, message, _from_event_bridge, via)
        else:
            for record in _records(message):
                _collect(decoded, record, _from_record, via)
    except _UnreadableError as error:
        decoded.errors.append(str(error))
    return decoded


def _collect(
    decoded: Decoded, record: object, read: Callable[[dict[str, Any]], ObjectVersion | str], via: Via
) -> None:
    try:
        found = read(_dict(record, "a record"))
    except _UnreadableError as error:
        decoded.errors.append(str(error))
        return
    if isinstance(found, str):
        decoded.ignored.append(found)
    else:
        decoded.uploads.append(ObjectUploaded(object=found, via=via))


def _from_record(record: dict[str, Any]) -> ObjectVersion | str:
    name = _text(record, "eventName")
    if not name.removeprefix("s3:").startswith("ObjectCreated:"):
        return f"{name} is no upload"
    part = _dict(record.get("s3"), "s3")
    described = _dict(part.get("object"), "s3.object")
    try:
        # keys in records are written as a browser's form would be: a blank is a plus
        key = unquote_plus(_text(described, "key"), errors="strict")
    except UnicodeDecodeError as error:
        msg = f"the key {described['key']!r} is not UTF-8"
        raise _UnreadableError(msg) from error
    return _object(
        bucket=_text(_dict(part.get("bucket"), "s3.bucket"), "name"),
        key=key,
        described=described,
        version_id=_optional_text(described, "versionId"),
        etag=_optional_text(described, "eTag"),
        time=_text(record, "eventTime"),
    )


def _from_event_bridge(event: dict[str, Any]) -> ObjectVersion | str:
    kind, origin = _text(event, "detail-type"), _text(event, "source")
    if kind != "Object Created":
        return f"{kind} of {origin} is no upload"
    detail = _dict(event.get("detail"), "detail")
    described = _dict(detail.get("object"), "detail.object")
    return _object(
        bucket=_text(_dict(detail.get("bucket"), "detail.bucket"), "name"),
        key=_text(described, "key"),
        described=described,
        version_id=_optional_text(described, "version-id"),
        etag=_optional_text(described, "etag"),
        time=_text(event, "time"),
    )


def _object(
    *, bucket: str, key: str, described: dict[str, Any], version_id: str | None, etag: str | None, time: str
) -> ObjectVersion:
    etag = etag.strip('"') if etag else None
    version = version_id if version_id and version_id != "null" else etag
    if not version:
        msg = f"s3://{bucket}/{key}: neither a versionId nor an eTag says which version it is"
        raise _UnreadableError(msg)
    for text in (bucket, key, version):
        if "\0" in text or not _is_unicode(text):
            msg = f"{text!r} can't be part of an object's name"
            raise _UnreadableError(msg)
    return ObjectVersion(
        store="s3",
        bucket=bucket,
        key=key,
        version=version,
        size=_size(described.get("size")),
        uploaded_at=_moment(time),
        sequencer=_optional_text(described, "sequencer"),
        etag=etag,
    )


def _json(body: str | bytes) -> dict[str, Any]:
    try:
        return _dict(json.loads(body), "the message")
    except RecursionError:
        msg = "the message is nested too deeply"
        raise _UnreadableError(msg) from None
    except ValueError as error:
        msg = f"the message is not JSON: {error}"
        raise _UnreadableError(msg) from error


def _unwrapped(message: dict[str, Any]) -> dict[str, Any]:
    return _json(_text(message, "Message")) if message.get("Type") == "Notification" else message


def _records(message: dict[str, Any]) -> list[object]:
    records = message.get("Records")
    if not isinstance(records, list) or not records:
        msg = "the message holds no Records, and is no test event and no Object Created event either"
        raise _UnreadableError(msg)
    return records


def _dict(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        msg = f"{name} should be an object, and is {_shown(value)}"
        raise _UnreadableError(msg)
    return value


def _text(parent: dict[str, Any], name: str) -> str:
    value = parent.get(name)
    if not isinstance(value, str) or not value:
        msg = f"{name} should be a text, and is {_shown(value)}"
        raise _UnreadableError(msg)
    return value


def _optional_text(parent: dict[str, Any], name: str) -> str | None:
    return _text(parent, name) if parent.get(name) not in (None, "") else None


def _size(value: object) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _LARGEST_SIZE:
        msg = f"size should be a number of bytes, and is {_shown(value)}"
        raise _UnreadableError(msg)
    return value


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        msg = f"the time {text!r} can't be read"
        raise _UnreadableError(msg) from error


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(value: object) -> str:
    text = "missing" if value is None else f"{type(value).__name__} {value!r}"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
