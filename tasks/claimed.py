"""A batch as tasks hand it on."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tidegate.ledger import Batch
    from tidegate.operations.progress import BatchProgress


class Claimed:
    """A claimed batch. Prefect walks through every list and dataclass it is given, but not through this."""

    __slots__ = ("batch", "mark", "progress")

    def __init__(self, batch: Batch, mark: str) -> None:
        self.batch = batch
        #: tells the batch's staging folder from one that took its place
        self.mark = mark
        #: where the batch is, for those who are told while it is at work
        self.progress: BatchProgress | None = None
