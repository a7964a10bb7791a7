"""What an object is: one immutable version of an uploaded file."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - dataclass fields are inspected at run time
from functools import lru_cache
from urllib.parse import quote

#: Namespace of every uuid5 that Tidegate derives; changing it would orphan all ledgers.
NAMESPACE = uuid.UUID("6f1b3c7e-6f0a-5d5c-9a44-7a1d0c0f6a11")

_SCHEMES = {"folder": "file", "s3": "s3", "gcs": "gs"}


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectVersion:
    """One version of one key. Two notices about the same upload are equal in ``object_id``."""

    #: ``folder``, ``s3`` or ``gcs``
    store: str
    #: bucket name; for a folder, the absolute path of the landing
    bucket: str
    #: key within the bucket, decoded; for a folder, the path below the landing with ``/``
    key: str
    #: S3 versionId or eTag, GCS generation, ``<mtime_ns>-<size>`` for a folder
    version: str
    #: bytes; None when the notice did not say
    size: int | None
    #: when this version was created, by the store's clock, in UTC
    uploaded_at: datetime
    #: S3 sequencer: comparable only between versions of one key
    sequencer: str | None = None
    #: S3 eTag, where the store has one; equal for equal content in most cases
    etag: str | None = None

    @property
    def object_id(self) -> str:
        """uuid5 of store, bucket, key and version: the same on every machine and every try."""
        return _object_id(self.store, self.bucket, self.key, self.version)

    @property
    def url(self) -> str:
        """A URL a person can paste: ``s3://bucket/key``, ``gs://bucket/key`` or ``file:///…``.

        S3 and GCS keys stand as they are (their tools take them so); file paths are quoted.
        """
        if self.store == "folder":
            return _file_url(self.bucket, self.key)
        return f"{_SCHEMES[self.store]}://{self.bucket}/{self.key}"


# Each step of an object's way asks for its id and its URL several times.
@lru_cache(maxsize=20_000)
def _file_url(bucket: str, key: str) -> str:
    return "file://" + quote(f"{bucket}/{key}")


@lru_cache(maxsize=20_000)
def _object_id(store: str, bucket: str, key: str, version: str) -> str:
    return str(uuid.uuid5(NAMESPACE, f"{store}\n{bucket}\n{key}\n{version}"))


def is_newer(candidate: ObjectVersion, other: ObjectVersion) -> bool:
    """Whether `candidate` was uploaded after `other`; both are versions of one key.

    S3 sequencers decide where both have one (right-padded with zeros and compared as text, as
    the S3 User Guide's "Event message structure" says); GCS generations and folder versions
    are numbers that grow; else the upload time. Never the time of arrival.
    """
    return _rank(candidate, other) > _rank(other, candidate)


def _rank(one: ObjectVersion, other: ObjectVersion) -> tuple[str | int | datetime, ...]:
    if one.sequencer and other.sequencer:
        width = max(len(one.sequencer), len(other.sequencer))
        mine, theirs = (s.upper().ljust(width, "0") for s in (one.sequencer, other.sequencer))
        if mine != theirs:
            return (mine,)
    if one.store == other.store == "gcs":
        return (int(one.version),)
    if one.store == other.store == "folder":
        # from the right: the time of a file from before 1970 is negative
        return (int(one.version.rpartition("-")[0]), one.version)
    return (one.uploaded_at, one.version)
