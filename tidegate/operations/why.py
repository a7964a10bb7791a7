"""The whole story of one object, or what to say of a name that no object has."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidegate.errors import TidegateError, UsageError
from tidegate.events import Event, EventType
from tidegate.ledger import Ledger, ObjectEntry, open_ledger, queries
from tidegate.operations.held_up import waits_long, what_holds_up
from tidegate.operations.running import RunningSystem, running

if TYPE_CHECKING:
    from tidegate.settings import Settings
    from tidegate.warehouse import HeldRecord


@dataclass(frozen=True, slots=True)
class Story:
    """One version of a key and everything that happened to it."""

    entry: ObjectEntry
    events: list[Event]
    #: the run in the Prefect UI, when the system runs
    flow_run_url: str | None
    #: what the last try spent its time on: waiting, validate, normalize, enrich, load
    seconds: dict[str, float]
    #: the first of its rows that are held
    held: list[HeldRecord]
    #: why they could not be read, when they could not
    trouble: str
    #: what holds it up, when it is pending for long although the system runs; one sentence
    held_up: str


def tell_why(settings: Settings, name: str) -> list[Story]:
    """The stories of all versions of `name`, oldest upload first.

    UsageError when no object has that name; it says what is near and what lies in the landing.
    """
    ledger = open_ledger(settings)
    try:
        found = ledger.ask(queries.by_name, name)
        if not found:
            raise UsageError(_unknown(settings, ledger, name))
        system = running(settings)
        return [_story(settings, ledger, system, entry) for entry in found]
    finally:
        ledger.close()


def _story(settings: Settings, ledger: Ledger, system: RunningSystem | None, entry: ObjectEntry) -> Story:
    events = ledger.ask(queries.story, entry.object_id)
    held, trouble = _held(settings, entry)
    return Story(
        entry=entry,
        events=events,
        flow_run_url=system.flow_run_url(entry.flow_run_id) if system and entry.flow_run_id else None,
        seconds=_seconds(events),
        held=held,
        trouble=trouble,
        held_up=what_holds_up(settings) if system and _waits_long(entry, events) else "",
    )


def _waits_long(entry: ObjectEntry, events: list[Event]) -> bool:
    # Not from the last event: runs that die one after the other claim and release it all the time.
    asked = [one.time for one in events if one.type in {EventType.UPLOADED, EventType.REOPENED}]
    return entry.state == "pending" and waits_long(max(asked, default=None))


def _held(settings: Settings, entry: ObjectEntry) -> tuple[list[HeldRecord], str]:
    """The first held rows; or why the warehouse can't be read, for the story is worth telling without."""
    if not entry.rows_rejected:
        return [], ""
    from tidegate.warehouse import HeldSelection, open_warehouse

    wanted = HeldSelection(object_ids=(entry.object_id,))
    try:
        return open_warehouse(settings).held_records(wanted, limit=_HELD), ""
    except TidegateError as error:
        return [], str(error)


#: Rows that a story shows.
_HELD = 10

#: Which part of the way ends with an event.
_ENDS = {
    EventType.CLAIMED: "waiting",
    EventType.VALIDATED: "validate",
    EventType.NORMALIZED: "normalize",
    EventType.ENRICHED: "enrich",
    EventType.LOADED: "load",
}


def _seconds(events: list[Event]) -> dict[str, float]:
    """Seconds between the events of the last try, each under the part that it ends."""
    spent: dict[str, float] = {}
    before = None
    for event in events:
        part = _ENDS.get(event.type)
        if event.type is EventType.CLAIMED:
            spent = {}
        if part is not None and before is not None:
            spent[part] = (event.time - before).total_seconds()
        before = event.time
    return spent


def _unknown(settings: Settings, ledger: Ledger, name: str) -> str:
    inside = ledger.ask(queries.find, prefix=name.rstrip("/") + "/", limit=1_000)
    if inside:
        return f"{name} is a folder, not an object. See `tidegate objects --prefix {name.rstrip('/')}/`."
    if _lies_in_landing(settings, name):
        return (
            f"{name} lies in the landing, but the ledger does not know it. "
            "Run `tidegate reconcile` to record it."
        )
    keys = ledger.ask(queries.keys, limit=10_000)
    near = difflib.get_close_matches(name, keys, n=3)
    hint = f" Did you mean {', '.join(near)}?" if near else " `tidegate objects` lists what was uploaded."
    return f"The ledger knows no object {name}.{hint}"


def _lies_in_landing(settings: Settings, name: str) -> bool:
    from tidegate.objects import open_store

    try:
        store = open_store(settings)
        key = name if name.startswith(store.prefix) else store.prefix + name
        store.stat(key)
    except TidegateError:
        # Only a hint is looked for; whatever is wrong with the landing, `doctor` says it.
        return False
    return True
