"""How much there is of what: what the dispatcher, `status` and `wait` ask all the time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from tidegate.ledger.states import FINAL_STATES, OPEN_STATES
from tidegate.ledger.tables import counts, is_open, objects

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection, ScalarSelect


@dataclass(frozen=True, kw_only=True, slots=True)
class Backlog:
    """The queue of one dataset."""

    dataset: str
    pending: int
    running: int
    #: seq of the event that made the newest pending object pending; names this state of the queue
    newest_seq: int
    oldest_recorded_at: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetStatus:
    """One line of `tidegate status`."""

    dataset: str | None
    pending: int
    running: int
    failed: int
    loaded: int
    quarantined: int
    discarded: int
    superseded: int
    duplicate: int
    unmatched: int
    ignored: int
    rows_loaded: int
    rows_rejected: int
    #: when the object that waits longest (pending, running or failed) was recorded
    oldest_waiting_at: datetime | None
    last_loaded_at: datetime | None


def backlogs(connection: Connection) -> list[Backlog]:
    """Datasets with pending or running objects."""
    newest = (
        select(func.max(objects.c.pending_seq))
        .where(is_open, objects.c.dataset == counts.c.dataset, objects.c.state == counts.c.state)
        .scalar_subquery()
    )
    query = (
        select(counts.c.dataset, counts.c.state, counts.c.objects, newest, _oldest())
        .where(counts.c.state.in_(("pending", "running")), counts.c.dataset != "")
        .order_by(counts.c.dataset)
    )
    found: dict[str, dict[str, tuple[int, int, datetime]]] = {}
    for dataset, state, *facts in connection.execute(query):
        found.setdefault(dataset, {})[state] = (facts[0], facts[1], facts[2])
    result = []
    for dataset, states in found.items():
        pending, newest_seq, oldest = states.get("pending", (0, 0, None))
        running = states["running"][0] if "running" in states else 0
        result.append(
            Backlog(
                dataset=dataset,
                pending=pending,
                running=running,
                newest_seq=newest_seq,
                oldest_recorded_at=oldest,
            )
        )
    return result


def status(connection: Connection) -> list[DatasetStatus]:
    """All datasets that ever had an object; unmatched objects stand under dataset None."""
    states = (*OPEN_STATES, *FINAL_STATES)
    found: dict[str, dict[str, tuple[int, int, int]]] = {}
    for dataset, state, *numbers in connection.execute(select(counts).order_by(counts.c.dataset)):
        found.setdefault(dataset, {})[state] = (numbers[0], numbers[1], numbers[2])
    waiting: dict[str, list[datetime]] = {}
    open_ones = select(counts.c.dataset, _oldest()).where(counts.c.state.in_(OPEN_STATES))
    for dataset, oldest in connection.execute(open_ones):
        waiting.setdefault(dataset, []).append(oldest)
    loaded = _last_loads(connection)
    return [
        DatasetStatus(
            dataset=dataset or None,
            **{state: numbers.get(state, (0,))[0] for state in states},
            rows_loaded=numbers["loaded"][1] if "loaded" in numbers else 0,
            rows_rejected=sum(rejected for _, _, rejected in numbers.values()),
            oldest_waiting_at=min(waiting.get(dataset, []), default=None),
            last_loaded_at=loaded[dataset],
        )
        for dataset, numbers in found.items()
    ]


def in_states(connection: Connection) -> dict[str, int]:
    """How many objects are in each state (only states that occur)."""
    query = (
        select(counts.c.state, func.sum(counts.c.objects)).group_by(counts.c.state).order_by(counts.c.state)
    )
    return {state: int(found) for state, found in connection.execute(query)}


def unfinished(connection: Connection) -> dict[str, int]:
    """How many objects are pending, running and failed (only states that occur)."""
    return {state: found for state, found in in_states(connection).items() if state in OPEN_STATES}


def _oldest() -> ScalarSelect[datetime]:
    """When the oldest of what a row of ``counts`` counts, which is open, was recorded."""
    return (
        select(func.min(objects.c.recorded_at))
        .where(is_open, objects.c.dataset == counts.c.dataset, objects.c.state == counts.c.state)
        .scalar_subquery()
    )


def _last_loads(connection: Connection) -> dict[str, datetime | None]:
    datasets = select(counts.c.dataset).distinct().subquery("datasets")
    last = (
        select(func.max(objects.c.committed_at))
        .where(objects.c.committed_at.is_not(None), objects.c.dataset == datasets.c.dataset)
        .scalar_subquery()
    )
    return dict(connection.execute(select(datasets.c.dataset, last)).tuples().all())
