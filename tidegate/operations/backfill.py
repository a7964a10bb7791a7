"""Process past objects again, by the way live ones go, without doubling a row."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tidegate import clock
from tidegate.errors import ObjectRejectedError, UsageError
from tidegate.ledger import ObjectEntry, queries

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from tidegate.contracts.registry import Registry
    from tidegate.ledger import Ledger
    from tidegate.objects import ObjectStore

#: States that a backfill may take up. Superseded and duplicate objects hold no rows to renew.
CHOOSABLE = ("loaded", "quarantined", "unmatched", "failed")
_CHUNK = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """Which past objects; every field narrows."""

    dataset: str | None = None
    #: of the full key
    prefix: str = ""
    #: uploaded at or after
    since: datetime | None = None
    #: uploaded before
    until: datetime | None = None
    states: tuple[str, ...] = ("loaded",)
    #: only objects whose contract has a newer version than the one they were loaded with
    outdated_only: bool = False


@dataclass(slots=True)
class Plan:
    """What a backfill would take up, and what it would leave and why."""

    objects: list[ObjectEntry] = field(default_factory=list)
    #: reason -> number of objects
    skipped: dict[str, int] = field(default_factory=dict)

    def skip(self, reason: str) -> None:
        self.skipped[reason] = self.skipped.get(reason, 0) + 1


def plan(ledger: Ledger, registry: Registry, selection: Selection, store: ObjectStore | None = None) -> Plan:
    """The objects a backfill would take up now. Changes nothing.

    `store` is needed to find the dataset of unmatched objects. Raises UsageError for a state
    that can't be chosen and ContractError for an unknown dataset.
    """
    unknown = [state for state in selection.states if state not in CHOOSABLE]
    if unknown:
        msg = f"A backfill can't choose state {', '.join(unknown)}; choose from {', '.join(CHOOSABLE)}."
        raise UsageError(msg)
    if selection.dataset is not None:
        _ = registry[selection.dataset]
    result = Plan()
    found = ledger.ask(
        queries.find,
        dataset=None if "unmatched" in selection.states else selection.dataset,
        states=selection.states,
        prefix=selection.prefix,
        since=selection.since,
        until=selection.until,
    )
    for entry in found:
        dataset = entry.dataset or _dataset_now(registry, store, entry)
        if dataset is None:
            result.skip("no data contract matches the key")
        elif selection.dataset not in (None, dataset):
            continue
        elif dataset not in registry:
            result.skip(f"no data contract declares the dataset {dataset}")
        elif selection.outdated_only and entry.contract_version == registry[dataset].version:
            result.skip("loaded under today's contract version")
        else:
            result.objects.append(entry)
    return result


def run(
    ledger: Ledger,
    registry: Registry,
    selection: Selection,
    requested_by: str,
    store: ObjectStore | None = None,
) -> Plan:
    """Make the planned objects pending again; the dispatcher sends them through `ingest`.

    Rows loaded before stand until the new load takes their place in one transaction.
    """
    chosen = plan(ledger, registry, selection, store)
    for chunk in _chunked(chosen.objects):
        datasets = {
            entry.object_id: entry.dataset or _dataset_now(registry, store, entry) or "" for entry in chunk
        }
        ledger.reopen(datasets, clock.now(), requested_by=requested_by, states=selection.states)
    return chosen


def _dataset_now(registry: Registry, store: ObjectStore | None, entry: ObjectEntry) -> str | None:
    try:
        key = store.relative_key(entry.key) if store is not None else entry.key
    except ObjectRejectedError:
        return None
    matches = registry.match(key)
    return matches[0].name if len(matches) == 1 else None


def _chunked(entries: list[ObjectEntry]) -> Iterable[list[ObjectEntry]]:
    for start in range(0, len(entries), _CHUNK):
        yield entries[start : start + _CHUNK]
