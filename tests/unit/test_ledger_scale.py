"""What the ledger costs does not grow: statements with the batch, searches with the objects it has."""

from __future__ import annotations

import re
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from benchmarks.filled_ledger import fill
from tidegate import clock
from tidegate.events import Event, EventType, ObjectUploaded, Via
from tidegate.events.model import event_id, iso
from tidegate.ledger import Ledger, Owner, Upload, open_ledger, queries
from tidegate.ledger.dialects import dialect_changes, loaded_dialects
from tidegate.ledger.progress import at_work
from tidegate.ledger.statements import CHUNK
from tidegate.objects import ObjectVersion
from tidegate.operations.wait import wait
from tidegate.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tidegate.ledger import Batch
    from tidegate.settings import Settings

ME = Owner(host="here", pid=1, pid_started=0.0)
START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "tidegate.toml").write_text("")
    return load_settings(tmp_path)


@pytest.fixture
def ledger(settings: Settings) -> Iterator[Ledger]:
    fill(settings, 300, ["flights", "orders"])
    ledger = open_ledger(settings)
    yield ledger
    ledger.close()


def uploads(number: int, name: str = "new") -> list[Upload]:
    return [
        Upload(
            notice=ObjectUploaded(
                object=ObjectVersion(
                    store="folder",
                    bucket="/landing",
                    key=f"{name}/{place:05}.csv",
                    version=f"{place}-10",
                    size=10,
                    uploaded_at=START + timedelta(seconds=place),
                ),
                via=Via.WATCH,
            ),
            dataset="flights",
        )
        for place in range(number)
    ]


def told(batch: Batch, kind: EventType, data: dict[str, Any]) -> list[Event]:
    return [
        Event(
            id=event_id(kind, one.object.object_id, one.attempt),
            type=kind,
            time=clock.now(),
            subject=one.object.url,
            dataset=batch.dataset,
            object_id=one.object.object_id,
            correlation_id=one.correlation_id,
            attempt=one.attempt,
            data=data,
        )
        for one in batch.objects
    ]


