"""Held rows, for every kind of warehouse: redriven beside the good ones, discarded, taken up again."""

import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conformance.warehouse_kit import WAREHOUSES, Row, Stage, contract, version
from tidegate.contracts import Append, LoadPolicy, Merge, Replace
from tidegate.errors import AccountingError
from tidegate.warehouse import HeldSelection, LoadOutcome, LoadRequest, Outcome, Warehouse
from tidegate.warehouse.plan import REREAD

pytestmark = pytest.mark.slow

POLICIES = [
    pytest.param(Append(), id="Append"),
    pytest.param(Merge(key=["id"]), id="Merge"),
    pytest.param(Replace(), id="Replace"),
]
ONE = version("a.csv", 1)
READ = '{"delimiter": ","}'
FOUND = "id, value, _record, _contract_version, _loaded_at"
ENTRIES = "SELECT record, rule, attempt, contract_version, closed_reason, closed_contract_version FROM "


@pytest.fixture(params=WAREHOUSES)
def warehouse(request: pytest.FixtureRequest, tmp_path: Path) -> Warehouse:
    return WAREHOUSES[request.param](tmp_path / "state")


@pytest.fixture(params=POLICIES)
def stage(request: pytest.FixtureRequest, warehouse: Warehouse, tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path / "staging", warehouse, request.param)
    yield stage
    unbalanced = "rows_read <> rows_loaded + rows_rejected + rows_duplicate"
    twice = "SELECT _object_id FROM orders GROUP BY _object_id, _record HAVING count(*) > 1"
    assert stage.ask(f"SELECT object_id FROM tidegate.commits WHERE {unbalanced} UNION ALL ({twice})") == []


def entries(stage: Stage) -> list[Row]:
    return stage.ask(ENTRIES + "tidegate.rejected_rows ORDER BY attempt, record, rule")


def first(stage: Stage) -> LoadOutcome:
    """Five records: 1 and 3 good, 2, 4 and 5 held, 4 for two reasons."""
    request = stage.request(
        ONE,
        [(1, "a", 0), (3, "c", 0)],
        records=[1, 3],
        rejected=[(2, "type"), (4, "type"), (4, "range"), (5, "range")],
        content_sha256="content",
        dialect=READ,
    )
    return stage.load(request)[0]


def again(stage: Stage, attempt: int = 2, **changes: Any) -> LoadOutcome:
    """Under a later contract 2 and 4 pass, 5 fails by another rule, and 3, which is loaded, fails."""
    stage.contract = contract(stage.contract.load, version=f"{attempt}.0.0")
    fields: dict[str, Any] = {
        "records": [1, 2, 4],
        "rejected": [(3, "new"), (5, "new")],
        "content_sha256": "content",
        "dialect": READ,
        "redrive": True,
    }
    rows = [(1, "changed", 0), (2, "b", 0), (4, "d", 0)]
    return stage.load(stage.request(ONE, rows, attempt=attempt, **(fields | changes)))[0]


def test_a_redrive_loads_what_passes_now_and_leaves_good_rows_as_they_are(stage: Stage) -> None:
    before = first(stage)
    after = again(stage)
    assert (after.rows_read, after.rows_loaded, after.rows_rejected, after.rows_duplicate) == (5, 4, 1, 0)
    assert (after.outcome, after.attempt, after.contract_version) == (Outcome.LOADED, 2, "1.0.0")
    assert after.reason == "Redriven under contract 2.0.0: 2 of 3 held rows passed."
    assert stage.table(FOUND) == [
        (1, "a", 1, "1.0.0", before.committed_at),
        (2, "b", 2, "2.0.0", after.committed_at),
        (3, "c", 3, "1.0.0", before.committed_at),
        (4, "d", 4, "2.0.0", after.committed_at),
    ]
    assert entries(stage) == [
        (2, "type", 1, "1.0.0", "redriven", "2.0.0"),
        (4, "range", 1, "1.0.0", "redriven", "2.0.0"),
        (4, "type", 1, "1.0.0", "redriven", "2.0.0"),
        (5, "range", 1, "1.0.0", "tried_again", "2.0.0"),
        (5, "new", 2, "2.0.0", None, None),
    ]
    assert stage.warehouse.commits([after.object_id]) == {after.object_id: after}


