"""A ledger's front door in memory: keeps what a source hands over and lets a test wait for it."""

from __future__ import annotations

import threading
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tidegate.events.model import ObjectUploaded
    from tidegate.sources.model import Source


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter."""

    text: str
    origin: str
    error: str


class Recorder:
    """Takes what `Source.run` gives; safe to read while the source runs."""

    def __init__(self) -> None:
        self.uploads: list[ObjectUploaded] = []
        self.letters: list[Letter] = []
        #: the next calls fail with these, one each
        self.failures: deque[Exception] = deque()
        #: how often something was to be kept, failures included
        self.calls = 0
        self._changed = threading.Condition()

    def record(self, uploads: Sequence[ObjectUploaded]) -> None:
        with self._called():
            self.uploads += uploads

    def dead_letter(self, *, text: str, origin: str, error: str) -> None:
        with self._called():
            self.letters.append(Letter(text, origin, error))

    @property
    def keys(self) -> list[str]:
        """Keys of all uploads, in order of arrival."""
        return [upload.object.key for upload in self.uploads]

    def wait(self, is_there: Callable[[], bool], timeout: float = 10.0) -> None:
        """Return when `is_there`, which is asked after each call; AssertionError after `timeout` seconds."""
        with self._changed:
            if not self._changed.wait_for(is_there, timeout):
                msg = f"not within {timeout} s; recorded so far: {self.keys} {self.letters}"
                raise AssertionError(msg)

    def wait_for(self, *keys: str, timeout: float = 10.0) -> None:
        """Return when all `keys` have been recorded."""
        self.wait(lambda: set(keys) <= set(self.keys), timeout)

    @contextmanager
    def running(self, source: Source) -> Iterator[threading.Event]:
        """Run `source` into this recorder; AssertionError when it does not stop within two seconds."""
        stop = threading.Event()
        ended: list[BaseException] = []

        def run() -> None:
            try:
                source.run(self.record, self.dead_letter, stop)
            except Exception as error:  # noqa: BLE001 - raised below, in the test's thread
                ended.append(error)

        thread = threading.Thread(target=run, name=source.name)
        thread.start()
        try:
            yield stop
        finally:
            stop.set()
            thread.join(2.0)
        if thread.is_alive():
            msg = f"the source {source.name} did not stop within two seconds"
            raise AssertionError(msg)
        if ended:
            raise ended[0]

    @contextmanager
    def _called(self) -> Iterator[None]:
        with self._changed:
            self.calls += 1
            try:
                if self.failures:
                    raise self.failures.popleft()
                yield
            finally:
                self._changed.notify_all()
