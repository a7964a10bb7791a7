"""Many values in a few statements."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

T = TypeVar("T")

#: SQLite allows 32,766 bound values a statement, Postgres about as many; a query that names two lists
#: fits still.
CHUNK = 5_000


def chunks(values: Sequence[T], size: int = CHUNK) -> Iterator[Sequence[T]]:
    """`values` in parts that a statement can name."""
    for start in range(0, len(values), size):
        yield values[start : start + size]
