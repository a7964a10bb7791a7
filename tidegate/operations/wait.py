"""Wait until nothing is pending or running, and everything that was dropped is in the ledger.

What it waited for is everything that ended since the last wait ended well: an object that was
loaded or held before this one began counts too, however fast the pipeline was. Each end is told
once; a failure is told until it is over.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from tidegate.errors import RejectedError
from tidegate.events import ObjectUploaded, Via
from tidegate.ledger import Ledger, ObjectEntry, Upload, queries
from tidegate.ledger.states import END_EVENTS, OPEN_STATES
from tidegate.ledger.tables import events, objects
from tidegate.objects import open_store
from tidegate.operations.drop import dropped
from tidegate.operations.held_up import what_holds_up
from tidegate.operations.running import running

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sqlalchemy import Connection

    from tidegate.objects import ObjectStore, ObjectVersion
    from tidegate.settings import Settings

#: Seconds between two looks at whether another process wrote to the ledger: only asking tells.
_LOOK_SECONDS = 0.1
#: Seconds between two looks at whether the system runs and the landing still holds what it held.
_CHECK_SECONDS = 1.0
_CHUNK = 500
#: What is not over, in the ledger's words.
_AT_WORK = ("pending", "running")
#: What somebody has to look at.
_BAD = ("failed", "quarantined", "unmatched")


@dataclass(slots=True)
class Waited:
    """How a wait ended."""

    #: nothing is pending or running, and nothing dropped is unknown
    done: bool = False
    #: why it ended when it is not done; one sentence
    problem: str = ""
    #: state -> number of objects among what it waited for
    states: dict[str, int] = field(default_factory=dict)
    #: what holds the work up, when the time was over; one sentence
    held_up: str = ""
    #: uploads that the ledger does not know yet
    unrecorded: int = 0
    seconds: float = 0.0
    #: those that failed, are quarantined or that no contract takes
    objects: list[ObjectEntry] = field(default_factory=list)

    @property
    def failed(self) -> int:
        return self.states.get("failed", 0)

    @property
    def held(self) -> int:
        """Objects that were not loaded, and will not be before somebody did something."""
        return self.states.get("quarantined", 0) + self.states.get("unmatched", 0)


def wait(
    settings: Settings,
    ledger: Ledger,
    *,
    timeout: float | None,
    progress: Callable[[dict[str, int], int], None],
) -> Waited:
    """Wait; at most `timeout` seconds, and not for a system that does not run.

    `progress` gets the unfinished objects by state and the number of unrecorded uploads.
    """
    began = time.monotonic()
    last = _Last(settings, ledger)
    unrecorded = _Unrecorded(settings, ledger)
    waited, seen, checked = Waited(), -1, 0.0
    while True:
        now = time.monotonic()
        due = now - checked >= _CHECK_SECONDS
        newest = ledger.last_seq()
        if newest != seen or due:
            # The order matters: an upload that is recorded is pending before it is no longer unknown.
            left = unrecorded.count(look_again=due)
            work = ledger.ask(queries.unfinished)
            progress(work, left)
            waited.unrecorded = left
            if not left and not any(work.get(state) for state in _AT_WORK):
                waited.done = True
                break
            if due and (problem := _hopeless(settings, work, left)):
                waited.problem = problem
                break
            seen, checked = newest, now if due else checked
        if timeout is not None and now - began >= timeout:
            waited.problem = f"Not done after {timeout:g} s."
            waited.held_up = what_holds_up(settings)
            break
        time.sleep(_LOOK_SECONDS)
    waited.seconds = time.monotonic() - began
    told = _sum_up(ledger, last.seq, waited)
    if waited.done:
        last.remember(told)
        unrecorded.forget()
    return waited


def _sum_up(ledger: Ledger, since: int, waited: Waited) -> int:
    """What became of everything that ended since then, and what is not over; up to where in the log."""
    with ledger.reading() as connection:
        # Asked for here and not before: what ends meanwhile is told now, or the next time, never twice.
        newest = connection.execute(select(func.max(events.c.seq))).scalar() or 0
        if since:
            waited.states, waited.objects = _ended(connection, since, newest)
        else:
            # There was no wait before: it is everything, and that is counted already.
            waited.states = queries.in_states(connection)
            waited.objects = queries.find(connection, states=_BAD)
    return newest


def _ended(connection: Connection, since: int, newest: int) -> tuple[dict[str, int], list[ObjectEntry]]:
    """What ended in this part of the log, or is not over: how many in which state, and what is bad."""
    ended = select(events.c.object_id).where(
        events.c.seq > since,
        events.c.seq <= newest,
        events.c.type.in_([kind.value for kind in END_EVENTS]),
    )
    over = objects.c.object_id.in_(ended), objects.c.state.not_in(OPEN_STATES)
    counted = select(objects.c.state, func.count()).where(*over).group_by(objects.c.state)
    states = dict(connection.execute(counted).tuples().all()) | queries.unfinished(connection)
    bad = select(objects.c.object_id).where(*over, objects.c.state.in_(_BAD))
    found = list(queries.by_id(connection, connection.execute(bad).scalars().all()).values())
    found += queries.find(connection, states=[state for state in _BAD if state in OPEN_STATES])
    found.sort(key=lambda entry: (entry.uploaded_at, entry.key))
    return dict(sorted(states.items())), found


def _hopeless(settings: Settings, work: dict[str, int], unrecorded: int) -> str:
    """Why waiting on would be in vain; empty when it would not."""
    busy = sum(work.get(state, 0) for state in _AT_WORK)
    if running(settings) is None:
        return "There is work to do, and Tidegate does not run. Start it with `tidegate up --detach`."
    if unrecorded and not busy and not _is_told(settings):
        return f"Nothing tells of uploads to {settings.landing}. Run `tidegate reconcile`, then wait again."
    return ""


def _is_told(settings: Settings) -> bool:
    """Whether a source watches the landing."""
    if settings.landing_dir is not None:
        return True
    return settings.landing.startswith("s3://") and settings.sqs.queue_url is not None


class _Unrecorded:
    """Uploads that the ledger does not know yet: what was dropped, and what lies in a folder."""

    def __init__(self, settings: Settings, ledger: Ledger) -> None:
        self._ledger = ledger
        self._store: ObjectStore | None = None
        self._remembered = {
            path: [obj for obj in found if _lies_in(settings, obj)]
            for path, found in dropped(settings).items()
        }
        self._left = [obj for found in self._remembered.values() for obj in found]
        if settings.landing_dir is not None and settings.landing_dir.is_dir():
            # A folder is cheap to list and tells the truth; buckets are neither listed nor asked.
            self._store = open_store(settings)
            self._left = []
            listing = self._store.list()
            while chunk := list(islice(listing, _CHUNK)):
                self._left.extend(self._unknown(chunk))

    def count(self, *, look_again: bool) -> int:
        """How many are left; with `look_again` those that are gone or changed are given up."""
        self._left = self._unknown(self._left)
        if look_again and self._store is not None:
            store = self._store
            self._left = [now for obj in self._left if (now := _current(store, obj)) is not None]
        return len(self._left)

    def forget(self) -> None:
        """Everything is known: what drops wrote down is needed no longer."""
        for path, found in self._remembered.items():
            if not self._unknown(found):
                path.unlink(missing_ok=True)

    def _unknown(self, listed: list[ObjectVersion]) -> list[ObjectVersion]:
        left: list[ObjectVersion] = []
        for start in range(0, len(listed), _CHUNK):
            chunk = listed[start : start + _CHUNK]
            new = self._ledger.unknown([_told(obj) for obj in chunk])
            if new:
                left.extend(obj for obj in chunk if obj.object_id in new or self._came_back(obj))
        return left

    def _came_back(self, obj: ObjectVersion) -> bool:
        """Content that a key had before is a new object in S3, under another id."""
        return obj.store == "s3" and bool(self._ledger.unknown([_told(obj)]))


def _lies_in(settings: Settings, obj: ObjectVersion) -> bool:
    """False for what was dropped into another landing, before the settings were changed."""
    if settings.landing_dir is not None:
        return obj.store == "folder" and obj.bucket == str(settings.landing_dir)
    return obj.url.startswith(settings.landing.rstrip("/") + "/")


def _told(obj: ObjectVersion) -> Upload:
    return Upload(notice=ObjectUploaded(object=obj, via=Via.SCAN), dataset=None)


def _current(store: ObjectStore, obj: ObjectVersion) -> ObjectVersion | None:
    """What the key holds now; None when it is gone or is no object."""
    try:
        return store.stat(obj.key)
    except RejectedError:
        return None


class _Last:
    """Up to where in the log the last wait that ended well had seen everything end."""

    def __init__(self, settings: Settings, ledger: Ledger) -> None:
        self._file: Path = settings.state_dir / "run" / "waited.json"
        found: int = json.loads(self._file.read_text())["seq"] if self._file.is_file() else 0
        #: 0 for a ledger that is younger than the last wait
        self.seq = found if found <= ledger.last_seq() else 0

    def remember(self, seq: int) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        part = self._file.with_suffix(".part")
        part.write_text(json.dumps({"seq": seq}))
        part.replace(self._file)
