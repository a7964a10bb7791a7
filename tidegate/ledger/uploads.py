"""What is new among notices of uploads, and the events that tell of it."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import timedelta
from functools import reduce
from typing import TYPE_CHECKING

from sqlalchemy import select

from tidegate import clock
from tidegate.events import Event, EventType, ObjectUploaded, Via
from tidegate.events.model import event_id, iso
from tidegate.ledger.statements import chunks
from tidegate.ledger.tables import objects
from tidegate.objects.model import ObjectVersion, is_newer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import Connection


@dataclass(frozen=True, kw_only=True, slots=True)
class Upload:
    """An upload to record, and where it goes: one dataset, or a `problem` when none fits."""

    notice: ObjectUploaded
    dataset: str | None
    #: why no dataset can take it; becomes the reason of state ``unmatched``
    problem: str = ""
    #: why the object is none of its dataset's data; becomes the reason of state ``ignored``
    ignored: str = ""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What `Ledger.record` did."""

    #: ids of objects that were not known before
    new: tuple[str, ...]
    #: notices that told nothing new
    known: int


def upload_events(upload: Upload, obj: ObjectVersion) -> Iterator[Event]:
    identity = event_id(EventType.UPLOADED, obj.object_id)
    moment = clock.now()
    uploaded = Event(
        id=identity,
        type=EventType.UPLOADED,
        time=moment,
        subject=obj.url,
        dataset=upload.dataset,
        object_id=obj.object_id,
        correlation_id=identity,
        traceparent=upload.notice.traceparent,
        data={
            "store": obj.store,
            "bucket": obj.bucket,
            "key": obj.key,
            "version": obj.version,
            "etag": obj.etag,
            "size": obj.size,
            "sequencer": obj.sequencer,
            "uploaded_at": iso(obj.uploaded_at),
            "via": upload.notice.via.value,
        },
    )
    yield uploaded
    if upload.dataset is None or upload.ignored:
        over = EventType.IGNORED if upload.ignored else EventType.UNMATCHED
        yield Event(
            id=event_id(over, obj.object_id),
            type=over,
            time=moment,
            subject=obj.url,
            dataset=upload.dataset,
            object_id=obj.object_id,
            correlation_id=identity,
            causation_id=identity,
            data={"reason": upload.ignored or upload.problem},
        )


class KnownVersions:
    """The known versions of some keys, for telling new objects from repeated notices."""

    def __init__(self, connection: Connection, wanted: Iterable[ObjectVersion]) -> None:
        self._known: dict[tuple[str, str, str], list[tuple[ObjectVersion, str]]] = {}
        names = [one.name for one in fields(ObjectVersion)]
        columns = [objects.c[name] for name in names]
        for chunk in chunks(sorted({obj.key for obj in wanted})):
            query = select(objects.c.state, *columns).where(objects.c.key.in_(chunk))
            for state, *facts in connection.execute(query).all():
                found = ObjectVersion(**dict(zip(names, facts, strict=True)))
                self._of(found).append((found, state))

    def _of(self, obj: ObjectVersion) -> list[tuple[ObjectVersion, str]]:
        return self._known.setdefault((obj.store, obj.bucket, obj.key), [])

    def admit(self, notice: ObjectUploaded) -> ObjectVersion | None:
        """The object to record for this notice, or None when it tells nothing new.

        Without S3 versioning, content that comes back (A, B, A again) has the eTag of its first
        time as its version. It is a new object if something else was uploaded in between.
        """
        obj = notice.object
        versions = self._of(obj)
        same = [known for known, _ in versions if _same_version(known, obj)]
        listed = notice.via is Via.RECONCILE and obj.store == "s3"
        if same and not (
            self._is_listed_again(obj, versions) if listed else self._came_back(obj, same, versions)
        ):
            return None
        if same:
            again = replace(obj, version=f"{obj.version}@{iso(obj.uploaded_at)}")
            if any(known.version == again.version for known, _ in versions):
                return None
            obj = again
        if listed:
            obj = self._not_older(obj, versions)
        versions.append((obj, "pending"))
        return obj

    def _not_older(self, obj: ObjectVersion, versions: list[tuple[ObjectVersion, str]]) -> ObjectVersion:
        """A listed object of the newest known second is newer than what is known of that second.

        S3 lists whole seconds and no sequencer, so that its time looks older than the time in an
        event. One of an earlier second is old: the page of the listing was made before.
        """
        newest = max((known.uploaded_at for known, _ in versions), default=None)
        if newest is None or obj.uploaded_at != newest.replace(microsecond=0):
            return obj
        return replace(obj, uploaded_at=newest + timedelta(microseconds=1))

    def _is_listed_again(self, obj: ObjectVersion, versions: list[tuple[ObjectVersion, str]]) -> bool:
        """Whether the listing shows content again that another had taken the place of."""
        if obj.version != obj.etag:
            return False
        known = [one for one, _ in versions]
        newest = reduce(lambda one, two: two if is_newer(two, one) else one, known)
        if _same_version(newest, obj):
            return False
        return obj.uploaded_at >= newest.uploaded_at.replace(microsecond=0)

    def _came_back(
        self,
        obj: ObjectVersion,
        same: list[ObjectVersion],
        versions: list[tuple[ObjectVersion, str]],
    ) -> bool:
        if obj.store != "s3" or obj.version != obj.etag:
            return False
        return any(
            not _same_version(other, obj)
            and state != "superseded"
            and is_newer(obj, other)
            and all(is_newer(other, earlier) for earlier in same)
            for other, state in versions
        )


def _same_version(known: ObjectVersion, obj: ObjectVersion) -> bool:
    if known.version == obj.version:
        return True
    # One notice may carry a versionId where another (a listing) has only the eTag.
    one_is_etag = known.version.partition("@")[0] == known.etag or obj.version == obj.etag
    return one_is_etag and known.etag is not None and known.etag == obj.etag
