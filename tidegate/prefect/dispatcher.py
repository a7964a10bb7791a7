"""The process of sources, dispatcher and event sink: ``python -m tidegate.prefect.dispatcher``.

Each part is a thread. A part that meets a passing error waits and tries again; any other error
ends the process with a non-zero exit code, and whoever supervises it starts it anew.
"""

from __future__ import annotations

import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from prefect import get_client

from prefect_warm.sources import Sources
from tidegate import clock
from tidegate.contracts.snapshots import Snapshots
from tidegate.errors import RetryableError, TidegateError
from tidegate.ledger import queries
from tidegate.operations import reports
from tidegate.operations.contract_check import check
from tidegate.operations.project import Project, open_project
from tidegate.operations.record import record_uploads
from tidegate.operations.running import tell_ready
from tidegate.prefect.dispatch import Dispatcher
from tidegate.prefect.event_sink import PrefectEventSink
from tidegate.prefect.pool import watched_files
from tidegate.sources import open_sources

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tidegate.events import ObjectUploaded
    from tidegate.sources.model import Source

log = logging.getLogger("tidegate.dispatcher")

#: Seconds between two looks at whether another process wrote to the ledger.
_LOOK_SECONDS = 0.1
#: Seconds in which events gather before they are delivered: a run at work needs the server more.
_GATHER_SECONDS = 0.5
#: Seconds between two steps when nothing was written: claims may have died meanwhile.
_STEP_SECONDS = 1.0
#: Seconds between two looks for objects without a report of what is held of them.
_REPORT_SECONDS = 60.0
#: Seconds between two looks at whether contracts or settings changed.
_CHANGE_SECONDS = 2.0
#: Seconds that reading them may take.
_CHECK_SECONDS = 60.0
#: A server that is just starting must not be waited for long after it has started.
_MAX_PAUSE_SECONDS = 2.0

#: While objects wait, the sink pauses so many times as long as a delivery took: what the server does with
#: events takes the processors from the worker, and the news of objects can wait sooner than the objects.
_YIELDED = 4.0


