"""The ledger as a state machine: whatever happens in whatever order, nothing is lost or doubled."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tidegate import clock
from tidegate.events import Event, EventType, ObjectUploaded, Via
from tidegate.events.model import event_id, iso
from tidegate.ledger import Owner, Upload, open_ledger, queries
from tidegate.ledger.states import FINAL_STATES
from tidegate.ledger.tables import PROJECTIONS, counts, objects, waits
from tidegate.objects import ObjectVersion
from tidegate.settings import load_settings

KEYS = st.sampled_from("abcde")
ROWS = st.fixed_dictionaries({"rows_loaded": st.integers(0, 2), "rows_rejected": st.integers(0, 2)})
RUNS = st.sampled_from(["r1", "r2", "r3"])


class LedgerMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        root = Path(self._folder.name)
        (root / "tidegate.toml").write_text("")
        self.ledger = open_ledger(load_settings(root))
        self.recorded: set[str] = set()
        #: object id -> run that holds it
        self.held: dict[str, str] = {}
        self.batches: dict[str, dict[str, int]] = {}
        #: number of the reference's newest snapshot; 0 before its first load
        self.snapshot = 0
        #: whether the load that published it died before the ledger heard of it
        self.untold = False

    def teardown(self) -> None:
        self.ledger.close()
        self._folder.cleanup()

    @rule(key=KEYS, version=st.integers(1, 3), times=st.integers(1, 3))
    def upload(self, key: str, version: int, times: int) -> None:
        obj = ObjectVersion(
            store="folder",
            bucket="/l",
            key=key,
            version=f"{version}-1",
            size=1,
            uploaded_at=datetime(2026, 1, version, tzinfo=UTC),
        )
        notice = Upload(notice=ObjectUploaded(object=obj, via=Via.WATCH), dataset="d")
        result = self.ledger.record([notice] * times)
        assert set(result.new) == {obj.object_id} - self.recorded
        self.recorded.add(obj.object_id)

    @rule(run=RUNS, limit=st.integers(1, 3))
    def claim(self, run: str, limit: int) -> None:
        owner = Owner(host="h", pid=1, pid_started=0.0)
        batch = self.ledger.claim("d", run, owner, max_objects=limit, max_bytes=100)
        taken = {one.object.object_id: one.attempt for one in batch.objects}
        for object_id in taken:
            assert self.held.get(object_id, run) == run, "an object was given to two runs"
            self.held[object_id] = run
        if taken:
            self.batches[run] = taken

    @precondition(lambda self: self.held)
    @rule(
        data=st.data(), kind=st.sampled_from([EventType.LOADED, EventType.QUARANTINED, EventType.SUPERSEDED])
    )
    def settle(self, data: st.DataObject, kind: EventType) -> None:
        object_id = data.draw(st.sampled_from(sorted(self.held)))
        run = self.held.pop(object_id)
        attempt = self.batches[run][object_id]
        final = Event(
            id=event_id(kind, object_id, attempt),
            type=kind,
            time=clock.now(),
            subject="file:///l",
            dataset="d",
            object_id=object_id,
            correlation_id=object_id,
            attempt=attempt,
            data={"reason": "", "rows_read": 3, **data.draw(ROWS)},
        )
        assert self.ledger.append([final, final]) == 1
        assert self.ledger.append([final]) == 0

    @precondition(lambda self: self.held)
    @rule(data=st.data(), in_time=st.booleans())
    def hold(self, data: st.DataObject, in_time: bool) -> None:
        """An object lacks a key in some snapshot, which may not be the newest any more."""
        object_id = data.draw(st.sampled_from(sorted(self.held)))
        seen = data.draw(st.integers(0, self.snapshot))
        attempt = self.batches[self.held.pop(object_id)][object_id]
        until = clock.now() + timedelta(hours=1 if in_time else -1)
        held = Event(
            id=event_id(EventType.QUARANTINED, object_id, attempt),
            type=EventType.QUARANTINED,
            time=clock.now(),
            subject="file:///l",
            dataset="d",
            object_id=object_id,
            correlation_id=object_id,
            attempt=attempt,
            data={
                "reason": "",
                "references": {"r": f"r/{seen}" if seen else ""},
                "waits_until": {"r": iso(until)},
            },
        )
        for _ in range(2):
            self.ledger.settle([held], self._latest)
        self.untold = False
        expected = "pending" if in_time and seen != self.snapshot else "quarantined"
        assert self.ledger.ask(queries.by_id, [object_id])[object_id].state == expected

    @rule(dies=st.booleans())
    def load_reference(self, dies: bool) -> None:
        self.snapshot += 1
        self.untold = dies
        if not dies:
            self.ledger.settle([], self._latest)

    def _latest(self, reference: str) -> str | None:
        assert reference == "r"
        return f"r/{self.snapshot}" if self.snapshot else None

    @rule(run=RUNS)
    def fail(self, run: str) -> None:
        self.ledger.end_claim(run, "trouble")
        self._let_go(run)

    @rule(run=RUNS)
    def die(self, run: str) -> None:
        self.ledger.release(run, "killed")
        self._let_go(run)

    @rule(states=st.sets(st.sampled_from(["loaded", "quarantined", "failed"]), min_size=1))
    def backfill(self, states: set[str]) -> None:
        chosen = {entry.object_id: "d" for entry in self.ledger.ask(queries.find, states=tuple(states))}
        reopened = self.ledger.reopen(chosen, clock.now(), requested_by="test", states=tuple(states))
        assert reopened == len(chosen)

    @rule(states=st.sets(st.sampled_from(["loaded", "quarantined", "discarded", "failed"]), min_size=1))
    def redrive(self, states: set[str]) -> None:
        chosen = {entry.object_id: "d" for entry in self.ledger.ask(queries.find, states=tuple(states))}
        for expected in (len(chosen), 0):
            taken = self.ledger.reopen(
                chosen, clock.now(), requested_by="test", states=tuple(states), redrive=True
            )
            assert taken == expected

    @rule()
    def discard(self) -> None:
        entries = self.ledger.ask(queries.find)
        held = {entry.object_id for entry in entries if entry.state == "quarantined"}
        ids = [entry.object_id for entry in entries]
        assert self.ledger.discard(ids, by="ann", reason="Not wanted.") == len(held)
        assert self.ledger.discard(ids, by="ann", reason="Not wanted.") == 0

    @rule()
    def report(self) -> None:
        waiting = self.ledger.ask(queries.unreported)
        self.ledger.append(
            [
                Event(
                    id=event_id(EventType.REPORTED, entry.object_id, entry.attempt),
                    type=EventType.REPORTED,
                    time=clock.now(),
                    subject=entry.url,
                    dataset="d",
                    object_id=entry.object_id,
                    correlation_id=entry.correlation_id,
                    attempt=entry.attempt,
                    data={"report": "file:///q", "rows_held": 0},
                )
                for entry in waiting
            ]
        )
        assert self.ledger.ask(queries.unreported) == []

    def _let_go(self, run: str) -> None:
        self.held = {object_id: owner for object_id, owner in self.held.items() if owner != run}

    @invariant()
    def every_recorded_object_is_in_exactly_one_known_state(self) -> None:
        entries = self.ledger.ask(queries.find)
        assert {entry.object_id for entry in entries} == self.recorded
        for entry in entries:
            assert entry.state in (*FINAL_STATES, "pending", "running", "failed")
            assert (entry.state == "running") == (entry.object_id in self.held)

    @invariant()
    def nothing_waits_for_what_has_come(self) -> None:
        with self.ledger.reading() as connection:
            found = connection.execute(sa.select(waits, objects.c.state).join(objects)).mappings().all()
        for row in found:
            assert row["state"] == "quarantined"
            current = row["snapshot"] == (self._latest("r") or "")
            assert current or self.untold or row["until"] < clock.now()

    @invariant()
    def the_log_alone_gives_the_same_tables(self) -> None:
        before = self._dump()
        self.ledger.rebuild()
        assert self._dump() == before

    @invariant()
    def what_is_counted_is_there(self) -> None:
        dataset = sa.func.coalesce(objects.c.dataset, "")
        rows = (
            sa.func.coalesce(sa.func.sum(objects.c[name]), 0) for name in ("rows_loaded", "rows_rejected")
        )
        query = sa.select(dataset, objects.c.state, sa.func.count(), *rows).group_by(dataset, objects.c.state)
        with self.ledger.reading() as connection:
            counted = connection.execute(sa.select(counts)).tuples().all()
            assert sorted(counted) == sorted(connection.execute(query).tuples().all())

    def _dump(self) -> list[list[tuple[object, ...]]]:
        with self.ledger.reading() as connection:
            return [
                sorted(tuple(map(str, row)) for row in connection.execute(sa.select(table)))
                for table in PROJECTIONS
            ]


LedgerMachine.TestCase.settings = settings(
    max_examples=25,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestLedgerMachine = LedgerMachine.TestCase
