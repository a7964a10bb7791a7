"""How an event changes the projections: a pure fold over the log, in the order of ``seq``.

The same functions serve live appends and `Ledger.rebuild`, so the two can't drift apart.
"""

from __future__ import annotations

import json
from datetime import datetime
from itertools import groupby
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, insert, select, update

from tidegate.events import EventType
from tidegate.ledger.tables import claims, objects, waits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Connection, RowMapping

Values = dict[str, Any]
LogRow = dict[str, Any]

_COUNTS = ("rows_read", "rows_loaded", "rows_rejected", "rows_duplicate")


def project(connection: Connection, log: Sequence[LogRow | RowMapping]) -> None:
    """Apply log rows (columns of ``events``, ``seq`` included) to the projections, in order."""
    for kind, rows in groupby(log, key=lambda row: row["type"]):
        apply = _APPLY.get(EventType(kind))
        if apply is not None:
            apply(connection, [(dict(row), json.loads(row["data"])) for row in rows])


Entries = list[tuple[LogRow, Values]]


def _uploaded(connection: Connection, entries: Entries) -> None:

    connection.execute(
        insert(objects),
        [
            {
                **{name: data[name] for name in ("store", "bucket", "key", "version", "via")},
                **{name: data.get(name) for name in ("etag", "sequencer", "size")},
                "object_id": row["object_id"],
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
            for row, data in entries
        ],
    )


def _claimed(connection: Connection, entries: Entries) -> None:
    _update(
        connection,
        [
            {
                "object_id": row["object_id"],
                "state": "running",
                "reason": "",
                "flow_run_id": data["flow_run_id"],
                "claimed_at": row["time"],
                "finished_at": None,
            }
            for row, data in entries
        ],
    )
    pairs: dict[tuple[str, str], datetime] = {}
    for row, data in entries:
        pairs.setdefault((data["flow_run_id"], row["object_id"]), row["time"])
    runs = {run for run, _ in pairs}
    known = {
        (row.flow_run_id, row.object_id)
        for row in connection.execute(
            select(claims.c.flow_run_id, claims.c.object_id).where(claims.c.flow_run_id.in_(runs))
        )
    }
    fresh = [
        {"flow_run_id": run, "object_id": object_id, "claimed_at": at}
        for (run, object_id), at in pairs.items()
        if (run, object_id) not in known
    ]
    if fresh:
        connection.execute(insert(claims), fresh)


def _stage(column: str, *names: str) -> Callable[[Connection, Entries], None]:
    def apply(connection: Connection, entries: Entries) -> None:
        _update(
            connection,
            [
                {
                    "object_id": row["object_id"],
                    column: row["time"],
                    **{name: data.get(name) for name in names},
                }
                for row, data in entries
            ],
        )

    return apply


def _final(state: str) -> Callable[[Connection, Entries], None]:
    def apply(connection: Connection, entries: Entries) -> None:
        for keys, group in groupby(entries, key=lambda entry: _known_counts(entry[1])):
            _update(connection, [_final_values(state, row, data, keys) for row, data in group])

    return apply


def _quarantined(connection: Connection, entries: Entries) -> None:
    _final("quarantined")(connection, entries)
    _wait_no_more(connection, entries)
    found = {
        (row["object_id"], reference): {
            "object_id": row["object_id"],
            "reference": reference,
            "snapshot": data["references"][reference],
            "until": datetime.fromisoformat(until),
        }
        for row, data in entries
        for reference, until in (data.get("waits_until") or {}).items()
    }
    if found:
        connection.execute(insert(waits), list(found.values()))


def _wait_no_more(connection: Connection, entries: Entries) -> None:
    connection.execute(
        delete(waits).where(waits.c.object_id == bindparam("b_object_id")),
        [{"b_object_id": row["object_id"]} for row, _ in entries],
    )


def _and_waits_no_more(
    apply: Callable[[Connection, Entries], None],
) -> Callable[[Connection, Entries], None]:
    def both(connection: Connection, entries: Entries) -> None:
        apply(connection, entries)
        _wait_no_more(connection, entries)

    return both


def _known_counts(data: Values) -> tuple[str, ...]:
    return tuple(name for name in (*_COUNTS, "contract_version") if name in data)


def _final_values(state: str, row: LogRow, data: Values, keys: tuple[str, ...]) -> Values:

    committed = data.get("committed_at")
    return {
        "object_id": row["object_id"],
        "state": state,
        "reason": data.get("reason", ""),
        "finished_at": row["time"],
        "committed_at": datetime.fromisoformat(committed) if committed else None,
        "crashes": 0,
        **{name: data[name] for name in keys},
    }


def _failed(connection: Connection, entries: Entries) -> None:
    _update(
        connection,
        [
            {
                "object_id": row["object_id"],
                "state": "failed",
                "reason": data["reason"],
                "finished_at": row["time"],
            }
            for row, data in entries
        ],
    )


def _pending_again(*, crashed: bool) -> Callable[[Connection, Entries], None]:
    def apply(connection: Connection, entries: Entries) -> None:
        _update(
            connection,
            [
                {
                    "object_id": row["object_id"],
                    "state": "pending",
                    "reason": data["reason"],
                    "pending_seq": row["seq"],
                    "attempt": row["attempt"],
                    "crashes": data["crashes"] if crashed else 0,
                    **({} if crashed else _asked_for(row, data)),
                }
                for row, data in entries
            ],
        )

    return apply


def _asked_for(row: LogRow, data: Values) -> Values:
    return {"dataset": row["dataset"], "redrive": bool(data.get("redrive"))}


def _reported(connection: Connection, entries: Entries) -> None:
    _update(
        connection,
        [
            {"object_id": row["object_id"], "report": data["report"], "reported_attempt": row["attempt"]}
            for row, data in entries
        ],
    )


def _retained(connection: Connection, entries: Entries) -> None:
    for row, data in entries:
        _update(
            connection,
            [
                {
                    "object_id": row["object_id"],
                    "state": data["state"],
                    "reason": data["reason"],
                    "finished_at": row["time"],
                    "crashes": 0,
                    **{name: data[name] for name in _known_counts(data)},
                }
            ],
        )


def _update(connection: Connection, changes: list[Values]) -> None:
    if not changes:
        return
    names = [name for name in changes[0] if name != "object_id"]
    statement = (
        update(objects)
        .where(objects.c.object_id == bindparam("b_object_id"))
        .values({name: bindparam(f"b_{name}", type_=objects.c[name].type) for name in names})
    )
    connection.execute(
        statement, [{f"b_{name}": value for name, value in change.items()} for change in changes]
    )


_APPLY: dict[EventType, Callable[[Connection, Entries], None]] = {
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
    EventType.RELEASED: _pending_again(crashed=True),
    EventType.REOPENED: _and_waits_no_more(_pending_again(crashed=False)),
    EventType.RETAINED: _retained,
    EventType.DISCARDED: _and_waits_no_more(_final("discarded")),
    EventType.REPORTED: _reported,
}