def test_a_redrive_repeated_changes_nothing_and_a_second_one_takes_the_rest(stage: Stage) -> None:
    first(stage)
    after = again(stage)
    shown = (stage.table(FOUND), entries(stage))
    assert again(stage).already
    assert (stage.table(FOUND), entries(stage)) == shown
    rows = [(n, "x", 0) for n in (1, 2, 3, 4, 5)]
    stage.contract = contract(stage.contract.load, version="3.0.0")
    last = stage.request(ONE, rows, attempt=3, content_sha256="content", dialect=READ, redrive=True)
    [done] = stage.load(last)
    assert (done.rows_loaded, done.rows_rejected) == (5, 0)
    assert stage.table("id, value, _contract_version")[-1] == (5, "x", "3.0.0")
    assert stage.table(FOUND)[:4] == shown[0]
    assert stage.warehouse.held(HeldSelection()) == []
    assert after.committed_at < done.committed_at


@pytest.mark.parametrize(
    "changed",
    [{"dialect": '{"delimiter": ";"}'}, {"dialect": ""}, {"content_sha256": "other"}],
    ids=["dialect", "unknown", "content"],
)
def test_an_object_that_is_read_in_another_way_is_loaded_anew(stage: Stage, changed: dict[str, Any]) -> None:
    first(stage)
    after = again(stage, **changed)
    assert (after.rows_read, after.rows_loaded, after.rows_rejected) == (5, 3, 2)
    assert (after.contract_version, after.reason) == ("2.0.0", REREAD)
    assert stage.table("id, value, _contract_version") == [
        (1, "changed", "2.0.0"),
        (2, "b", "2.0.0"),
        (4, "d", "2.0.0"),
    ]
    assert [(entry[0], entry[4]) for entry in entries(stage)] == [
        *((record, "tried_again") for record in (2, 4, 4, 5)),
        *((record, None) for record in (3, 5)),
    ]


def test_without_redrive_a_further_try_loads_the_object_anew(stage: Stage) -> None:
    first(stage)
    assert again(stage, redrive=False).rows_loaded == 3
    assert {entry[4] for entry in entries(stage)} == {"tried_again", None}


def test_a_redrive_that_is_held_leaves_good_and_held_rows_as_they_are(stage: Stage) -> None:
    before = first(stage)
    shown = (stage.table(FOUND), entries(stage))
    gone = stage.load(stage.request(ONE, held="It is gone.", attempt=2, redrive=True, rows_read=0))[0]
    assert (gone.outcome, gone.retained) == (Outcome.QUARANTINED, before)
    assert (stage.table(FOUND), entries(stage)) == shown
    over = again(stage, attempt=3, held="Over the budget.")
    assert over.retained == before
    assert (stage.table(FOUND), entries(stage)) == shown
    assert again(stage, attempt=4).rows_loaded == 4


def test_a_backfill_that_is_held_does_not_make_good_rows_redrivable(stage: Stage) -> None:
    first(stage)
    again(stage, held="Over the budget.", redrive=False)
    assert sum(line.rows for line in stage.warehouse.held(HeldSelection())) == 4
    after = again(stage, attempt=3)
    assert (after.rows_loaded, after.rows_rejected) == (4, 1)


def test_an_object_that_was_held_as_a_whole_is_loaded_by_a_redrive(stage: Stage) -> None:
    held = stage.request(
        ONE,
        [(1, "a", 0)],
        held="Over the budget.",
        rejected=[(2, "type"), (3, "type")],
        content_sha256="content",
        dialect=READ,
    )
    stage.load(held)
    assert [line.standing for line in stage.warehouse.held(HeldSelection())] == [False]
    rows = [(1, "a", 0), (2, "b", 0)]
    request = stage.request(
        ONE, rows, attempt=2, rejected=[(3, "type")], content_sha256="content", dialect=READ, redrive=True
    )
    [after] = stage.load(request)
    assert (after.outcome, after.rows_loaded, after.rows_rejected) == (Outcome.LOADED, 2, 1)
    assert [entry[:1] + entry[4:5] for entry in entries(stage)] == [
        (2, "redriven"),
        (3, "tried_again"),
        (3, None),
    ]


