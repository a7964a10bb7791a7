"""The ledger itself: append, record, rebuild. All writes are serialized and durable on return."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import reduce
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import create_engine, delete, event, func, insert, select, update
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError

from tidegate import clock
from tidegate.errors import FatalError, LedgerUnavailableError, SettingsError
from tidegate.events import Event, EventType, ObjectUploaded, Via
from tidegate.events.model import event_id, iso
from tidegate.ledger import claims, queries, waiting
from tidegate.ledger.log import append, chunks, log_after
from tidegate.ledger.migrations import migrate
from tidegate.ledger.projections import project
from tidegate.ledger.tables import PROJECTIONS, cursors, events, objects
from tidegate.objects.model import ObjectVersion, is_newer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Engine

    from tidegate.settings import Settings

T = TypeVar("T")


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


class Ledger:
    """Append-only log plus projections. Safe for several processes and threads.

    Every method raises LedgerUnavailableError when the database stays locked or is out of reach.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that sees one consistent state and writes nothing."""
        with _mapped_errors(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that excludes every other writer; durable when the block ends."""
        with (
            _mapped_errors(),
            self._engine.execution_options(tidegate_write=True).begin() as connection,
        ):
            yield connection

    # -- writing -------------------------------------------------------------------------------

    def record(self, uploads: Sequence[Upload]) -> Recorded:
        """Append an upload event for each notice that tells of an object not yet known."""
        if not uploads:
            return Recorded((), 0)
        with self.writing() as connection:
            versions = _Versions(connection, [upload.notice.object for upload in uploads])
            new: dict[str, None] = {}
            log: list[Event] = []
            for upload in uploads:
                fresh = versions.admit(upload.notice)
                if fresh is not None:
                    new[fresh.object_id] = None
                    log.extend(_upload_events(upload, fresh))
            append(connection, log)
        return Recorded(tuple(new), len(uploads) - len(new))

    def unknown(self, uploads: Sequence[Upload]) -> list[str]:
        """Ids of the objects that `record` would append. Changes nothing."""
        with self.reading() as connection:
            versions = _Versions(connection, [upload.notice.object for upload in uploads])
            admitted = (versions.admit(upload.notice) for upload in uploads)
            return [obj.object_id for obj in admitted if obj is not None]

    def reopen(
        self,
        datasets: Mapping[str, str],
        moment: datetime,
        *,
        requested_by: str,
        states: Sequence[str],
        redrive: bool = False,
    ) -> int:
        """Make objects (id -> dataset) pending once more; how many. See `claims.reopen`."""
        with self.writing() as connection:
            return claims.reopen(
                connection, datasets, moment, requested_by=requested_by, states=states, redrive=redrive
            )

    def discard(self, object_ids: Sequence[str], *, by: str, reason: str) -> int:
        """Discard objects for good, those that are quarantined still; how many."""
        with self.writing() as connection:
            return claims.discard(connection, object_ids, by=by, reason=reason)

    def append(self, log: Sequence[Event]) -> int:
        """Append events and project them; those already in the log change nothing.

        Returns how many were new.
        """
        with self.writing() as connection:
            return append(connection, log)

    def settle(self, log: Sequence[Event], latest: Callable[[str], str | None]) -> None:
        """Append how tries ended, and reopen what waits for a reference: see `waiting.wake`."""
        with self.writing() as connection:
            append(connection, log)
            waiting.wake(connection, latest)

    def dead_letter(self, *, text: str, origin: str, error: str) -> None:
        """Keep a message that can't be read, with its text (cut at 32 KB) and the reason."""
        kept = text.encode("utf-8", "backslashreplace")[:32_000].decode("utf-8", "ignore")
        identity = event_id("dead letter", origin, text.encode("utf-8", "backslashreplace"))
        self.append(
            [
                Event(
                    id=identity,
                    type=EventType.DEAD_LETTERED,
                    time=clock.now(),
                    subject=origin,
                    dataset=None,
                    object_id=None,
                    correlation_id=identity,
                    data={"error": error, "text": kept, "cut": len(kept) < len(text)},
                )
            ]
        )

    def rebuild(self) -> int:
        """Make the projections anew from the log; returns how many events were read."""
        read = 0
        with self.writing() as connection:
            for table in reversed(PROJECTIONS):
                connection.execute(delete(table))
            last = 0
            while True:
                log = log_after(connection, last, 2_000)
                if not log:
                    return read
                project(connection, log)
                read += len(log)
                last = log[-1]["seq"]

    def claim(self, dataset: str, flow_run_id: str, owner: claims.Owner, **limits: int) -> claims.Batch:
        """See `claims.claim`; one transaction."""
        with self.writing() as connection:
            return claims.claim(connection, dataset, flow_run_id, owner, **limits)

    def heartbeat(self, flow_run_id: str) -> bool:
        """Renew a lease. False when the claim was taken back meanwhile."""
        with self.writing() as connection:
            return claims.heartbeat(connection, flow_run_id)

    def end_claim(self, flow_run_id: str, failure: str | None = None) -> None:
        """The run is over; what it leaves unfinished waits in state ``failed`` for a retry."""
        with self.writing() as connection:
            claims.end(connection, flow_run_id, failure)

    def release(self, flow_run_id: str, reason: str) -> int:
        """Take a dead run's objects back; returns how many. See `claims.release`."""
        with self.writing() as connection:
            return claims.release(connection, flow_run_id, reason)

    def move_cursor(self, sink: str, seq: int) -> None:
        """Remember that `sink` delivered everything up to `seq`."""
        with self.writing() as connection:
            done = connection.execute(update(cursors).where(cursors.c.sink == sink).values(seq=seq))
            if not done.rowcount:
                connection.execute(insert(cursors).values(sink=sink, seq=seq))

    # -- reading -------------------------------------------------------------------------------

    def ask(self, question: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Run one of the functions in `tidegate.ledger.queries` on a connection of its own."""
        with self.reading() as connection:
            return question(connection, *args, **kwargs)

    def cursor(self, sink: str) -> int:
        with self.reading() as connection:
            query = select(cursors.c.seq).where(cursors.c.sink == sink)
            return connection.execute(query).scalar() or 0

    def events_after(self, seq: int, limit: int) -> list[tuple[int, Event]]:
        """Up to `limit` events after `seq`, in order, each with its seq."""
        with self.reading() as connection:
            return [(row["seq"], queries.to_event(row)) for row in log_after(connection, seq, limit)]

    def last_seq(self) -> int:
        with self.reading() as connection:
            return connection.execute(select(func.max(events.c.seq))).scalar() or 0


def open_ledger(settings: Settings) -> Ledger:
    """The project's ledger, its schema brought up to date."""
    url = make_url(settings.ledger_url)
    if url.get_backend_name() != "sqlite":
        msg = f"ledger = {url.render_as_string()!r}: only sqlite:/// is supported by this version."
        raise SettingsError(msg)
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"timeout": 30, "check_same_thread": False})
    _configure_sqlite(engine)
    ledger = Ledger(engine)
    with ledger.writing() as connection:
        migrate(connection)
    return ledger


