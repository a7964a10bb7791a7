"""Write down what is held: a report an object, in the quarantine or where a person wants it.

The warehouse has all of it; the files are for people and for those who send the data. Which
objects lack a report is in the ledger, so that one that could not be written is written later.
"""

from __future__ import annotations

import json
import logging
import shutil
import uuid
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING

from tidegate import clock
from tidegate.errors import RejectedError, StagingUnavailableError, TidegateError
from tidegate.events import Event, EventType
from tidegate.events.model import event_id
from tidegate.ledger import queries
from tidegate.objects import open_quarantine
from tidegate.quarantine import FIRST, RejectedFile, folder_of, report_of
from tidegate.warehouse import HeldSelection

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Future
    from datetime import datetime
    from pathlib import Path

    from tidegate.ledger import ObjectEntry
    from tidegate.objects import ObjectStore
    from tidegate.operations.project import Project
    from tidegate.warehouse import Commit, HeldLine, HeldRecord

log = logging.getLogger(__name__)

#: Records read from the warehouse at once.
_PAGE = 20_000
#: Objects whose reports are written before the ledger is told of them.
_CHUNK = 100
#: Reports put at once: with one after another, a bucket's answers are what takes the time.
_PUTTERS = 8


@dataclass(frozen=True, slots=True)
class Report:
    """A report that was written."""

    entry: ObjectEntry
    #: URL of the folder that holds it
    url: str
    #: records that are held
    rows: int


def write_missing(
    project: Project,
    object_ids: Sequence[str] | None = None,
    *,
    finished_before: datetime | None = None,
) -> int:
    """Write the reports that the quarantine lacks and tell the ledger where they lie; how many.

    Trouble is logged and not raised: nothing is lost by it, and the next call tries again.
    """
    written = 0
    try:
        missing = project.ledger.ask(
            queries.unreported, object_ids=object_ids, finished_before=finished_before
        )
        if missing:
            target = open_quarantine(project.settings)
            for start in range(0, len(missing), _CHUNK):
                written += _write_chunk(project, missing[start : start + _CHUNK], target)
    except TidegateError as error:
        log.warning(
            "Reports of what is held could not be written: %s It is tried again.",
            error,
            extra={"action": "report_failed"},
        )
    return written


def rewrite(project: Project, entries: Sequence[ObjectEntry]) -> None:
    """Write reports anew after something about them was decided; trouble is logged and not raised."""
    try:
        if entries:
            for _ in write(project, entries, open_quarantine(project.settings)):
                pass
    except TidegateError as error:
        log.warning(
            "Reports could not be written anew: %s `tidegate quarantine export` writes them.",
            error,
            extra={"action": "report_failed"},
        )


def export(project: Project, entries: Sequence[ObjectEntry], folder: Path | None) -> list[Report]:
    """Write these reports into `folder`, or into the quarantine of the settings; trouble is raised."""
    if folder is None:
        return list(write(project, entries, open_quarantine(project.settings)))
    from tidegate.objects.folder import FolderStore

    return list(write(project, entries, FolderStore.made(folder, "to"), copies=False))


def _write_chunk(project: Project, entries: Sequence[ObjectEntry], target: ObjectStore) -> int:
    reports = list(write(project, entries, target))
    return project.ledger.append([_told(report) for report in reports])


def write(
    project: Project, entries: Sequence[ObjectEntry], target: ObjectStore, *, copies: bool = True
) -> Iterator[Report]:
    """Write the reports of these objects below `target`, each file whole or not at all.

    With `copies`, a copy of each object that is held as a whole, too. An object that can't be
    copied or written for its own sake (it is gone, its key is refused) does not stop the others.
    """
    ids = [entry.object_id for entry in entries]
    commits = project.warehouse.commits(ids)
    rules = project.ledger.ask(queries.broken_rules, ids)
    wanted = HeldSelection(object_ids=tuple(ids))
    lines = {
        object_id: list(found)
        for object_id, found in groupby(
            sorted(project.warehouse.held(wanted), key=attrgetter("object_id")), attrgetter("object_id")
        )
    }
    pages = _Pages(project, wanted)
    underway: deque[tuple[ObjectEntry, int, Future[str]]] = deque()
    with _folder(project) as folder, _putters() as pool:
        for entry in sorted(entries, key=attrgetter("object_id")):
            files = folder / entry.object_id
            rule = rules.get(entry.object_id, "") if entry.state == "quarantined" else ""
            rows = _compose(
                files, entry, commits.get(entry.object_id), rule, lines.get(entry.object_id, []), pages
            )
            copy = copies and entry.state == "quarantined"
            # In a context of its own, as what is logged there belongs to this task run too.
            job = pool.submit(copy_context().run, _put, project, entry, files, target, copy=copy)
            underway.append((entry, rows, job))
            if len(underway) > _PUTTERS:
                yield from _settled(*underway.popleft())
        while underway:
            yield from _settled(*underway.popleft())


