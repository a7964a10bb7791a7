"""How an event changes the projections: a pure fold over the log, in the order of ``seq``.

The same functions serve live appends and `Ledger.rebuild`, so the two can't drift apart. What events
make of each object is put together first and written then: a few statements, however many objects.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, select

from tidegate.events import EventType
from tidegate.ledger.counting import count
from tidegate.ledger.statements import chunks, insert_rows, update_rows
from tidegate.ledger.tables import claims, objects, waits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from sqlalchemy import Connection, RowMapping

    from tidegate.ledger.counting import Counted

Values = dict[str, Any]
LogRow = dict[str, Any]

_COUNTS = ("rows_read", "rows_loaded", "rows_rejected", "rows_duplicate")
#: Columns by which objects are counted; as they stand in `Standing`.
_COUNTED = ("dataset", "state", "rows_loaded", "rows_rejected")


@dataclass(frozen=True, slots=True)
class Standing:
    """What the projections say of an object before an append, as far as appending needs it."""

    #: seq of the event that began the object's story
    story: int
    counted: Counted


_STANDINGS = select(objects.c.object_id, objects.c.story, *(objects.c[name] for name in _COUNTED)).where(
    objects.c.object_id.in_(bindparam("ids", expanding=True))
)


def standings(connection: Connection, object_ids: Sequence[str]) -> dict[str, Standing]:
    """How these objects stand, those that are known."""
    found: dict[str, Standing] = {}
    for chunk in chunks(object_ids):
        rows = connection.execute(_STANDINGS, {"ids": chunk}).all()
        for object_id, story, dataset, state, loaded, rejected in rows:
            found[object_id] = Standing(story, (dataset, state, loaded, rejected))
    return found


def project(
    connection: Connection,
    log: Sequence[tuple[LogRow | RowMapping, Values]],
    current: Mapping[str, Standing] | None = None,
) -> None:
    """Apply log rows (columns of ``events``), each with its data, to the projections, in order.

    `current` is how the objects stand that the rows tell of; it is looked up when it is not given.
    """
    fold = _Fold()
    for row, data in log:
        apply = _APPLY.get(row["type"])
        if apply is not None:
            apply(fold, row, data)
    if current is None:
        current = standings(connection, list({row["object_id"]: None for row, _ in log if row["object_id"]}))
    fold.write(connection, current)


@dataclass(slots=True)
class _Fold:
    """What events make of objects, put together before it is written."""

    new: dict[str, Values] = field(default_factory=dict)
    #: object id -> column -> value
    changed: defaultdict[str, Values] = field(default_factory=lambda: defaultdict(dict))
    #: (flow run, object) -> when it was first claimed
    claimed: dict[tuple[str, str], datetime] = field(default_factory=dict)
    #: object id -> reference -> what it waits for; nothing when it waits no more
    waits: dict[str, dict[str, Values]] = field(default_factory=dict)

    def write(self, connection: Connection, current: Mapping[str, Standing]) -> None:
        insert_rows(connection, objects, list(self.new.values()))
        self._write_changes(connection)
        self._write_claims(connection)
        self._write_waits(connection)
        count(connection, self._recounted(current))

    def _write_changes(self, connection: Connection) -> None:
        alike: defaultdict[tuple[str, ...], list[Values]] = defaultdict(list)
        for object_id, values in self.changed.items():
            names = tuple(sorted(values))
            values["object_id"] = object_id
            alike[names].append(values)
        for names, changes in alike.items():
            update_rows(connection, objects, "object_id", names, changes)

    def _write_claims(self, connection: Connection) -> None:
        runs = list({run: None for run, _ in self.claimed})
        known = {
            pair
            for chunk in chunks(runs)
            for pair in connection.execute(
                select(claims.c.flow_run_id, claims.c.object_id).where(claims.c.flow_run_id.in_(chunk))
            ).tuples()
        }
        fresh: list[Values] = [
            {"flow_run_id": run, "object_id": object_id, "claimed_at": at}
            for (run, object_id), at in self.claimed.items()
            if (run, object_id) not in known
        ]
        insert_rows(connection, claims, fresh)

    def _write_waits(self, connection: Connection) -> None:
        if not self.waits:
            return
        connection.execute(
            delete(waits).where(waits.c.object_id == bindparam("b_object_id")),
            [{"b_object_id": object_id} for object_id in self.waits],
        )
        insert_rows(connection, waits, [values for each in self.waits.values() for values in each.values()])

    def _recounted(self, current: Mapping[str, Standing]) -> Iterable[tuple[Counted | None, Counted]]:
        """How each object was counted before, and is now."""
        for object_id in {**self.new, **self.changed}:
            before = current[object_id].counted if object_id in current else None
            new, changed = self.new.get(object_id, {}), self.changed.get(object_id, {})
            if before is None and not new:
                continue
            if new or not changed.keys().isdisjoint(_COUNTED):
                was = dict(zip(_COUNTED, before, strict=True)) if before else {}
                now = {**was, **new, **changed}
                yield before, _counted(now)


def _counted(values: Values) -> Counted:
    return values["dataset"], values["state"], values.get("rows_loaded"), values.get("rows_rejected")


def _uploaded(fold: _Fold, row: LogRow | RowMapping, data: Values) -> None:
    fold.new[row["object_id"]] = {
        **{name: data[name] for name in ("store", "bucket", "key", "version", "via")},
        **{name: data.get(name) for name in ("etag", "sequencer", "size")},
        "object_id": row["object_id"],
        "story": row["seq"],
        "url": row["subject"],
        "dataset": row["dataset"],
        "state": "pending",
        "reason": "",
        "correlation_id": row["correlation_id"],
        "traceparent": row["traceparent"],
        "attempt": row["attempt"],
        "crashes": 0,
        "pending_seq": row["seq"],
        "uploaded_at": datetime.fromisoformat(data["uploaded_at"]),
        "recorded_at": row["time"],
    }


def _claimed(fold: _Fold, row: LogRow | RowMapping, data: Values) -> None:
    fold.changed[row["object_id"]] |= {
        "state": "running",
        "reason": "",
        "flow_run_id": data["flow_run_id"],
        "claimed_at": row["time"],
        "finished_at": None,
    }
    fold.claimed.setdefault((data["flow_run_id"], row["object_id"]), row["time"])


def _stage(column: str, *names: str) -> _Apply:
    def apply(fold: _Fold, row: LogRow | RowMapping, data: Values) -> None:
        fold.changed[row["object_id"]] |= {column: row["time"], **{name: data.get(name) for name in names}}

    return apply


def _final(state: str) -> _Apply:
    def apply(fold: _Fold, row: LogRow | RowMapping, data: Values) -> None:
        committed = data.get("committed_at")
        fold.changed[row["object_id"]] |= {
            "state": state,
            "reason": data.get("reason", ""),
            "finished_at": row["time"],
            "committed_at": datetime.fromisoformat(committed) if committed else None,
            "crashes": 0,
            **_known_counts(data),
        }

    return apply


def _quarantined(fold: _Fold, row: LogRow | RowMapping, data: Values) -> None:
    _final("quarantined")(fold, row, data)
    fold.waits[row["object_id"]] = {
        reference: {
            "object_id": row["object_id"],
            "reference": reference,
            "snapshot": data["references"][reference],
            "until": datetime.fromisoformat(until),
        }
        for reference, until in (data.get("waits_until") or {}).items()
    }


def _and_waits_no_more(apply: _Apply) -> _Apply:
    def both(fold: _Fold, row: LogRow | RowMapping, data: Values) -> None:
        apply(fold, row, data)
        fold.waits[row["object_id"]] = {}

    return both


def _known_counts(data: Values) -> Values:
    return {name: data[name] for name in (*_COUNTS, "contract_version") if name in data}


def _failed(fold: _Fold, row: LogRow | RowMapping, data: Values) -> None:
    fold.changed[row["object_id"]] |= {
        "state": "failed",
        "reason": data["reason"],
        "finished_at": row["time"],
    }


def _released(fold: _Fold, row: LogRow | RowMapping, data: Values) -> None:
    _pending_again(fold, row, data, crashes=data["crashes"])


def _reopened(fold: _Fold, row: LogRow | RowMapping, data: Values) -> None:
    _pending_again(fold, row, data, crashes=0)
    fold.changed[row["object_id"]] |= {"dataset": row["dataset"], "redrive": bool(data.get("redrive"))}


def _pending_again(fold: _Fold, row: LogRow | RowMapping, data: Values, *, crashes: int) -> None:
    fold.changed[row["object_id"]] |= {
        "state": "pending",
        "reason": data["reason"],
        "pending_seq": row["seq"],
        "attempt": row["attempt"],
        "crashes": crashes,
    }


def _reported(fold: _Fold, row: LogRow | RowMapping, data: Values) -> None:
    fold.changed[row["object_id"]] |= {"report": data["report"], "reported_attempt": row["attempt"]}


def _retained(fold: _Fold, row: LogRow | RowMapping, data: Values) -> None:
    fold.changed[row["object_id"]] |= {
        "state": data["state"],
        "reason": data["reason"],
        "finished_at": row["time"],
        "crashes": 0,
        **_known_counts(data),
    }


if TYPE_CHECKING:
    _Apply = Callable[[_Fold, LogRow | RowMapping, Values], None]

_APPLY: dict[str, _Apply] = {
    EventType.UPLOADED: _uploaded,
    EventType.UNMATCHED: _final("unmatched"),
    EventType.IGNORED: _final("ignored"),
    EventType.CLAIMED: _claimed,
    EventType.VALIDATED: _stage(
        "validated_at", "rows_read", "content_sha256", "contract_version", "dialect", "dialect_changes"
    ),
    EventType.NORMALIZED: _stage("normalized_at"),
    EventType.ENRICHED: _stage("enriched_at"),
    EventType.LOADED: _final("loaded"),
    EventType.QUARANTINED: _quarantined,
    EventType.SUPERSEDED: _and_waits_no_more(_final("superseded")),
    EventType.DUPLICATED: _final("duplicate"),
    EventType.FAILED: _failed,
    EventType.RELEASED: _released,
    EventType.REOPENED: _and_waits_no_more(_reopened),
    EventType.RETAINED: _retained,
    EventType.DISCARDED: _and_waits_no_more(_final("discarded")),
    EventType.REPORTED: _reported,
}
