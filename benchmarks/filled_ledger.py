"""Fill a new ledger with objects that are over: what a project has after years.

``python -m benchmarks.filled_ledger FOLDER 1000000 flights orders`` makes the ledger of the project in
FOLDER. Its log and its tables are what the engine itself would have written, in the same order: of each
hundred objects most are loaded, some with rejected rows, a few are quarantined, superseded or unmatched.
`tidegate ledger rebuild` gives the same tables, which a test holds.

The rows are written by the driver, without the engine and with the indexes left out until the end: that
takes a minute for a million objects, where the engine would take ten.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine

from tidegate.events import EventType
from tidegate.events.model import event_id, iso
from tidegate.ledger import open_ledger
from tidegate.ledger.tables import claims, counts, events, objects
from tidegate.objects import ObjectVersion
from tidegate.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Table

    from tidegate.settings import Settings

START = datetime(2024, 1, 1, tzinfo=UTC)
#: Objects of one flow run.
BATCH = 100
#: Time from one batch to the next.
PACE = timedelta(minutes=1)
ROWS = 200
#: The sink that is to have delivered everything: millions of old events would be no benchmark's load.
SINK = "prefect"

_DIALECT = {
    "encoding": "utf-8",
    "byte_order_mark": False,
    "compression": "none",
    "delimiter": ",",
    "quote": '"',
    "escape": None,
    "line_end": "\n",
    "preamble_lines": 0,
    "header_lines": 1,
    "header": ["id", "day", "shop", "item", "amount", "price", "currency", "note"],
    "comment": None,
    "footer": None,
    "assumed": ["quote"],
}
_VERSION = "1.0.0"


def fill(settings: Settings, number: int, datasets: Sequence[str]) -> None:
    """Fill the project's ledger, which must be new, with `number` objects of these datasets in turn.

    They are objects of the settings' folder landing, which is left as it is: no files are made.
    """
    ledger = open_ledger(settings)
    if ledger.last_seq():
        msg = f"The ledger of {settings.root} has events already; fill a new one."
        raise ValueError(msg)
    ledger.close()
    engine = create_engine(settings.ledger_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        # Nothing is lost that could not be made again: what a crash leaves is thrown away.
        connection.exec_driver_sql("PRAGMA journal_mode=OFF")
        connection.exec_driver_sql("PRAGMA synchronous=OFF")
        connection.exec_driver_sql("BEGIN")
        indexes = [index for table in (events, objects) for index in table.indexes]
        for index in indexes:
            index.drop(connection)
        filling = _Filling(connection, str(settings.landing_dir or settings.root / "landing"))
        for batch, first in enumerate(range(0, number, BATCH)):
            filling.add(batch, datasets[batch % len(datasets)], range(first, min(first + BATCH, number)))
        filling.end()
        for index in indexes:
            index.create(connection)
        connection.exec_driver_sql("COMMIT")
    engine.dispose()
    ledger = open_ledger(settings)
    ledger.move_cursor(SINK, ledger.last_seq())
    # Somebody waited for all of it, so that the next wait does not tell of it.
    waited = settings.state_dir / "run" / "waited.json"
    waited.parent.mkdir(exist_ok=True)
    waited.write_text(json.dumps({"seq": ledger.last_seq()}))
    ledger.close()


class _Filling:
    """One batch after the other, as a flow run each."""

    def __init__(self, connection: Connection, bucket: str) -> None:
        self._connection = connection
        self._bucket = bucket
        self._seq = 0
        self._counts: Counter[tuple[str, str]] = Counter()
        self._rejected: Counter[tuple[str, str]] = Counter()

    def add(self, batch: int, dataset: str, numbers: range) -> None:
        run = event_id("run", batch)
        moment = START + batch * PACE
        every = [_Object(self._bucket, dataset, number, moment) for number in numbers]
        for one in every:
            one.story = self._next()
        log = [one.event(one.story, EventType.UPLOADED, moment, one.uploaded()) for one in every]
        left = [one for one in every if one.state == "unmatched"]
        log += [one.event(self._next(), EventType.UNMATCHED, moment, {"reason": one.reason}) for one in left]
        taken = [one for one in every if one.state != "unmatched"]
        for place, (kind, data_of) in enumerate(_WAY, 1):
            at = moment + place * timedelta(seconds=1)
            told = {"flow_run_id": run, "contract_version": _VERSION, "staged": f"{run}/rows.parquet"}
            told["at"] = iso(at)
            log += [one.event(self._next(), kind, at, data_of(one, told, len(taken))) for one in taken]
        over = moment + timedelta(seconds=9)
        log += [one.event(self._next(), _END[one.state], over, one.ended(over)) for one in taken]
        held = [one for one in taken if one.state == "quarantined" or one.rejected]
        report = {"report": f"file://{self._bucket}/q", "rows_held": 1}
        log += [one.event(self._next(), EventType.REPORTED, over, report) for one in held]
        self._write(events, log)
        self._write(objects, [one.row(moment, over, run) for one in every])
        at_claim = _text(moment + timedelta(seconds=1))
        pairs = [{"flow_run_id": run, "object_id": one.id, "claimed_at": at_claim} for one in taken]
        self._write(claims, pairs)
        for one in every:
            kind_of_count = (one.dataset or "", one.state)
            self._counts[kind_of_count] += 1
            self._rejected[kind_of_count] += one.rejected

    def end(self) -> None:
        rows = [
            {
                "dataset": dataset,
                "state": state,
                "objects": found,
                "rows_loaded": found * ROWS - self._rejected[dataset, state] if state == "loaded" else 0,
                "rows_rejected": self._rejected[dataset, state],
            }
            for (dataset, state), found in self._counts.items()
        ]
        self._write(counts, rows)

    def _next(self) -> int:
        self._seq += 1
        return self._seq

    def _write(self, table: Table, rows: list[dict[str, Any]]) -> None:
        if not rows:
            return
        names = [column.name for column in table.columns]
        marks = ", ".join("?" * len(names))
        self._connection.exec_driver_sql(
            f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({marks})",  # noqa: S608 - our own names
            [tuple(row.get(name) for name in names) for row in rows],
        )


class _Object:
    """One object, and what is told of it."""

    def __init__(self, bucket: str, dataset: str, number: int, moment: datetime) -> None:
        self.dataset, self.state, self.reason, self.rejected = _fate(dataset, number)
        day = f"{moment:%Y-%m-%d}"
        stamp = int(moment.timestamp()) * 1_000_000_000 + number
        self.object = ObjectVersion(
            store="folder",
            bucket=bucket,
            key=f"{dataset}/{day}/{dataset}-{number:08}.csv",
            version=f"{stamp}-{9_000 + number % 1_000}",
            size=9_000 + number % 1_000,
            uploaded_at=moment - timedelta(seconds=2),
        )
        self.id = self.object.object_id
        self.url = self.object.url
        self.sha = self.id.replace("-", "") * 2
        self.story = 0
        self.correlation = event_id(EventType.UPLOADED, self.id)

    def event(self, seq: int, kind: EventType, moment: datetime, data: dict[str, Any]) -> dict[str, Any]:
        first = kind is EventType.UPLOADED
        return {
            "seq": seq,
            "id": self.correlation if first else event_id(kind, self.id, 1),
            "story": self.story,
            "type": kind.value,
            "time": _text(moment),
            "subject": self.url,
            "dataset": self.dataset,
            "object_id": self.id,
            "correlation_id": self.correlation,
            "causation_id": None if first else self.correlation,
            "attempt": 1,
            "data": _to_json(data),
        }

    def uploaded(self) -> dict[str, Any]:
        obj = self.object
        return {
            "store": obj.store,
            "bucket": obj.bucket,
            "key": obj.key,
            "version": obj.version,
            "etag": None,
            "size": obj.size,
            "sequencer": None,
            "uploaded_at": iso(obj.uploaded_at),
            "via": "watch",
        }

    def ended(self, moment: datetime) -> dict[str, Any]:
        told: dict[str, Any] = {"reason": self.reason, "others": []}
        if self.state == "loaded":
            told["committed_at"] = iso(moment)
        return told | {"table": self.dataset, "contract_version": _VERSION} | self.numbers()

    def numbers(self) -> dict[str, int]:
        loaded = ROWS - self.rejected if self.state == "loaded" else 0
        return {
            "rows_read": ROWS,
            "rows_loaded": loaded,
            "rows_rejected": self.rejected,
            "rows_duplicate": 0,
        }

    def row(self, moment: datetime, over: datetime, run: str) -> dict[str, Any]:
        """How the object stands in the table in the end."""
        taken = self.state != "unmatched"
        obj = self.object
        found: dict[str, Any] = {
            "object_id": self.id,
            "story": self.story,
            "url": self.url,
            "store": obj.store,
            "bucket": obj.bucket,
            "key": obj.key,
            "version": obj.version,
            "size": obj.size,
            "dataset": self.dataset,
            "state": self.state,
            "reason": self.reason,
            "via": "watch",
            "correlation_id": self.correlation,
            "attempt": 1,
            "crashes": 0,
            "pending_seq": self.story,
            "uploaded_at": _text(obj.uploaded_at),
            "recorded_at": _text(moment),
            "finished_at": _text(over if taken else moment),
        }
        if not taken:
            return found
        for place, column in enumerate(("claimed_at", "validated_at", "normalized_at", "enriched_at"), 1):
            found[column] = _text(moment + place * timedelta(seconds=1))
        if self.state == "quarantined" or self.rejected:
            found |= {"report": f"file://{obj.bucket}/q", "reported_attempt": 1}
        return found | {
            "flow_run_id": run,
            "committed_at": _text(over) if self.state == "loaded" else None,
            "content_sha256": self.sha,
            "contract_version": _VERSION,
            **self.numbers(),
            "dialect": json.dumps(_DIALECT),
        }


def _fate(dataset: str, number: int) -> tuple[str | None, str, str, int]:
    """Dataset, state, reason and rejected rows: of each hundred mostly the same, the last ones not."""
    state, reason, rejected = _FATES.get(number % 100, ("loaded", "", 0))
    return None if state == "unmatched" else dataset, state, reason, rejected


_FATES = {
    **dict.fromkeys(range(90, 96), ("loaded", "", 2)),
    96: ("superseded", "A newer version of the key was loaded.", 0),
    97: ("quarantined", "12 % of its rows were rejected.", 24),
    98: ("quarantined", "12 % of its rows were rejected.", 24),
    99: ("unmatched", "No data contract matches the key.", 0),
}


def _claimed(one: _Object, told: dict[str, Any], together: int) -> dict[str, Any]:
    del one
    return {"flow_run_id": told["flow_run_id"], "objects_in_batch": together}


def _validated(one: _Object, told: dict[str, Any], together: int) -> dict[str, Any]:
    del together
    good = {"rows_read": ROWS, "rows_valid": ROWS - one.rejected, "rows_rejected": one.rejected}
    return {"dialect": _DIALECT, **told, "content_sha256": one.sha, **good}


def _normalized(one: _Object, told: dict[str, Any], together: int) -> dict[str, Any]:
    del one, together
    return told


def _enriched(one: _Object, told: dict[str, Any], together: int) -> dict[str, Any]:
    del together
    good = {"rows_valid": ROWS - one.rejected, "rows_rejected": one.rejected}
    return {**told, "references": {}, "rows_unmatched": {}, **good}


_WAY = (
    (EventType.CLAIMED, _claimed),
    (EventType.VALIDATED, _validated),
    (EventType.NORMALIZED, _normalized),
    (EventType.ENRICHED, _enriched),
)
_END = {
    "loaded": EventType.LOADED,
    "quarantined": EventType.QUARANTINED,
    "superseded": EventType.SUPERSEDED,
}
_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def _text(moment: datetime) -> str:
    """A moment as SQLite keeps it."""
    return moment.isoformat(" ", "microseconds")[:26]


def main() -> None:
    """Fill the ledger that the command line names."""
    parser = argparse.ArgumentParser(description="Fill the new ledger of a project with finished objects.")
    parser.add_argument("folder", type=Path, help="folder of the project's tidegate.toml")
    parser.add_argument("number", type=int, help="how many objects")
    parser.add_argument("datasets", nargs="+", help="names of their datasets")
    args = parser.parse_args()
    fill(load_settings(args.folder), args.number, args.datasets)


if __name__ == "__main__":
    main()