def _compose(
    folder: Path,
    entry: ObjectEntry,
    commit: Commit | None,
    rule: str,
    lines: Sequence[HeldLine],
    pages: _Pages,
) -> int:
    """Write the files of one report into this new folder; how many records are held."""
    first: list[HeldRecord] = []
    rows = 0
    with _on_disk():
        folder.mkdir()
    with _on_disk(), RejectedFile(folder / "rejected.csv") as file:
        for records in pages.of(entry.object_id):
            file.write(records)
            rows += len(records)
            first += records[: FIRST - len(first)]
    text = json.dumps(report_of(entry, commit, rule, lines, first), indent=2, ensure_ascii=False) + "\n"
    with _on_disk():
        (folder / "report.json").write_text(text, encoding="utf-8")
    return rows


@contextmanager
def _putters() -> Iterator[ThreadPoolExecutor]:
    """Threads that put reports; what has not begun when the block is left is given up."""
    pool = ThreadPoolExecutor(_PUTTERS, thread_name_prefix="report")
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _settled(entry: ObjectEntry, rows: int, job: Future[str]) -> Iterator[Report]:
    try:
        url = job.result()
    except RejectedError as error:
        log.warning("%s has no report: %s", entry.url, error, extra={"action": "report_failed"})
        return
    yield Report(entry, url, rows)


def _put(project: Project, entry: ObjectEntry, folder: Path, target: ObjectStore, *, copy: bool) -> str:
    place = target.prefix + folder_of(entry)
    for name in ("rejected.csv", "report.json"):
        target.put(folder / name, place + name)
    if copy:
        _copy(project, entry, folder / "object", target, place + "object")
    # Not kept until the last report is written: copies may be large.
    shutil.rmtree(folder, ignore_errors=True)
    return f"{target.url.rstrip('/')}/{folder_of(entry)}"


def _copy(project: Project, entry: ObjectEntry, local: Path, target: ObjectStore, key: str) -> None:
    try:
        if target.stat(key).size == entry.size:
            return  # the place is that of one version, which never changes
    except RejectedError:
        pass
    try:
        project.store.fetch(entry.object, local)
    except RejectedError as error:
        log.info("%s was not copied: %s", entry.url, error, extra={"action": "object_not_copied"})
        return
    target.put(local, key)


class _Pages:
    """The held records of several objects, read page by page, in the order of object id and record."""

    def __init__(self, project: Project, wanted: HeldSelection) -> None:
        self._project = project
        self._wanted = wanted
        self._page: list[HeldRecord] = []
        self._after: tuple[str, int] | None = ("", 0)

    def of(self, object_id: str) -> Iterator[list[HeldRecord]]:
        """Its records, in parts; must be asked in the order of object ids."""
        while True:
            mine = [one for one in self._page if one.object_id == object_id]
            self._page = [one for one in self._page if one.object_id > object_id]
            if mine:
                yield mine
            if self._page or self._after is None:
                return
            self._page = self._project.warehouse.held_records(self._wanted, after=self._after, limit=_PAGE)
            more = len(self._page) == _PAGE
            self._after = (self._page[-1].object_id, self._page[-1].record) if more else None


@contextmanager
def _folder(project: Project) -> Iterator[Path]:
    """A folder for the files of reports; what a kill leaves of it goes with abandoned staging."""
    folder = project.settings.staging_dir / f"report-{uuid.uuid4()}"
    with _on_disk():
        folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _on_disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        msg = f"A report could not be written: {error}. See to the disk of the state folder."
        raise StagingUnavailableError(msg) from error


def _told(report: Report) -> Event:
    entry = report.entry
    return Event(
        id=event_id(EventType.REPORTED, entry.object_id, entry.attempt),
        type=EventType.REPORTED,
        time=clock.now(),
        subject=entry.url,
        dataset=entry.dataset,
        object_id=entry.object_id,
        correlation_id=entry.correlation_id,
        causation_id=entry.correlation_id,
        traceparent=entry.traceparent,
        attempt=entry.attempt,
        data={"report": report.url, "rows_held": report.rows},
    )