def test_a_newer_version_wins_over_a_redrive(stage: Stage) -> None:
    first(stage)
    newer = stage.drop("a.csv", 2, [(9, "z", 0)])
    after = again(stage)
    assert (after.outcome, after.others) == (Outcome.SUPERSEDED, (newer.object_id,))
    assert stage.table() == [(9, "z")]


def test_a_record_that_neither_passed_nor_failed_undoes_the_redrive(stage: Stage) -> None:
    first(stage)
    shown = (stage.table(FOUND), entries(stage))
    with pytest.raises(AccountingError, match="5 rows read and 1 rejected, but the tables got 4 and 0"):
        again(stage, rejected=[(3, "new")], rows_read=5)
    assert (stage.table(FOUND), entries(stage)) == shown


def test_redriven_rows_of_a_merge_contend_with_all_others(warehouse: Warehouse, tmp_path: Path) -> None:
    stage = Stage(tmp_path / "staging", warehouse, Merge(key=["id"], order_by="changed"))
    first(stage)
    stage.drop("b.csv", 2, [(2, "other", 5), (4, "other", -5)])
    after = again(stage)
    assert (after.rows_loaded, after.rows_duplicate, after.rows_rejected) == (3, 1, 1)
    assert stage.table() == [(1, "a"), (2, "other"), (3, "c"), (4, "d")]
    stage.drop("b.csv", 3, [])
    assert stage.table() == [(1, "a"), (2, "b"), (3, "c"), (4, "d")]


def test_under_another_policy_a_redrive_still_adds_only(warehouse: Warehouse, tmp_path: Path) -> None:
    stage = Stage(tmp_path / "staging", warehouse, Append())
    stage.drop("b.csv", 0, [(8, "old", 0)])
    before = first(stage)
    stage.contract = contract(Replace())
    after = again(stage)
    assert (after.rows_loaded, after.rows_rejected) == (4, 1)
    assert stage.table("id, _loaded_at")[0] == (1, before.committed_at)
    assert [row[0] for row in stage.table()] == [1, 2, 3, 4]


@pytest.mark.slow
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("kind", WAREHOUSES)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_whatever_is_redriven_and_discarded_each_record_is_in_one_place(
    kind: str, policy: LoadPolicy, data: st.DataObject
) -> None:
    numbers = [1, 2, 3, 4, 5]
    failing = st.sets(st.sampled_from(numbers))
    steps = data.draw(
        st.lists(st.tuples(st.sampled_from(["redrive", "discard", "restore"]), failing), max_size=5)
    )
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(Path(folder) / "staging", WAREHOUSES[kind](Path(folder)), policy)
        # Of a replaced table one row at least must be loadable, or all of the object is held.
        held = data.draw(failing) - {1}
        attempt, discarded = 1, set[int]()
        stage.load(attempt_at(stage, held, attempt))
        for step, bad in steps:
            if step == "redrive":
                attempt += 1
                stage.load(attempt_at(stage, bad - {1}, attempt), attempt_at(stage, bad - {1}, attempt))
                held &= bad
            elif step == "discard":
                stage.warehouse.discard(HeldSelection(), by="ann", note="")
                held, discarded = set(), discarded | held
            else:
                stage.warehouse.restore(HeldSelection(discarded=True))
                held, discarded = held | discarded, set()
            assert [row[0] for row in stage.table("id")] == [n for n in numbers if n not in held | discarded]
            commit = stage.warehouse.commits([ONE.object_id])[ONE.object_id]
            assert (commit.rows_read, commit.rows_rejected) == (5, len(held | discarded))
            wanted = HeldSelection(object_ids=(ONE.object_id,))
            assert {one.record for one in stage.warehouse.held_records(wanted, limit=9)} == held


def attempt_at(stage: Stage, bad: set[int], attempt: int) -> LoadRequest:
    good = [n for n in (1, 2, 3, 4, 5) if n not in bad]
    return stage.request(
        ONE,
        [(n, "x", 0) for n in good],
        records=good,
        rejected=[(n, "type") for n in sorted(bad)],
        attempt=attempt,
        content_sha256="content",
        dialect=READ,
        redrive=attempt > 1,
    )


