"""Watch a folder for uploads.

A file is an upload once it is whole. Renaming it into the folder, or setting its times at the end as
``cp -p`` and ``rsync`` do, makes it one at once: then the kernel's time of the last change to the
file is later than that of the last change to its content, while writing moves both together. When
all happened in one tick of the kernel's clock, the times are equal; then a file that appears with
content, and of which no change is told afterwards, was moved in too. Any other file counts when it
has not changed for ``settle_seconds``. A file that changes again later is simply a new version.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from watchfiles import Change, watch

from tidegate.clock import now
from tidegate.errors import ObjectRejectedError, RetryableError, SettingsError, StoreUnavailableError
from tidegate.events.model import ObjectUploaded, Via
from tidegate.sources.outage import Outage, insist

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

    from tidegate.objects.folder import Entry, FolderStore
    from tidegate.sources.model import DeadLetter, Record

_log = logging.getLogger(__name__)

#: The watcher hands over changes when none came for STEP, at the latest after DEBOUNCE; it wakes at
#: least every TICK to look at files that were still being written. All in milliseconds.
_STEP, _DEBOUNCE, _TICK = 15, 60, 30

#: Seconds to wait for the notice of a change to a file that just appeared with content.
_MOVED_IN = 0.05

#: Notices in one call of `record`.
_BATCH = 500

#: Seconds after which a new folder is looked through once more: what was put into it before the
#: kernel was asked to watch it caused no notice. Large trees take the longer time.
_LOOK_AGAIN = (0.5, 5.0)

#: The kernel drops notices when its queue (16,384 by default) is full and does not say so here;
#: after this many changes at once the whole landing is looked through again.
_FLOOD = 2_000

#: Where a folder may not be read, the kernel leaves others unwatched as well and does not say which.
#: Then everything is looked through every SWEEP seconds, or less often: it may take one part in SHARE
#: of the time.
_SWEEP, _SHARE = 2.0, 50

#: Last reported versions kept in memory, only so as not to tell the ledger the same thing twice.
_REMEMBERED = 20_000


@dataclass(frozen=True, slots=True)
class _Unsettled:
    """A file that is perhaps still being written."""

    version: str
    #: on the monotonic clock; unchanged until then, it is whole
    deadline: float
    via: Via


class FolderSource:
    """Reports every file of the landing, at each start those that came while nothing ran.

    With `is_expected`, what is no file but bears the key of one (a folder ``orders.csv``, a pipe) is
    reported too, so that it ends in quarantine with a reason instead of being passed over.
    """

    name = "folder"

    def __init__(
        self, store: FolderStore, settle_seconds: float, is_expected: Callable[[str], bool] | None = None
    ) -> None:
        self._store = store
        self._settle = settle_seconds
        self._is_expected = is_expected or _nothing

    def run(self, record: Record, dead_letter: DeadLetter, stop: threading.Event) -> None:
        outage = Outage("Watching the landing", stop)
        while not stop.is_set():
            try:
                _Watch(self._store, self._settle, self._is_expected, record, stop).run(outage)
            except RetryableError as error:
                if not outage.pause(error):
                    return


class _Watch:
    """One unbroken spell of watching. Whatever breaks it, the next one begins with a scan."""

    def __init__(
        self,
        store: FolderStore,
        settle_seconds: float,
        is_expected: Callable[[str], bool],
        record: Record,
        stop: threading.Event,
    ) -> None:
        self._store = store
        self._settle = settle_seconds
        self._is_expected = is_expected
        self._record = record
        self._stop = stop
        self._ledger = Outage("Recording uploads", stop)
        self._unsettled: dict[str, _Unsettled] = {}
        self._reported: OrderedDict[str, str] = OrderedDict()
        #: when (on the monotonic clock) to look through what below the landing
        self._looks: list[tuple[float, str]] = []
        self._is_partial = False
        self._next_sweep = 0.0

    def run(self, outage: Outage) -> None:
        """Report until stopped; `outage` is over as soon as the watch stands."""
        identity = self._identity()
        is_scanned = False
        with closing(self._changes()) as batches:
            for changes in batches:
                if self._identity() != identity:
                    msg = f"{self._store.root} was replaced by another folder or mount."
                    raise StoreUnavailableError(msg)
                if not is_scanned:
                    # not before the first answer: then the watch stands, and nothing falls between
                    outage.over()
                    self._sweep()
                    is_scanned = True
                self._take(changes)
                if self._is_partial and self._next_sweep <= time.monotonic():
                    self._sweep()
                self._look_again()
                self._take_settled()

    def _changes(self) -> Generator[set[tuple[Change, str]]]:
        """What changed, or nothing at each tick; ends when stopped."""
        with self._explained():
            try:
                yield from self._watch(self._store.root)
            except PermissionError as error:
                self._watch_in_part(error)
                yield from self._watch(self._store.root, ignore_permission_denied=True)

    def _watch(self, folder: Path, **how: Any) -> Generator[set[tuple[Change, str]]]:
        options = {
            "watch_filter": None,
            "step": _STEP,
            "debounce": _DEBOUNCE,
            "rust_timeout": _TICK,
            "yield_on_timeout": True,
            "stop_event": self._stop,
            "ignore_permission_denied": False,
        }
        return watch(folder, **(options | how))

    def _check_watched(self, folder: Path) -> None:
        """Find out whether a new folder could be watched: the watcher keeps a failure to itself."""
        with self._explained():
            try:
                with closing(self._watch(folder, step=1, rust_timeout=1)) as trial:
                    next(trial, None)
            except FileNotFoundError:
                return  # it is gone already
            except PermissionError as error:
                self._watch_in_part(error)

    def _watch_in_part(self, error: PermissionError) -> None:
        if not self._is_partial:
            _log.warning(
                "%s can't be watched in full: %s. Give Tidegate the right to read every folder in it; until "
                "then it is looked through every few seconds, and uploads may be seen later.",
                self._store.root,
                error,
                extra={"action": "watch_partial"},
            )
        self._is_partial = True

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise self._gone() from error
        except (OSError, RuntimeError) as error:
            # a full table of watches is an OSError, one of watchers a RuntimeError
            if isinstance(error, OSError) or "Too many open files" in str(error):
                msg = (
                    f"The kernel does not let Tidegate watch {self._store.root}: {error}. Raise its limits, "
                    "as with: sysctl fs.inotify.max_user_watches=1048576 fs.inotify.max_user_instances=1024"
                )
                raise SettingsError(msg) from error
            # the watcher gives up on names that are not UTF-8, among others; the next scan reads them
            msg = f"Watching broke off: {error}."
            raise StoreUnavailableError(msg) from error

    def _take(self, changes: set[tuple[Change, str]]) -> None:
        folders = set()
        uploads = []
        for path in {path for _, path in changes}:
            key = self._store.key_of(path)
            entry = self._look(key) if key else None
            if entry is None:
                continue
            if entry.is_folder:
                folders.add(f"{key}/")
            has_appeared = bool(entry.object.size) and (Change.modified, path) not in changes
            uploads += self._whole(entry, Via.WATCH, _MOVED_IN if has_appeared else self._settle)
        self._report(uploads)
        later = time.monotonic()
        for prefix in _topmost(folders):
            self._check_watched(self._store.path_of(prefix))
            self._scan(prefix, Via.WATCH)
            self._looks += [(later + seconds, prefix) for seconds in _LOOK_AGAIN]
        if len(changes) >= _FLOOD:
            self._looks.append((later + _LOOK_AGAIN[-1], ""))

    def _take_settled(self) -> None:
        present = time.monotonic()
        due = [(key, one.via) for key, one in self._unsettled.items() if one.deadline <= present]
        uploads = []
        for key, via in due:
            entry = self._look(key)
            if entry is not None:
                uploads += self._whole(entry, via)
        self._report(uploads)

    def _sweep(self) -> None:
        begin = time.monotonic()
        self._scan("", Via.SCAN)
        end = time.monotonic()
        self._next_sweep = end + max(_SWEEP, (end - begin) * _SHARE)

    def _look_again(self) -> None:
        present = time.monotonic()
        due = {prefix for deadline, prefix in self._looks if deadline <= present}
        self._looks = [look for look in self._looks if look[0] > present]
        for prefix in _topmost(due):
            self._scan(prefix, Via.SCAN)

    def _scan(self, prefix: str, via: Via) -> None:
        uploads: list[ObjectUploaded] = []
        for entry in self._store.walk(prefix):
            uploads += self._whole(entry, via)
            if len(uploads) == _BATCH:
                self._report(uploads)
                uploads = []
            if self._stop.is_set():
                return
        self._report(uploads)

    def _look(self, key: str) -> Entry | None:
        try:
            entry = self._store.look(key)
        except ObjectRejectedError as error:
            _log.warning("%s", error, extra={"action": "upload_ignored"})
            entry = None
        if entry is None:
            self._unsettled.pop(key, None)
        return entry

    def _whole(self, entry: Entry, via: Via, wait: float | None = None) -> list[ObjectUploaded]:
        """The notice of `entry`, once: when it is whole and news. Else it is kept in mind or ignored.

        `wait` is how long it has to stay as it is from now on; None leaves that as it was.
        """
        key, version = entry.object.key, entry.object.version
        is_upload = entry.is_file or self._is_expected(self._store.relative_key(key))
        if not is_upload or self._reported.get(key) == version:
            self._unsettled.pop(key, None)
            return []
        present = time.monotonic()
        known = self._unsettled.get(key)
        if wait is not None or known is None or known.version != version:
            known = _Unsettled(version, present + (self._settle if wait is None else wait), via)
        if self._is_finished(entry) or known.deadline <= present:
            self._unsettled.pop(key, None)
            return [ObjectUploaded(object=entry.object, via=via)]
        self._unsettled[key] = known
        return []

    def _is_finished(self, entry: Entry) -> bool:
        # an empty file may have got its rights or labels before its content, so it waits like others
        was_moved_in = bool(entry.object.size) and entry.changed_ns > entry.modified_ns
        return was_moved_in or entry.changed_ns / 1e9 + self._settle <= now().timestamp()

    def _report(self, uploads: list[ObjectUploaded]) -> None:
        uploads.sort(key=lambda upload: upload.object.uploaded_at)
        for start in range(0, len(uploads), _BATCH):
            batch = uploads[start : start + _BATCH]
            if self._stop.is_set() or not insist(partial(self._record, batch), self._ledger):
                return  # the scan at the next start finds them
            for upload in batch:
                self._reported[upload.object.key] = upload.object.version
            while len(self._reported) > _REMEMBERED:
                self._reported.popitem(last=False)

    def _identity(self) -> tuple[int, int]:
        try:
            status = self._store.root.stat()
        except OSError as error:
            raise self._gone() from error
        return status.st_dev, status.st_ino

    def _gone(self) -> StoreUnavailableError:
        msg = f"The landing {self._store.root} is gone. Create the folder again or mount it."
        return StoreUnavailableError(msg)


def _nothing(_key: str) -> bool:
    return False


def _topmost(prefixes: set[str]) -> list[str]:
    """Those of `prefixes` that no other one holds."""
    found: list[str] = []
    for prefix in sorted(prefixes):
        if not found or not prefix.startswith(found[-1]):
            found.append(prefix)
    return found
