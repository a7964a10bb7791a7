"""Compare the landing's listing with the ledger, and record uploads whose event never came."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from tidegate.events import ObjectUploaded, Via
from tidegate.ledger import queries
from tidegate.operations.record import record_uploads, route

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tidegate.contracts.registry import Registry
    from tidegate.ledger import Ledger
    from tidegate.objects import ObjectStore, ObjectVersion
    from tidegate.settings import Settings

_CHUNK = 500


@dataclass(slots=True)
class ReconcileSummary:
    """What a reconcile found."""

    #: objects in the landing
    listed: int = 0
    #: objects recorded now (with a dry run: that would be)
    recorded: int = 0
    #: objects the ledger knew
    known: int = 0
    objects: list[ObjectVersion] = field(default_factory=list)


def reconcile(
    settings: Settings,
    ledger: Ledger,
    registry: Registry,
    *,
    prefix: str = "",
    dry_run: bool = False,
    store: ObjectStore | None = None,
) -> ReconcileSummary:
    """Record every listed object that the ledger lacks; with `dry_run` only say which.

    Raises StoreUnavailableError when the landing can't be listed.
    """
    from tidegate.objects import open_store

    store = store or open_store(settings)
    summary = ReconcileSummary()
    listing = store.list(prefix)
    for chunk in _chunks(listing):
        notices = [ObjectUploaded(object=obj, via=Via.RECONCILE) for obj in chunk]
        if dry_run:
            missing = set(ledger.unknown([route(registry, store, notice) for notice in notices]))
        else:
            missing = set(record_uploads(ledger, registry, store, notices).new)
        found = ledger.ask(queries.by_id, list(missing)) if not dry_run else {}
        summary.listed += len(chunk)
        summary.recorded += len(missing)
        summary.known += len(chunk) - len(missing)
        summary.objects.extend(
            [entry.object for entry in found.values()]
            if not dry_run
            else [obj for obj in chunk if obj.object_id in missing]
        )
    return summary


def _chunks(listing: Iterator[ObjectVersion]) -> Iterator[list[ObjectVersion]]:
    while chunk := list(islice(listing, _CHUNK)):
        yield chunk
