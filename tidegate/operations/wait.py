"""Wait until nothing is pending or running, and everything that was dropped has got so far."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidegate import clock
from tidegate.contracts.registry import Registry
from tidegate.errors import ServerUnavailableError
from tidegate.events import ObjectUploaded, Via
from tidegate.ledger import Ledger, ObjectEntry, Upload, queries
from tidegate.operations.drop import dropped, forget_dropped
from tidegate.operations.reconcile import reconcile
from tidegate.operations.running import running

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidegate.objects import ObjectStore
    from tidegate.settings import Settings

#: Seconds between two looks at the ledger, which tells nobody when another process writes.
_LOOK_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Progress:
    """What is not done yet."""

    #: uploads that the ledger does not know yet
    unrecorded: int
    pending: int
    running: int

    @property
    def done(self) -> bool:
        return not (self.unrecorded or self.pending or self.running)

    def sentence(self) -> str:
        """``2 not yet noticed, 3 pending, 1 running``"""
        parts = (
            (self.unrecorded, "not yet noticed"),
            (self.pending, "pending"),
            (self.running, "running"),
        )
        return ", ".join(f"{count} {name}" for count, name in parts if count) or "nothing left"


@dataclass(frozen=True, slots=True)
class Waited:
    """How waiting ended."""

    progress: Progress
    #: objects that became final, failed or quarantined while it waited, or were dropped before
    objects: list[ObjectEntry]
    seconds: float

    def count(self, state: str) -> int:
        return sum(entry.state == state for entry in self.objects)


class Waiter:
    """Looks at ledger and landing until all is done."""

    def __init__(self, settings: Settings, ledger: Ledger, store: ObjectStore) -> None:
        self._settings = settings
        self._ledger = ledger
        self._store = store
        self._begun = clock.now()

    def wait(self, timeout: float | None, tell: Callable[[Progress], None]) -> Waited:
        """Return when all is done, or after `timeout` seconds with what is left.

        Raises ServerUnavailableError when there is something to wait for and nothing runs that
        would do it.
        """
        start = time.monotonic()
        seen = -1
        progress = self._progress()
        while not progress.done:
            tell(progress)
            self._check_running(first=seen < 0)
            if timeout is not None and time.monotonic() - start >= timeout:
                break
            seen = self._ledger.last_seq()
            self._until_written(seen, timeout, start)
            progress = self._progress()
        waited = Waited(progress, self._objects(), time.monotonic() - start)
        if progress.done:
            forget_dropped(self._settings)
        return waited

    def _until_written(self, seen: int, timeout: float | None, start: float) -> None:
        """Until the ledger has grown; a second at most, for the landing tells nobody either."""
        for _ in range(10):
            time.sleep(_LOOK_SECONDS)
            if self._ledger.last_seq() != seen:
                return
            if timeout is not None and time.monotonic() - start >= timeout:
                return

    def _progress(self) -> Progress:
        left = self._ledger.ask(queries.unfinished)
        pending, at_work = left.get("pending", 0), left.get("running", 0)
        # Looking at the landing costs more, and matters only when all else is done.
        unrecorded = 0 if pending or at_work else self._unrecorded()
        return Progress(unrecorded, pending, at_work)

    def _unrecorded(self) -> int:
        mine = [
            Upload(notice=ObjectUploaded(object=obj, via=Via.WATCH), dataset=None)
            for obj in dropped(self._settings)
        ]
        missing = len(self._ledger.unknown(mine))
        if missing or self._settings.landing_dir is None:
            return missing
        found = reconcile(self._settings, self._ledger, Registry({}), dry_run=True, store=self._store)
        return found.recorded

    def _check_running(self, *, first: bool) -> None:
        if running(self._settings) is not None:
            return
        if first:
            msg = "There is work to do, and Tidegate does not run here. Start it with `tidegate up`."
            raise ServerUnavailableError(msg)
        msg = "Tidegate was stopped before everything was done. Start it with `tidegate up`."
        raise ServerUnavailableError(msg)

    def _objects(self) -> list[ObjectEntry]:
        mine = {obj.object_id for obj in dropped(self._settings)}
        entries = self._ledger.ask(queries.finished_since, self._begun)
        known = {entry.object_id for entry in entries}
        more = self._ledger.ask(queries.by_id, sorted(mine - known))
        return [*entries, *more.values()]
