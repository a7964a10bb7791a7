"""The warehouse: tables people query, rejected rows, and the commit records that are the truth."""

from tidegate.warehouse.model import (
    Commit,
    HeldLine,
    HeldReason,
    HeldRecord,
    HeldSelection,
    LoadOutcome,
    LoadRequest,
    Outcome,
    Snapshot,
    Warehouse,
    open_warehouse,
)

__all__ = [
    "Commit",
    "HeldLine",
    "HeldReason",
    "HeldRecord",
    "HeldSelection",
    "LoadOutcome",
    "LoadRequest",
    "Outcome",
    "Snapshot",
    "Warehouse",
    "open_warehouse",
]
