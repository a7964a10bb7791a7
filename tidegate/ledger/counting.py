"""How many objects and rows of each dataset are in which state: counted as events go in.

Counting anew what a ledger of years holds takes seconds, and is asked all the time.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, insert, select

from tidegate.ledger.tables import counts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

#: An object's dataset, state, loaded rows and rejected rows.
Counted = tuple[str | None, str, int | None, int | None]


def count(connection: Connection, moves: Iterable[tuple[Counted | None, Counted]]) -> None:
    """Take each object out of where it was counted, None for a new one, and put it to where it is now."""
    more: defaultdict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    for before, now in moves:
        if before is not None:
            _add(more, before, -1)
        _add(more, now, 1)
    if not any(any(numbers) for numbers in more.values()):
        return
    datasets = sorted({dataset for dataset, _ in more})
    for dataset, state, *numbers in connection.execute(select(counts).where(counts.c.dataset.in_(datasets))):
        if (dataset, state) in more:
            more[dataset, state] = [a + b for a, b in zip(more[dataset, state], numbers, strict=True)]
    connection.execute(
        delete(counts).where(
            counts.c.dataset == bindparam("b_dataset"), counts.c.state == bindparam("b_state")
        ),
        [{"b_dataset": dataset, "b_state": state} for dataset, state in more],
    )
    rows = [
        {
            "dataset": dataset,
            "state": state,
            "objects": found,
            "rows_loaded": loaded,
            "rows_rejected": rejected,
        }
        for (dataset, state), (found, loaded, rejected) in more.items()
        if found
    ]
    if rows:
        connection.execute(insert(counts), rows)


def _add(more: defaultdict[tuple[str, str], list[int]], counted: Counted, sign: int) -> None:
    dataset, state, loaded, rejected = counted
    numbers = more[dataset or "", state]
    numbers[0] += sign
    numbers[1] += sign * (loaded or 0)
    numbers[2] += sign * (rejected or 0)