# Held rows, by hand


def test_held_rows_are_counted_and_chosen(stage: Stage) -> None:
    before = first(stage)
    found = {(one.rule, one.column): one for one in stage.warehouse.held(HeldSelection())}
    assert {key: one.rows for key, one in found.items()} == {("range", "id"): 2, ("type", "id"): 2}
    assert found["type", "id"].oldest == before.committed_at
    late = before.committed_at + timedelta(seconds=1)
    for wanted, lines in [
        (HeldSelection(dataset="orders"), 2),
        (HeldSelection(dataset="other"), 0),
        (HeldSelection(object_ids=(ONE.object_id,)), 2),
        (HeldSelection(object_ids=()), 0),
        (HeldSelection(rule="type"), 1),
        (HeldSelection(contract_version="9.9.9"), 0),
        (HeldSelection(since=before.committed_at), 2),
        (HeldSelection(since=late), 0),
        (HeldSelection(until=late), 2),
        (HeldSelection(until=before.committed_at), 0),
        (HeldSelection(discarded=True), 0),
    ]:
        assert len(stage.warehouse.held(wanted)) == lines, wanted


def test_held_records_have_all_their_reasons_and_are_paged(stage: Stage) -> None:
    first(stage)
    wanted = HeldSelection(object_ids=(ONE.object_id,))
    page = stage.warehouse.held_records(wanted, limit=2)
    assert [(one.record, one.line, one.offset, one.raw) for one in page] == [
        (2, 3, 20, "raw"),
        (4, 5, 40, "raw"),
    ]
    last = (ONE.object_id, 4)
    assert [reason.rule for reason in page[1].reasons] == ["range", "type"]
    assert [one.record for one in stage.warehouse.held_records(wanted, after=last, limit=2)] == [5]


def test_discarded_rows_count_as_rejected_and_no_redrive_takes_them(stage: Stage) -> None:
    first(stage)
    count = stage.warehouse.discard(HeldSelection(rule="type"), by="ann", note="Test orders.")
    assert count == 2
    assert stage.warehouse.discard(HeldSelection(rule="type"), by="ann", note="Test orders.") == 0
    note = "SELECT record, closed_by, closed_note FROM tidegate.rejected_rows WHERE closed_at IS NOT NULL "
    assert stage.ask(note + "ORDER BY ALL") == [(n, "ann", "Test orders.") for n in (2, 4, 4)]
    after = again(stage, records=[1, 2, 4, 5][:3])
    assert (after.rows_loaded, after.rows_rejected) == (2, 3)
    assert [row[0] for row in stage.table()] == [1, 3]
    assert after.reason.endswith("0 of 1 held rows passed.")


def test_discarded_rows_are_taken_up_again(stage: Stage) -> None:
    first(stage)
    stage.warehouse.discard(HeldSelection(), by="ann", note="")
    again(stage, rejected=[(5, "new"), (3, "new")])
    assert stage.warehouse.restore(HeldSelection(dataset="orders", discarded=True)) == 3
    assert stage.warehouse.restore(HeldSelection(dataset="orders", discarded=True)) == 0
    after = again(stage, attempt=3)
    assert (after.rows_loaded, after.rows_rejected) == (4, 1)


def test_an_object_that_is_loaded_anew_forgets_what_was_discarded(stage: Stage) -> None:
    first(stage)
    stage.warehouse.discard(HeldSelection(), by="ann", note="")
    again(stage, redrive=False)
    assert stage.warehouse.restore(HeldSelection(discarded=True)) == 0
    assert sum(line.rows for line in stage.warehouse.held(HeldSelection())) == 2


def test_before_the_first_load_nothing_is_held(warehouse: Warehouse) -> None:
    assert warehouse.held(HeldSelection()) == []
    assert warehouse.held_records(HeldSelection(), limit=1) == []
    assert warehouse.discard(HeldSelection(), by="", note="") == 0
    assert warehouse.restore(HeldSelection()) == 0