def _configure_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, _record: Any) -> None:
        # SQLAlchemy, not the driver, says where transactions begin: see "begin" below.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        # FULL: an acknowledged upload survives a power cut, not only a killed process.
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        # IMMEDIATE takes the write lock at once, where waiting for it works; a deferred one
        # that turns into a writer later fails with "database is locked" without waiting.
        write = connection.get_execution_options().get("tidegate_write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


@contextmanager
def _mapped_errors() -> Iterator[None]:
    try:
        yield
    except OperationalError as error:
        msg = f"The ledger is locked or out of reach ({error.orig}). Try again; see `tidegate doctor`."
        raise LedgerUnavailableError(msg) from error
    except DBAPIError as error:
        msg = f"The ledger refused a statement: {error.orig}. Run `tidegate doctor`."
        raise FatalError(msg) from error
    except SQLAlchemyError as error:
        msg = f"The ledger can't be used: {error}. Run `tidegate doctor`."
        raise FatalError(msg) from error


def _upload_events(upload: Upload, obj: ObjectVersion) -> Iterator[Event]:
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


class _Versions:
    """The known versions of some keys, for telling new objects from repeated notices."""

    def __init__(self, connection: Connection, wanted: Iterable[ObjectVersion]) -> None:
        self._known: dict[tuple[str, str, str], list[tuple[ObjectVersion, str]]] = {}
        keys = sorted({obj.key for obj in wanted})
        for chunk in chunks(keys):
            for row in connection.execute(select(objects).where(objects.c.key.in_(chunk))).mappings():
                found = queries.to_object(row)
                self._of(found).append((found, row["state"]))

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
