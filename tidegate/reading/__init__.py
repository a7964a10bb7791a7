"""Reading: an object's bytes to records of text, nothing guessed, nothing lost.

Every physical line of the object is of exactly one kind (`LineKind`); a damaged record is set aside
with its raw text and never touches its neighbours.
"""

from tidegate.reading.model import LINE, OFFSET, RECORD, REJECTION_SCHEMA, Block, LineKind
from tidegate.reading.reader import Reading, open_reading

__all__ = [
    "LINE",
    "OFFSET",
    "RECORD",
    "REJECTION_SCHEMA",
    "Block",
    "LineKind",
    "Reading",
    "open_reading",
]
