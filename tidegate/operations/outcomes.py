"""Tell the ledger what the warehouse committed: after a load, and after a crash."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from tidegate import clock
from tidegate.events import Event, EventType
from tidegate.events.model import event_id, iso
from tidegate.ledger import queries
from tidegate.warehouse import Outcome
from tidegate.warehouse.plan import arena, newer_in_dataset

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from tidegate.contracts import Contract
    from tidegate.ledger import Batch, ClaimedObject
    from tidegate.ledger.entries import ObjectEntry
    from tidegate.objects import ObjectVersion
    from tidegate.operations.project import Project
    from tidegate.stages.model import Verdict
    from tidegate.warehouse import LoadOutcome

    _Placed = ClaimedObject | ObjectEntry

_EVENT_OF = {
    Outcome.LOADED: EventType.LOADED,
    Outcome.QUARANTINED: EventType.QUARANTINED,
    Outcome.SUPERSEDED: EventType.SUPERSEDED,
    Outcome.DUPLICATE: EventType.DUPLICATED,
}
#: Outcomes of objects that are superseded once a newer one stands in their place.
_GIVE_WAY = {Outcome.LOADED, Outcome.QUARANTINED}
#: Outcomes after which an older object of the same place is not loaded any more.
_STAND = {Outcome.LOADED, Outcome.DUPLICATE}


def tell(
    project: Project,
    objects: Mapping[str, ClaimedObject],
    results: Sequence[LoadOutcome],
    *,
    contract: Contract,
    verdicts: Mapping[str, Verdict],
) -> None:
    """Append the final event of each outcome. Telling one twice changes nothing.

    `verdicts` has what the stages said, where that is known still. What waits for a reference that
    was loaded meanwhile, by these outcomes or others, is made pending again with the same commit.
    """
    holders = project.ledger.ask(queries.holders, list(objects))
    events = []
    for result in results:
        one, verdict = objects[result.object_id], verdicts.get(result.object_id)
        rule = verdict.rule if verdict is not None else ""
        stands = result if result.retained is None else result.retained
        if holders[result.object_id].state == "superseded":
            continue  # a newer one took the place of its rows, and told so, before this run could tell
        if stands.replaced_by is not None and stands.outcome in _GIVE_WAY:
            data = _data(stands, contract, "") | {"reason": _why(stands), "others": [stands.replaced_by]}
            data.pop("committed_at", None)
            events.append(_event(one, EventType.SUPERSEDED, data))
        elif result.retained is None:
            data = _data(result, contract, rule)
            if result.outcome is Outcome.QUARANTINED:
                data |= _waits(holders[result.object_id].recorded_at, contract, verdict)
            events.append(_event(one, _EVENT_OF[result.outcome], data))
        else:
            data = _data(stands, contract, rule)
            reason = _retained_reason(result, redrive=one.redrive)
            data |= {"state": stands.outcome.value, "reason": reason}
            events.append(_event(one, EventType.RETAINED, data))
    events += _replaced(project, objects, results) + _overtaken(project, objects, results, contract)
    project.ledger.settle(events, project.references.latest)
    # Another run may have told of a newer object while these were not known to be held.
    held = [one.object_id for one in results if one.outcome is Outcome.QUARANTINED and one.retained is None]
    _give_way(project, contract, held)


def _waits(recorded_at: datetime, contract: Contract, verdict: Verdict | None) -> dict[str, object]:
    """For which references a held object waits, and until when.

    When a crash has taken the verdict, it may be any: then the object is tried once more.
    """
    if verdict is not None:
        waits, seen = verdict.waits, verdict.references
    else:
        waits = {one.dataset: one.hold_seconds for one in contract.lookups if one.unmatched == "hold"}
        seen = {}
    if not waits:
        return {}
    return {
        "references": {reference: seen.get(reference, "") for reference in waits},
        "waits_until": {
            reference: iso(recorded_at + timedelta(seconds=seconds)) for reference, seconds in waits.items()
        },
    }


def _why(stands: LoadOutcome) -> str:
    if stands.outcome is Outcome.QUARANTINED:
        return f"A newer object was loaded, so it is not held any more. It was held for this: {stands.reason}"
    return "It was loaded; then a newer object took the place of its rows."


def _replaced(
    project: Project,
    objects: Mapping[str, ClaimedObject],
    results: Sequence[LoadOutcome],
) -> list[Event]:
    """Loaded objects whose rows a newer one took the place of are superseded from now on."""
    by = {
        other: result
        for result in results
        if result.outcome is Outcome.LOADED and result.retained is None
        for other in result.others
        if other != result.object_id
    }
    entries = project.ledger.ask(queries.by_id, list(by))
    superseded = []
    for entry in entries.values():
        newer = objects[by[entry.object_id].object_id]
        if entry.state != "superseded":
            reason = f"It was loaded; then {_named(newer.object, entry)} took the place of its rows."
            superseded.append(_superseded(entry, newer.object, newer.correlation_id, reason))
    return superseded


def _overtaken(
    project: Project,
    objects: Mapping[str, ClaimedObject],
    results: Sequence[LoadOutcome],
    contract: Contract,
) -> list[Event]:
    """Objects that are held, and will never be loaded, as newer ones are in the table: superseded."""
    newest = _newest(
        contract,
        [
            objects[result.object_id]
            for result in results
            if result.outcome in _STAND and result.retained is None and result.replaced_by is None
        ],
    )
    if not newest:
        return []
    keys = None if () in newest else [key for *_, key in newest]
    held = project.ledger.ask(queries.versions_in_state, contract.name, ["quarantined"], keys)
    # What was held in a later try may have rows in the table still: a duplicate's are those.
    stand = {other for result in results if result.outcome is Outcome.DUPLICATE for other in result.others}
    return _behind(contract, [entry for entry in held if entry.object_id not in stand], newest)


def _give_way(project: Project, contract: Contract, object_ids: Sequence[str]) -> None:
    """Have those of these that are held be superseded by newer ones that are loaded already."""
    held = [
        entry
        for entry in project.ledger.ask(queries.by_id, object_ids).values()
        if entry.state == "quarantined"
    ]
    if not held:
        return
    places = {arena(contract.load, entry.object) for entry in held}
    keys = None if () in places else [key for *_, key in places]
    standing = project.ledger.ask(queries.versions_in_state, contract.name, ["loaded", "duplicate"], keys)
    project.ledger.append(_behind(contract, held, _newest(contract, standing)))


def _newest(contract: Contract, objects: Iterable[_Placed]) -> dict[tuple[str, ...], _Placed]:
    """Of the objects of which only one can stand, the newest: by their arena."""
    newest: dict[tuple[str, ...], _Placed] = {}
    for one in objects:
        place = arena(contract.load, one.object)
        if place not in newest or newer_in_dataset(one.object, newest[place].object):
            newest[place] = one
    return newest


def _behind(
    contract: Contract, held: Iterable[ObjectEntry], newest: Mapping[tuple[str, ...], _Placed]
) -> list[Event]:
    """That objects are not held any more of which the newest is newer."""
    superseded = []
    for entry in held:
        newer = newest.get(arena(contract.load, entry.object))
        if newer is not None and newer_in_dataset(newer.object, entry.object):
            reason = f"It was held: {entry.reason} Then {_named(newer.object, entry)} came."
            superseded.append(_superseded(entry, newer.object, newer.correlation_id, reason))
    return superseded


def _named(newer: ObjectVersion, older: ObjectEntry) -> str:
    when = f"uploaded at {newer.uploaded_at:%Y-%m-%d %H:%M:%S} UTC"
    return f"a newer version of this key, {when}," if newer.url == older.url else f"{newer.url}, {when},"


def _superseded(entry: ObjectEntry, newer: ObjectVersion, cause: str, reason: str) -> Event:
    return Event(
        id=event_id(EventType.SUPERSEDED, entry.object_id, "by", newer.object_id),
        type=EventType.SUPERSEDED,
        time=clock.now(),
        subject=entry.url,
        dataset=entry.dataset,
        object_id=entry.object_id,
        correlation_id=entry.correlation_id,
        causation_id=cause,
        traceparent=entry.traceparent,
        attempt=entry.attempt,
        data={"reason": reason, "others": [newer.object_id]},
    )


def tell_overwritten(project: Project, objects: Mapping[str, ClaimedObject], gone: Iterable[Verdict]) -> None:
    """Objects whose content no longer exists: superseded, or what was loaded before stays."""
    if not (lost := list(gone)):
        return
    commits = project.warehouse.commits([verdict.object_id for verdict in lost])
    events = []
    for verdict in lost:
        one, commit = objects[verdict.object_id], commits.get(verdict.object_id)
        stands = commit is not None and commit.outcome is Outcome.LOADED and commit.replaced_by is None
        if stands:
            reason = f"Its rows stay as they were loaded before: {verdict.reason}"
            events.append(_event(one, EventType.RETAINED, {"state": "loaded", "reason": reason}))
        else:
            events.append(_event(one, EventType.SUPERSEDED, {"reason": verdict.reason}))
    project.ledger.append(events)


def complete_committed(project: Project, batch: Batch) -> set[str]:
    """Finish objects that an earlier, killed run had committed. Returns their ids.

    The commit record is the truth: the ledger is told what it says, and a reference snapshot
    committed with it is published.
    """
    suspects = {one.object.object_id: one for one in batch.objects if one.claimed_before or batch.resumed}
    if not suspects:
        return set()
    commits = project.warehouse.commits(list(suspects))
    done = {
        object_id: commit
        for object_id, commit in commits.items()
        if commit.attempt >= suspects[object_id].attempt
    }
    if not done:
        return set()
    contract = project.registry[batch.dataset]
    if contract.name in project.registry.references:
        snapshot = project.warehouse.latest_snapshot(contract.name)
        if snapshot is not None:
            project.references.publish(snapshot)
    tell(project, suspects, list(done.values()), contract=contract, verdicts={})
    return set(done)


def give_up(project: Project, batch: Batch, done: set[str]) -> set[str]:
    """Quarantine the objects on which too many runs have died; their ids."""
    most = project.settings.ingest.max_crashes
    lost = [one for one in batch.objects if one.crashes >= most and one.object.object_id not in done]
    project.ledger.append(
        [
            _event(
                one,
                EventType.QUARANTINED,
                {
                    "rule": "crashed",
                    "crashes": one.crashes,
                    "reason": f"{one.crashes} runs died while they worked on it. It, or its size, is the "
                    "likely cause. See the logs of those runs, then retry this one.",
                },
            )
            for one in lost
        ]
    )
    given_up = {one.object.object_id for one in lost}
    if given_up:
        # What a backfill died on has its rows in the table still.
        commits = project.warehouse.commits(list(given_up))
        stand = {id_ for id_, one in commits.items() if one.outcome is Outcome.LOADED and not one.replaced_by}
        _give_way(project, project.registry[batch.dataset], list(given_up - stand))
    return given_up


def _data(result: LoadOutcome, contract: Contract, rule: str) -> dict[str, object]:
    data: dict[str, object] = {
        "table": contract.name,
        "contract_version": result.contract_version,
        "rows_read": result.rows_read,
        "rows_loaded": result.rows_loaded,
        "rows_rejected": result.rows_rejected,
        "rows_duplicate": result.rows_duplicate,
        "reason": result.reason,
        "others": list(result.others[:100]),
    }
    if result.outcome is Outcome.LOADED:
        data["committed_at"] = iso(result.committed_at)
    if rule:
        data["rule"] = rule
    return data


def _retained_reason(result: LoadOutcome, *, redrive: bool) -> str:
    rows = "Its rows, loaded and held, stay as they were" if redrive else "Its rows stay as they were loaded"
    return f"{rows} before; this try ended {result.outcome.value}: {result.reason}"


def _event(one: ClaimedObject, kind: EventType, data: dict[str, object]) -> Event:
    return Event(
        id=event_id(kind, one.object.object_id, one.attempt),
        type=kind,
        time=clock.now(),
        subject=one.object.url,
        dataset=one.dataset,
        object_id=one.object.object_id,
        correlation_id=one.correlation_id,
        causation_id=one.correlation_id,
        traceparent=one.traceparent,
        attempt=one.attempt,
        data=data,
    )
