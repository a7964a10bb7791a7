"""The ledger itself: append, record, rebuild. All writes are serialized and durable on return."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import create_engine, delete, insert, select, update
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError

from tidegate import clock
from tidegate.errors import FatalError, LedgerUnavailableError, SettingsError
from tidegate.events import Event, EventType
from tidegate.events.model import event_id
from tidegate.ledger import claims, sqlite, waiting
from tidegate.ledger.entries import to_event
from tidegate.ledger.log import append, log_after
from tidegate.ledger.migrations import HEAD, current_revision, migrate
from tidegate.ledger.projections import project
from tidegate.ledger.tables import PROJECTIONS, cursors
from tidegate.ledger.uploads import KnownVersions, Recorded, Upload, upload_events

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Engine

    from tidegate.settings import Settings

T = TypeVar("T")


class Ledger:
    """Append-only log plus projections. Safe for several processes and threads.

    Every method raises LedgerUnavailableError when the database stays locked or is out of reach.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writer = engine.execution_options(tidegate_write=True)
        self._pulse = sqlite.Pulse(engine)

    def close(self) -> None:
        self._pulse.close()
        self._engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that sees one consistent state and writes nothing."""
        with _mapped_errors(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that excludes every other writer; durable when the block ends."""
        with _mapped_errors(), self._writer.begin() as connection:
            yield connection

    # -- writing -------------------------------------------------------------------------------

    def record(self, uploads: Sequence[Upload]) -> Recorded:
        """Append an upload event for each notice that tells of an object not yet known."""
        if not uploads:
            return Recorded((), 0)
        with self.writing() as connection:
            versions = KnownVersions(connection, [upload.notice.object for upload in uploads])
            new: dict[str, None] = {}
            log: list[Event] = []
            for upload in uploads:
                fresh = versions.admit(upload.notice)
                if fresh is not None:
                    new[fresh.object_id] = None
                    log.extend(upload_events(upload, fresh))
            append(connection, log)
        return Recorded(tuple(new), len(uploads) - len(new))

    def unknown(self, uploads: Sequence[Upload]) -> list[str]:
        """Ids of the objects that `record` would append. Changes nothing."""
        with self.reading() as connection:
            versions = KnownVersions(connection, [upload.notice.object for upload in uploads])
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
        if not log:
            return 0
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
                log = log_after(connection, last, 5_000)
                if not log:
                    return read
                project(connection, [(row, json.loads(row["data"])) for row in log])
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

    def release(self, flow_run_id: str, reason: str, *, crashed: bool = True) -> int:
        """Take a dead run's objects back; returns how many. See `claims.release`."""
        with self.writing() as connection:
            return claims.release(connection, flow_run_id, reason, crashed=crashed)

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
            return [(row["seq"], to_event(row)) for row in log_after(connection, seq, limit)]

    def last_seq(self) -> int:
        """Seq of the newest event: so cheap that it may be asked all the time."""
        with _mapped_errors():
            return self._pulse.last_seq()


def open_ledger(settings: Settings) -> Ledger:
    """The project's ledger, its schema brought up to date."""
    url = make_url(settings.ledger_url)
    if url.get_backend_name() != "sqlite":
        msg = f"ledger = {url.render_as_string()!r}: only sqlite:/// is supported by this version."
        raise SettingsError(msg)
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"timeout": sqlite.BUSY_SECONDS, "check_same_thread": False})
    sqlite.configure(engine)
    ledger = Ledger(engine)
    with ledger.reading() as connection:
        revision = current_revision(connection)
    if revision != HEAD:
        # Only then: whoever only wants to look must not wait for those who write.
        with ledger.writing() as connection:
            migrate(connection)
    return ledger


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