class Process:
    """The running parts, and what stops them."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.stop = threading.Event()
        #: whether somebody told it to stop
        self.told = False
        #: whether it stopped only to begin anew with other contracts or settings
        self.outdated = False
        #: whether no run is begun, as each would fail by what can't be used
        self._held_up = False
        self._sources = self._watched()
        self._failed = threading.Event()
        #: something was recorded in this process
        self._recorded = threading.Event()
        self._threads: list[threading.Thread] = []

    def run(self) -> int:
        """Run until told to stop; 0, or 1 when a part broke."""
        sources = self.open_all()
        tell_ready(self.project.settings, "dispatcher")
        for source in sources:
            self._spawn(source.name, partial(source.run, self._record, self._dead_letter, self.stop))
        self._spawn("event sink", self._deliver_events)
        self._spawn("dispatcher", self._dispatch)
        self._spawn("reports", self._report)
        self._spawn("changes", self._follow_changes)
        self.stop.wait()
        for thread in self._threads:
            thread.join(timeout=5)
        return 1 if self._failed.is_set() else 0

    def open_all(self) -> list[Source]:
        """The sources. A contract or setting that is wrong is told now, not with the first upload."""
        _ = self.project.registry, self.project.store, self.project.ledger
        return list(open_sources(self.project.settings, is_expected=self._is_expected))

    def end(self) -> None:
        """Stop, and don't begin anew."""
        self.told = True
        self.stop.set()

    def _spawn(self, name: str, work: Callable[[], None]) -> None:
        def guarded() -> None:
            try:
                work()
            except TidegateError as error:
                self._break(name, str(error), None)
            except BaseException as error:  # noqa: BLE001 - the process ends with it
                self._break(name, repr(error), error)

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _break(self, name: str, message: str, error: BaseException | None) -> None:
        log.critical("%s ended: %s", name, message, exc_info=error, extra={"action": "part_ended"})
        self._failed.set()
        self.stop.set()

    def _record(self, notices: Sequence[ObjectUploaded]) -> None:
        record_uploads(self.project.ledger, self.project.registry, self.project.store, notices)
        self._recorded.set()

    def _dead_letter(self, *, text: str, origin: str, error: str) -> None:
        self.project.ledger.dead_letter(text=text, origin=origin, error=error)

    def _is_expected(self, key: str) -> bool:
        return bool(self.project.registry.match(key))

    def _dispatch(self) -> None:
        with get_client(sync_client=True) as client:
            dispatcher = Dispatcher(self.project, client)

            def step() -> None:
                if not self._held_up:
                    dispatcher.step()

            self._repeat(step, "dispatcher", self._recorded)

    def _report(self) -> None:
        """Write reports that runs could not write, once those runs have had the time to."""
        while not self.stop.wait(_REPORT_SECONDS):
            reports.write_missing(
                self.project, finished_before=clock.now() - timedelta(seconds=_REPORT_SECONDS)
            )

    def _follow_changes(self) -> None:
        """Begin anew with contracts or settings that changed; begin no run while they can't be used."""
        self._warn_of_contracts()
        while not self.stop.wait(_CHANGE_SECONDS):
            if not self._sources.changed():
                continue
            self._sources = self._watched()
            self._held_up = not self._can_be_used()
            if not self._held_up:
                self.outdated = True
                self.stop.set()

    def _warn_of_contracts(self) -> None:
        """Log which contracts are not what was recorded of their version."""
        registry = self.project.registry
        if not list(registry):
            return
        for contract in check(
            registry, Snapshots.of_package(self.project.settings.contracts), overlaps=False
        ):
            for problem in contract.problems:
                log.warning("%s", problem, extra={"action": "contract_problem"})

    def _watched(self) -> Sources:
        root = self.project.settings.root
        return Sources([str(root / name) for name in watched_files(self.project.settings)])

    def _can_be_used(self) -> bool:
        """Whether contracts and settings, as they are on disk, can be used; if not, why is logged."""
        command = [sys.executable, "-m", "tidegate.prefect.dispatcher", "--check"]
        try:
            done = subprocess.run(  # noqa: S603  our own module
                command,
                cwd=self.project.settings.root,
                capture_output=True,
                text=True,
                timeout=_CHECK_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            problem = f"they were not read within {_CHECK_SECONDS:.0f} s"
        else:
            said = done.stderr.strip() or f"exit code {done.returncode}"
            problem = said if done.returncode else ""
        if problem:
            told = "Contracts or settings changed and can't be used; no run is begun until that is mended: %s"
            log.error(told, problem, extra={"action": "held_up"})
            return False
        log.info("contracts or settings changed: beginning anew", extra={"action": "changed"})
        return True

    def _deliver_events(self) -> None:
        with get_client(sync_client=True) as client:
            sink = PrefectEventSink(self.project.ledger, client)

            def deliver_all() -> None:
                self.stop.wait(_GATHER_SECONDS)
                began = time.monotonic()
                while not self.stop.is_set() and sink.deliver():
                    if self._objects_wait():
                        self.stop.wait((time.monotonic() - began) * _YIELDED)
                    began = time.monotonic()

            self._repeat(deliver_all, "event sink", threading.Event())

    def _objects_wait(self) -> bool:
        states = self.project.ledger.ask(queries.in_states)
        return bool(states.get("pending") or states.get("running"))

    def _repeat(self, step: Callable[[], None], name: str, news: threading.Event) -> None:
        """Run `step` on `news`, whenever the ledger has grown, and now and then; back off from trouble."""
        failures = 0
        while not self.stop.is_set():
            try:
                news.clear()
                seen = self.project.ledger.last_seq()
                step()
                self._wait_for_change(seen, news)
            except RetryableError as error:
                failures += 1
                if failures == 1:
                    log.warning("%s: %s", name, error, extra={"action": "waiting"})
                pause = min(0.25 * 2 ** min(failures, 8), _MAX_PAUSE_SECONDS)
                self.stop.wait(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
                continue
            if failures:
                log.info("%s: works again", name, extra={"action": "works_again"})
                failures = 0

    def _wait_for_change(self, seen: int, news: threading.Event) -> None:
        waited = 0.0
        while waited < _STEP_SECONDS and not self.stop.is_set():
            if self.project.ledger.last_seq() != seen:
                return
            # Other processes write too, and only the database tells of it: so a short look.
            if news.wait(_LOOK_SECONDS):
                return
            waited += _LOOK_SECONDS


def main() -> int:
    """Run the process until SIGTERM or SIGINT; with ``--check`` only tell whether it could be run."""
    _log_to_stderr()
    if "--check" in sys.argv[1:]:
        return _check()
    try:
        with closing(open_project()) as project:
            process = Process(project)
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: process.end())
            code = process.run()
    except TidegateError as error:
        log.critical("%s", error, extra={"action": "not_started"})
        return 1
    # A signal from here on ends the process by itself: one that came before an exec would be forgotten.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    if process.outdated and not (code or process.told):
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606  this very process, from its beginning
    return code


def _check() -> int:
    try:
        with closing(open_project()) as project:
            Process(project).open_all()
    except TidegateError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _log_to_stderr() -> None:
    # Prefect has set up the root logger for itself by now, so ours gets a handler of its own.
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    ours = logging.getLogger("tidegate")
    ours.addHandler(handler)
    ours.setLevel(logging.INFO)
    ours.propagate = False


if __name__ == "__main__":
    sys.exit(main())