@contextmanager
def watching(ledger: Ledger) -> Iterator[list[tuple[str, Any]]]:
    """The statements that run meanwhile, those that begin a transaction left out."""
    seen: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: Any) -> None:
        if not statement.startswith(("BEGIN", "PRAGMA")):
            seen.append((statement, parameters))

    engine = ledger._engine
    sa.event.listen(engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        sa.event.remove(engine, "before_cursor_execute", note)


STEPS = ("record", "record again", "claim", "validated", "loaded", "held", "end", "reopen", "known")


def statements_of_a_way(ledger: Ledger, number: int) -> dict[str, int]:
    """Statements of each step for a batch of so many objects."""
    found: dict[str, int] = {}
    run, arrived = f"run of {number}", uploads(number, f"{number}")
    half = number // 2 or 1
    rows = {"rows_read": 2, "rows_loaded": 1, "rows_rejected": 1, "reason": ""}

    def step(name: str, act: Callable[[], Any]) -> Any:
        with watching(ledger) as seen:
            result = act()
        found[name] = len(seen)
        return result

    step("record", lambda: ledger.record(arrived))
    step("record again", lambda: ledger.record(arrived))
    batch = step("claim", lambda: ledger.claim("flights", run, ME, max_objects=number, max_bytes=10**9))
    assert len(batch.objects) == number
    ids = [one.object.object_id for one in batch.objects]
    step("validated", lambda: ledger.append(told(batch, EventType.VALIDATED, {"rows_read": 2})))
    step("known", lambda: ledger.ask(queries.holders, ids))
    loaded = told(batch, EventType.LOADED, {**rows, "committed_at": iso(START)})[:half]
    step("loaded", lambda: ledger.settle(loaded, lambda _: None))
    held = told(batch, EventType.QUARANTINED, {"reason": "bad"})[half:]
    step("held", lambda: ledger.append(held))
    step("end", lambda: ledger.end_claim(run))
    again = dict.fromkeys(ids, "flights")
    step("reopen", lambda: ledger.reopen(again, START, requested_by="me", states=("loaded", "quarantined")))
    ledger.claim("flights", f"{run} again", ME, max_objects=number, max_bytes=10**9)
    return found


def test_a_large_batch_costs_as_many_statements_as_a_small_one(ledger: Ledger) -> None:
    small, large = statements_of_a_way(ledger, 4), statements_of_a_way(ledger, 400)
    assert set(small) == set(STEPS)
    assert large == small
    assert max(large.values()) <= 20


def test_more_than_a_statement_can_name_costs_one_statement_more_for_each_part(ledger: Ledger) -> None:
    arrived = uploads(CHUNK + 1)
    with watching(ledger) as few:
        ledger.unknown(arrived[:CHUNK])
    with watching(ledger) as more:
        ledger.unknown(arrived)
    assert (len(few), len(more)) == (1, 2)


ASKED: dict[str, Callable[[Ledger], Any]] = {
    "backlogs": lambda ledger: ledger.ask(queries.backlogs),
    "status": lambda ledger: ledger.ask(queries.status),
    "unfinished": lambda ledger: ledger.ask(queries.unfinished),
    "changed dialects": lambda ledger: ledger.ask(dialect_changes),
    "unreported": lambda ledger: ledger.ask(queries.unreported, finished_before=clock.now()),
    "runs without lease": lambda ledger: ledger.ask(queries.runs_without_lease),
    "dead letters": lambda ledger: ledger.ask(queries.dead_letters),
    "pending ones": lambda ledger: ledger.ask(queries.find, states=("pending",), limit=1_000),
    "a dataset's held ones": lambda ledger: ledger.ask(
        queries.find, dataset="flights", states=("quarantined",)
    ),
    "the first ones": lambda ledger: ledger.ask(queries.find, limit=10),
    "a folder's ones": lambda ledger: ledger.ask(queries.find, prefix="flights/2024-01-01/", limit=10),
    "those of a time": lambda ledger: ledger.ask(queries.find, since=START),
    "by key": lambda ledger: ledger.ask(queries.by_name, "flights/2024-01-01/flights-00000001.csv"),
    "manifests": lambda ledger: ledger.ask(queries.newest_upload_of, "/landing", ["a", "b"]),
    "record": lambda ledger: ledger.record(uploads(5)),
    "record once more": lambda ledger: ledger.record(uploads(5)),
    "claim": lambda ledger: ledger.claim("flights", "run", ME, max_objects=3, max_bytes=100),
    "retry": lambda ledger: ledger.claim("flights", "run", ME, max_objects=3, max_bytes=100),
    "release": lambda ledger: ledger.release("run", "killed"),
    "claim after a crash": lambda ledger: ledger.claim("flights", "next", ME, max_objects=9, max_bytes=100),
    "end": lambda ledger: ledger.end_claim("next", "trouble"),
    "claimed by": lambda ledger: ledger.ask(queries.claimed_by, "next"),
    "progress": lambda ledger: ledger.ask(at_work),
    "wake": lambda ledger: ledger.settle([], lambda _: None),
    "sink": lambda ledger: ledger.events_after(ledger.last_seq() - 5, 100),
}

#: Tables that are as large as what is at work, not as what there ever was.
SMALL = re.compile(
    r"SCAN (counts|datasets|leases|progress|waits|cursors)\b"
    r"|SCAN objects USING (COVERING )?INDEX ix_objects_(open|waiting|crashed|unreported)\b"
)
#: Read in the order of an index, up to a limit.
BOUNDED = {"the first ones": re.compile(r"SCAN objects USING INDEX ix_objects_uploaded")}


def test_what_is_asked_all_the_time_reads_through_no_table(ledger: Ledger) -> None:
    scans = []
    for name, ask in ASKED.items():
        with watching(ledger) as seen:
            ask(ledger)
        assert seen, name
        scans += [(name, line) for line in plan(ledger, seen) if is_scan(name, line)]
    assert scans == []


def is_scan(name: str, line: str) -> bool:
    return "SCAN" in line and not SMALL.match(line) and not (name in BOUNDED and BOUNDED[name].match(line))


def plan(ledger: Ledger, seen: list[tuple[str, Any]]) -> Iterator[str]:
    with ledger.reading() as connection:
        for statement, parameters in seen:
            one = parameters[0] if isinstance(parameters, list) else parameters
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", one):
                yield row.detail


def test_looked_back_upon_are_no_more_than_are_needed(ledger: Ledger) -> None:
    last = datetime(2024, 1, 1, 0, 2, tzinfo=UTC)
    with watching(ledger) as seen, ledger.reading() as connection:
        list(loaded_dialects(connection, "flights", last, last))
    assert [line for line in plan(ledger, seen) if re.match(r"SCAN (objects|events)\b", line)] == []


def test_the_first_wait_tells_of_everything_and_the_next_of_what_ended_since(settings: Settings) -> None:
    fill(settings, 300, ["flights"])
    ledger = open_ledger(settings)
    filled = wait(settings, ledger, timeout=10, progress=lambda _work, _left: None)
    assert (filled.done, filled.states) == (True, {})
    (settings.state_dir / "run" / "waited.json").unlink()
    first = wait(settings, ledger, timeout=10, progress=lambda _work, _left: None)
    assert first.states == {"loaded": 288, "quarantined": 6, "superseded": 3, "unmatched": 3}
    assert [entry.state for entry in first.objects].count("quarantined") == 6
    again = wait(settings, ledger, timeout=10, progress=lambda _work, _left: None)
    assert (again.done, again.states, again.objects) == (True, {}, [])
    ledger.close()
