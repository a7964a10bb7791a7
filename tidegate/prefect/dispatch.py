"""Turn pending objects into flow runs: at most one run a dataset that has not claimed yet.

One run takes everything pending, so a burst costs a few runs, not one a file. A run is created
with an idempotency key made from the state of the queue: a dispatcher that was killed after it
created a run, and before it knew, gets the same run again.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import httpx
from prefect.client.schemas.objects import StateType
from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed

from tidegate import clock
from tidegate.errors import FatalError, ServerUnavailableError
from tidegate.ledger import Backlog, queries
from tidegate.operations.manifests import reopen_for_manifests
from tidegate.operations.recover import clean_staging, release_dead_claims
from tidegate.prefect.runs import run_name

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

    from tidegate.operations.project import Project

log = logging.getLogger(__name__)

DEPLOYMENT = "ingest/live"
#: Seconds between two looks at a run that was created and has not claimed, or for cancelled ones.
_LOOK_SECONDS = 1.0
#: Seconds between two looks for staged files that nobody needs any more.
_CLEAN_SECONDS = 3600.0
#: Longest pause before another run, when run after run ends without claiming anything.
_MAX_PAUSE_SECONDS = 300.0


@dataclass(slots=True)
class _Awaited:
    """A run that was created for a dataset and has not claimed yet."""

    flow_run_id: str
    looked_at: float
    started_at: float | None = None


@dataclass(slots=True)
class _Lane:
    """What the dispatcher remembers of one dataset; all of it can be lost and found again."""

    awaited: _Awaited | None = None
    #: runs in a row that ended without claiming; part of the idempotency key
    fruitless: int = 0
    not_before: float = 0.0
    held: str = ""


@dataclass(slots=True)
class Dispatcher:
    """Looks at the queue and at Prefect; `step` does what is due and never waits."""

    project: Project
    client: SyncPrefectClient
    _lanes: dict[str, _Lane] = field(default_factory=dict)
    _deployment_id: UUID | None = None
    _clean_at: float = 0.0
    _cancelled_at: float = 0.0
    #: seq up to which the log was looked through for manifests
    _looked_at: int = -1

    def step(self) -> None:
        """Take back dead claims and start the runs that are due.

        Raises ServerUnavailableError when Prefect does not answer; everything is found again.
        """
        try:
            self._clean()
            self._recover()
            self._reopen()
            # Before the queue is read: what a run has claimed is no longer in it then.
            for lane in self._lanes.values():
                self._look_at_awaited(lane)
            for backlog in self.project.ledger.ask(queries.backlogs):
                self._serve_or_hold(backlog)
        except httpx.HTTPError as error:
            raise ServerUnavailableError(f"The Prefect server did not answer: {error!r}") from error

    def _clean(self) -> None:
        if time.monotonic() >= self._clean_at:
            self._clean_at = time.monotonic() + _CLEAN_SECONDS
            clean_staging(self.project.ledger, self.project.settings)

    def _reopen(self) -> None:
        seq = self.project.ledger.last_seq()
        if seq != self._looked_at:
            reopen_for_manifests(self.project, since=self._looked_at)
            self._looked_at = seq

    def _recover(self) -> None:
        ledger, settings = self.project.ledger, self.project.settings
        if time.monotonic() >= self._cancelled_at:
            self._cancelled_at = time.monotonic() + _LOOK_SECONDS
            self._end_cancelled()
        for run in ledger.ask(queries.runs_without_lease):
            ledger.end_claim(run)
        for dead in release_dead_claims(ledger, settings):
            self._mark_crashed(dead.flow_run_id, f"{dead.reason} Its objects are pending again.")

    def _end_cancelled(self) -> None:
        cancelled = "The flow run was cancelled. Retry it, or run `tidegate backfill run --state failed`."
        for lease in self.project.ledger.ask(queries.open_leases):
            if self._state_type(lease.flow_run_id) is StateType.CANCELLED:
                self.project.ledger.end_claim(lease.flow_run_id, cancelled)

    def _serve_or_hold(self, backlog: Backlog) -> None:
        """One dataset that can't be served, for its contract is gone or wrong, holds only itself."""
        try:
            self._serve(backlog)
        except FatalError as error:
            lane = self._lanes.setdefault(backlog.dataset, _Lane())
            if lane.held != str(error):
                lane.held = str(error)
                log.warning("%s waits: %s", backlog.dataset, error, extra={"action": "dataset_held"})

    def _serve(self, backlog: Backlog) -> None:
        lane = self._lanes.setdefault(backlog.dataset, _Lane())
        if lane.awaited is not None or not backlog.pending or backlog.running:
            return
        if time.monotonic() < lane.not_before:
            return
        hold = self._hold(backlog)
        if hold != lane.held:
            lane.held = hold
            if hold:
                log.info("%s waits: %s", backlog.dataset, hold, extra={"action": "dataset_held"})
        if not hold:
            self._start(backlog, lane)

    def _start(self, backlog: Backlog, lane: _Lane) -> None:
        deployment_id = self._find_deployment()
        if deployment_id is None:
            return
        event = self.project.ledger.ask(queries.event_at, backlog.newest_seq)
        # Newest and number together name the queue: whatever is added, or given back, is the newest,
        # and whoever takes from it changes the number.
        name = f"{backlog.dataset}:{event}:{backlog.pending}:{lane.fruitless}"
        run = self._create(deployment_id, backlog, name)
        while run.start_time is not None and self.project.ledger.ask(queries.has_claimed, str(run.id)):
            # It was so before: that run took what came later, and left what had waited already.
            run = self._create(deployment_id, backlog, f"{name}:{run.id}")
        lane.awaited = _Awaited(str(run.id), time.monotonic())
        log.info(
            "%s: created flow run %s for %d objects",
            backlog.dataset,
            run.id,
            backlog.pending,
            extra={"action": "run_created"},
        )

    def _create(self, deployment_id: UUID, backlog: Backlog, idempotency_key: str) -> FlowRun:
        return self.client.create_flow_run_from_deployment(
            deployment_id,
            parameters={"dataset": backlog.dataset},
            name=run_name(backlog.dataset, backlog.pending),
            idempotency_key=idempotency_key,
            tags=[backlog.dataset],
        )

    def _look_at_awaited(self, lane: _Lane) -> None:
        """Await the run no longer when it has claimed, or has ended without."""
        awaited = lane.awaited
        if awaited is None:
            return
        if self.project.ledger.ask(queries.has_claimed, awaited.flow_run_id):
            lane.awaited, lane.fruitless, lane.not_before = None, 0, 0.0
            return
        now = time.monotonic()
        if now - awaited.looked_at < _LOOK_SECONDS:
            return
        awaited.looked_at = now
        kind = self._state_type(awaited.flow_run_id)
        if kind in (StateType.PENDING, StateType.RUNNING):
            awaited.started_at = awaited.started_at or now
            silent = now - awaited.started_at
            if silent < self.project.settings.ingest.lease_seconds:
                return
            self._mark_crashed(awaited.flow_run_id, f"It claimed nothing within {silent:.0f} s.")
        elif kind in (StateType.SCHEDULED, StateType.PAUSED):
            return
        if self.project.ledger.ask(queries.has_claimed, awaited.flow_run_id):
            return
        lane.awaited = None
        lane.fruitless += 1
        lane.not_before = now + min(0.5 * 2**lane.fruitless, _MAX_PAUSE_SECONDS)

    def _hold(self, backlog: Backlog) -> str:
        """Why the dataset should wait for its references; empty when it need not."""
        contract = self.project.registry[backlog.dataset]
        busy = {other.dataset for other in self.project.ledger.ask(queries.backlogs)}
        waited = clock.now() - (backlog.oldest_recorded_at or clock.now())
        for lookup in contract.lookups:
            if waited > timedelta(seconds=lookup.hold_seconds):
                continue
            if lookup.dataset in busy:
                return f"its reference {lookup.dataset} is being loaded"
            if self.project.references.latest(lookup.dataset) is None:
                return f"its reference {lookup.dataset} has never been loaded"
        return ""

    def _find_deployment(self) -> UUID | None:
        if self._deployment_id is None:
            try:
                self._deployment_id = self.client.read_deployment_by_name(DEPLOYMENT).id
            except ObjectNotFound:
                return None
        return self._deployment_id

    def _read(self, flow_run_id: str) -> FlowRun | None:
        try:
            return self.client.read_flow_run(UUID(flow_run_id))
        except ObjectNotFound:
            return None

    def _state_type(self, flow_run_id: str) -> StateType | None:
        run = self._read(flow_run_id)
        return run.state.type if run is not None and run.state is not None else None

    def _mark_crashed(self, flow_run_id: str, message: str) -> None:
        run = self._read(flow_run_id)
        if run is not None and run.state is not None and not run.state.is_final():
            self.client.set_flow_run_state(run.id, Crashed(message=message), force=True)
