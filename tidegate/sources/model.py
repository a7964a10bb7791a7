"""What a source is: it learns of uploads and hands them on, and forgets none before they are kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from tidegate.events.model import ObjectUploaded

if TYPE_CHECKING:
    import threading

#: Keeps notices durably: when it returns, they may be acknowledged. RetryableError means "not now".
Record = Callable[[Sequence[ObjectUploaded]], object]


class DeadLetter(Protocol):
    """Keeps a message that can't be read, with its whole text; RetryableError means "not now"."""

    def __call__(self, *, text: str, origin: str, error: str) -> object: ...


class Source(Protocol):
    """One way to learn of uploads: at least once each, in any order, before and after a crash."""

    #: for logs and the live view
    name: str

    def run(self, record: Record, dead_letter: DeadLetter, stop: threading.Event) -> None:
        """Hand every upload to `record` until `stop` is set; then return within a second.

        Acknowledges what it was told only after `record` (or `dead_letter`) has returned. Outlasts
        every RetryableError, its own and theirs: it says so once, backs off and tries again.
        FatalError ends it, for a person has to change something first.
        """
