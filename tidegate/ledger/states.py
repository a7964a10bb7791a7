"""The states an object can be in, and the events that end its way."""

from tidegate.events import EventType

#: States that something still happens to.
OPEN_STATES = ("pending", "running", "failed")

#: States no event needs to follow. All others are open.
FINAL_STATES = ("loaded", "quarantined", "discarded", "superseded", "duplicate", "unmatched", "ignored")

#: Events that put an object into a final state or failed. What follows an end, such as a report or
#: a person's decision to discard, is no end of its own.
END_EVENTS = (
    *(EventType.LOADED, EventType.QUARANTINED, EventType.SUPERSEDED, EventType.DUPLICATED),
    *(EventType.UNMATCHED, EventType.IGNORED, EventType.FAILED, EventType.RETAINED),
)
