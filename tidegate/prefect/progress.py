"""How far a large object is, as a progress artifact of its run in the Prefect UI."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, cast

from prefect.artifacts import create_progress_artifact, update_progress_artifact

from tidegate.operations.progress import in_words, is_large

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from tidegate.ledger.progress import Progress

log = logging.getLogger(__name__)

#: Seconds between two updates, at least, while a stage lasts.
_UPDATE_SECONDS = 1.0


class ProgressArtifact:
    """The artifact of a run; none while nothing large is read.

    Its bar is how much of the object was read; what comes after that, its description tells.
    """

    def __init__(self, *, seconds: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._id: UUID | None = None
        self._shown: Progress | None = None
        self._shown_at = 0.0

    def show(self, progress: Progress) -> None:
        """Create the artifact, or bring it up to date when that is due."""
        if self._id is None and not _is_worth_it(progress):
            return
        now, shown = self._seconds(), self._shown
        anew = shown is None or (shown.stage, shown.url) != (progress.stage, progress.url)
        if not anew and now - self._shown_at < _UPDATE_SECONDS:
            return
        self._shown, self._shown_at = progress, now
        words = in_words(progress, progress.updated_at)
        # What comes after reading has read it all.
        reading = 0.0 if progress.stage == "validate" else 1.0
        self._set(100 * (reading if words.share is None else words.share), f"{words}.", progress.dataset)

    def end(self, failure: str | None) -> None:
        """The batch is over; nothing is raised, for that is all that is left to tell."""
        if self._id is None or self._shown is None:
            return
        try:
            if failure is None:
                update_progress_artifact(self._id, 100.0, f"{self._shown.key or 'The batch'}: done.")
            else:
                words = in_words(self._shown, self._shown.updated_at)
                progress = 100 * (words.share or 0.0)
                update_progress_artifact(self._id, progress, f"Stopped while {words.doing}: {failure}")
        except Exception:
            log.warning(
                "the progress artifact could not be brought to its end",
                exc_info=True,
                extra={"action": "progress_not_told"},
            )

    def _set(self, progress: float, description: str, dataset: str) -> None:
        if self._id is None:
            key = f"progress-{dataset.replace('_', '-')}"
            created = create_progress_artifact(progress, key=key, description=description)
            self._id = cast("UUID", created)
        else:
            update_progress_artifact(self._id, progress, description)


def _is_worth_it(progress: Progress) -> bool:
    """The object is large, or it is the only one and its reading lasts."""
    return is_large(progress) or (progress.objects == 1 and progress.bytes_done is not None)
