"""The ledger: a durable, append-only log of what happened to each object, and its projections."""

from tidegate.ledger.claims import Batch, ClaimedObject, Owner
from tidegate.ledger.entries import ObjectEntry
from tidegate.ledger.overview import Backlog, DatasetStatus
from tidegate.ledger.store import Ledger, open_ledger
from tidegate.ledger.uploads import Recorded, Upload

__all__ = [
    "Backlog",
    "Batch",
    "ClaimedObject",
    "DatasetStatus",
    "Ledger",
    "ObjectEntry",
    "Owner",
    "Recorded",
    "Upload",
    "open_ledger",
]
