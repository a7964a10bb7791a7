"""Tell how far a batch has got, while it is at work, to whoever wants to know.

What works only notes where it is, which costs next to nothing. A thread looks at that now and then,
and tells of it what is worth telling: a batch that is soon done is never told of.
"""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from tidegate import clock
from tidegate.ledger import progress as table
from tidegate.ledger.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from tidegate.ledger import Batch, Ledger
    from tidegate.objects import ObjectVersion

    Listener = Callable[[Progress], object]

log = logging.getLogger(__name__)

#: Objects from this size on are told of as soon as they are read.
LARGE_BYTES = 64 * 1024 * 1024
#: Seconds that a stage must have lasted before it is told of otherwise.
_LASTING_SECONDS = 1.0
#: Seconds between two looks, which is also how often the ledger is written at most.
_LOOK_SECONDS = 0.5
#: Seconds that the end of a batch waits for what is just being told.
_LAST_WORD_SECONDS = 5.0


@dataclass(slots=True)
class _Work:
    """What is being worked on. Replaced by the next, so that a look sees one or the other."""

    stage: str
    obj: ObjectVersion | None
    rows: int | None
    started_at: datetime
    bytes_done: int | None = None

    def taken(self, size: int) -> None:
        """So many bytes of the object were read."""
        self.bytes_done = size


class BatchProgress:
    """Where a batch is, as far as it was noted."""

    def __init__(self, batch: Batch, *, seconds: Callable[[], float] = time.monotonic) -> None:
        self._batch = batch
        self._seconds = seconds
        self._work: _Work | None = None
        #: the stage at work and when it began
        self._stage = ("", 0.0)
        self._told: Progress | None = None

    def begin(
        self, stage: str, object_id: str | None = None, *, rows: int | None = None
    ) -> Callable[[int], object]:
        """The stage begins with an object, or with several at once.

        Returns what is to be called with how many of the object's bytes were read so far.
        """
        if stage != self._stage[0]:
            self._stage = (stage, self._seconds())
        obj = None
        if object_id is not None:
            obj = self._objects[object_id]
        elif len(self._batch.objects) == 1:
            obj = self._batch.objects[0].object
        self._work = work = _Work(stage, obj, rows, clock.now())
        return work.taken

    @cached_property
    def _objects(self) -> dict[str, ObjectVersion]:
        return {one.object.object_id: one.object for one in self._batch.objects}

    def news(self) -> Progress | None:
        """What is to be told now; None when that is not worth it, or was told already."""
        work, (stage, began) = self._work, self._stage
        if work is None:
            return None
        found = self._progress(work)
        # Once something was told it has to stay true.
        lasts = work.stage == stage and self._seconds() - began >= _LASTING_SECONDS
        if not (self._told or lasts or is_large(found)):
            return None
        if self._told and replace(found, updated_at=self._told.updated_at) == self._told:
            return None
        self._told = found
        return found

    def _progress(self, work: _Work) -> Progress:
        obj, done = work.obj, work.bytes_done
        size = obj.size if obj else None
        return Progress(
            flow_run_id=self._batch.id,
            dataset=self._batch.dataset,
            stage=work.stage,
            objects=len(self._batch.objects),
            url=obj.url if obj else None,
            key=obj.key if obj else None,
            bytes_done=done if done is None or size is None else min(done, size),
            bytes_total=size,
            rows=work.rows,
            started_at=work.started_at,
            updated_at=clock.now(),
        )


def is_large(progress: Progress) -> bool:
    """Whether the object at work is told of at once; not before it is read: it may be refused at sight."""
    begun = progress.bytes_done is not None or progress.stage != "validate"
    return begun and (progress.bytes_total or 0) >= LARGE_BYTES


@contextmanager
def telling(
    ledger: Ledger, batch: Batch, *listeners: Listener, look_seconds: float = _LOOK_SECONDS
) -> Iterator[BatchProgress]:
    """Tell the ledger, and then the `listeners`, how far the batch is, from a thread, while the block runs.

    What goes wrong with the telling is logged once for each, and never touches the work.
    """
    progress, stop = BatchProgress(batch), threading.Event()

    def to_ledger(news: Progress) -> None:
        with ledger.writing() as connection:
            table.write(connection, news)

    def tell() -> None:
        failed: set[Listener] = set()
        while not stop.wait(look_seconds):
            news = progress.news()
            if news is not None:
                _tell_all(news, (to_ledger, *listeners), failed)

    # Prefect knows by its context which run something belongs to.
    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(tell,), name=f"progress-{batch.id[:8]}", daemon=True)
    thread.start()
    try:
        yield progress
    finally:
        stop.set()
        thread.join(_LAST_WORD_SECONDS)


def _tell_all(news: Progress, listeners: Sequence[Listener], failed: set[Listener]) -> None:
    for listener in listeners:
        try:
            listener(news)
        except Exception:
            if listener not in failed:
                failed.add(listener)
                log.warning(
                    "the progress of flow run %s could not be told; the run goes on",
                    news.flow_run_id,
                    exc_info=True,
                    extra={"action": "progress_not_told"},
                )


@dataclass(frozen=True, slots=True)
class Told:
    """Progress in words."""

    #: "validating sales/big.csv"
    doing: str
    #: how much of the object was read, 0 to 1; None where that is not counted
    share: float | None
    #: "43 %", "226 of 528 MB", "4 s", "about 5 s left": as much of it as is known
    facts: tuple[str, ...]

    def __str__(self) -> str:
        return ", ".join((self.doing, *self.facts))


_DOING = {"validate": "validating", "normalize": "normalizing", "enrich": "enriching", "load": "loading"}
_UNITS = (("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000), ("B", 1))
#: Less than this share says nothing about how long the rest takes.
_TELLING_SHARE = 0.02


def in_words(progress: Progress, now: datetime) -> Told:
    """What is being done, and how far that is."""
    what = progress.key or f"{progress.objects:,} object{'' if progress.objects == 1 else 's'}"
    facts, share = [], None
    if progress.bytes_done is not None and progress.bytes_total:
        share = progress.bytes_done / progress.bytes_total
        facts += [f"{int(100 * share)} %", _sizes(progress.bytes_done, progress.bytes_total)]
    if progress.rows is not None:
        facts.append(f"{progress.rows:,} row{'' if progress.rows == 1 else 's'}")
    facts.append(clock.in_words((now - progress.started_at).total_seconds()))
    if share is not None and _TELLING_SHARE <= share < 1:
        # By the clock of who works alone, which need not be that of who looks.
        took = (progress.updated_at - progress.started_at).total_seconds()
        facts.append(f"about {clock.in_words(took * (1 - share) / share + 0.5)} left")
    return Told(f"{_DOING[progress.stage]} {what}", share, tuple(facts))


def _sizes(done: int, total: int) -> str:
    unit, size = next((unit, size) for unit, size in _UNITS if total >= size)
    digits = 0 if size == 1 or total >= 10 * size else 1
    return f"{done / size:.{digits}f} of {total / size:.{digits}f} {unit}"
