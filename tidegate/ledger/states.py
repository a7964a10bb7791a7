"""The states an object can be in."""

#: States no event needs to follow. Everything else is still to be done.
FINAL_STATES = ("loaded", "quarantined", "discarded", "superseded", "duplicate", "unmatched", "ignored")
