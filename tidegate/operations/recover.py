"""Take back what dead runs had claimed, so that it is processed again."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from tidegate import clock
from tidegate.ledger import queries
from tidegate.operations.liveness import has_ended, is_dead

if TYPE_CHECKING:
    from tidegate.ledger import Ledger
    from tidegate.settings import Settings

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DeadRun:
    """A flow run whose process is gone, and why it is known to be."""

    flow_run_id: str
    dataset: str
    reason: str
    released: int


def clean_staging(ledger: Ledger, settings: Settings) -> list[str]:
    """Remove the staged files of runs that are over since `ingest.keep_failed_hours`; which ones."""
    from tidegate.stages.staging import remove_abandoned

    at_work = {lease.flow_run_id for lease in ledger.ask(queries.open_leases)}
    oldest = clock.now() - timedelta(hours=settings.ingest.keep_failed_hours)
    return remove_abandoned(settings.staging_dir, keep=at_work, older_than=oldest.timestamp())


def release_dead_claims(ledger: Ledger, settings: Settings) -> list[DeadRun]:
    """Release the objects of every claim whose process has ended or fallen silent."""
    dead = []
    for lease in ledger.ask(queries.open_leases):
        reason = is_dead(lease, settings.ingest.lease_seconds)
        if reason is None:
            continue
        released = ledger.release(lease.flow_run_id, reason)
        log.warning(
            "flow run %s is dead: %s Took back %d objects of %s.",
            lease.flow_run_id,
            reason,
            released,
            lease.dataset,
            extra={"action": "claim_released"},
        )
        dead.append(DeadRun(lease.flow_run_id, lease.dataset, reason, released))
    return dead


def release_stopped_claims(ledger: Ledger) -> int:
    """Release the objects of runs that ended because Tidegate was stopped here; how many.

    Called when no process of the system is left. To be stopped is no fault of an object, so it
    does not count as a crash.
    """
    reason = "Tidegate was stopped while the run was at work. It is taken up when Tidegate is started."
    return sum(
        ledger.release(lease.flow_run_id, reason, crashed=False)
        for lease in ledger.ask(queries.open_leases)
        if has_ended(lease.owner)
    )
