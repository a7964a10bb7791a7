"""How a source outlasts what passes: growing pauses that `stop` cuts short, and one line in the log."""

from __future__ import annotations

import logging
import random
from typing import TYPE_CHECKING

from tidegate.errors import RetryableError

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

_log = logging.getLogger(__name__)

_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 30.0


class Outage:
    """Failures in a row of one thing that a source depends on."""

    def __init__(self, what: str, stop: threading.Event) -> None:
        self._what = what
        self._stop = stop
        self._tries = 0

    def pause(self, error: RetryableError) -> bool:
        """Wait before the next try, longer each time; whether there is to be one.

        False as soon as `stop` is set. Only the first failure of a row is logged.
        """
        if self._tries == 0:
            _log.warning(
                "%s: %s Trying again until it works.", self._what, error, extra={"action": "source_outage"}
            )
        longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(self._tries, 16))
        self._tries += 1
        # jitter: several sources that lost the same thing should not come back as one
        return not self._stop.wait(longest * random.uniform(0.5, 1.0))  # noqa: S311

    def over(self) -> None:
        """It works; logged when it did not before."""
        if self._tries:
            _log.info(
                "%s: works again after %d failed tries.",
                self._what,
                self._tries,
                extra={"action": "source_recovered"},
            )
        self._tries = 0


def insist(act: Callable[[], object], outage: Outage) -> bool:
    """Do `act`, again and again while it raises RetryableError; False when stopped before it worked."""
    while True:
        try:
            act()
        except RetryableError as error:
            if not outage.pause(error):
                return False
        else:
            outage.over()
            return True
