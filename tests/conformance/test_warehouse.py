"""What `Warehouse` promises, for every kind of warehouse."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.conformance.warehouse_kit import WAREHOUSES, Stage, contract, version
from tidegate import clock
from tidegate.contracts import Append, LoadPolicy, Merge, Replace
from tidegate.errors import AccountingError, ContractError, UsageError
from tidegate.warehouse import Outcome, Warehouse

LOADED, QUARANTINED = Outcome.LOADED, Outcome.QUARANTINED
SUPERSEDED, DUPLICATE = Outcome.SUPERSEDED, Outcome.DUPLICATE

pytestmark = pytest.mark.slow

POLICIES = [
    pytest.param(Append(), id="Append"),
    pytest.param(Merge(key=["id"]), id="Merge"),
    pytest.param(Replace(), id="Replace"),
]
A, B = (1, "a", 0), (2, "b", 0)


@pytest.fixture(params=WAREHOUSES)
def warehouse(request: pytest.FixtureRequest, tmp_path: Path) -> Warehouse:
    return WAREHOUSES[request.param](tmp_path / "state")


@pytest.fixture
def stage(warehouse: Warehouse, tmp_path: Path) -> Stage:
    return Stage(tmp_path / "staging", warehouse, Append())


@pytest.fixture(params=POLICIES)
def any_stage(request: pytest.FixtureRequest, warehouse: Warehouse, tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path / "staging", warehouse, request.param)
    yield stage
    if stage.batches:
        check_books(stage)


def check_books(stage: Stage) -> None:
    """What must hold of the warehouse at any time."""
    name = stage.contract.name
    broken = {
        "rows unaccounted for": "SELECT object_id FROM tidegate.commits "
        "WHERE rows_read <> rows_loaded + rows_rejected + rows_duplicate",
        "two commits of one object": "SELECT object_id FROM tidegate.commits "
        "GROUP BY object_id, dataset HAVING count(*) > 1",
    }
    of_rows = {
        "rows of no commit in force": f"SELECT _object_id FROM {name} t "
        "ANTI JOIN tidegate.commits c ON c.object_id = t._object_id AND c.active",
        "a record twice": f"SELECT _object_id FROM {name} GROUP BY _object_id, _record HAVING count(*) > 1",
    }
    if (name,) in stage.ask("SELECT table_name FROM duckdb_tables() WHERE schema_name = 'main'"):
        broken |= of_rows
    # in one query, as each opens the warehouse anew
    found = " UNION ALL ".join(
        f"SELECT '{what}', object_id FROM ({sql}) AS found(object_id)" for what, sql in broken.items()
    )
    assert stage.ask(found) == []


# One object


def test_before_the_first_load_there_is_nothing(warehouse: Warehouse) -> None:
    assert warehouse.commits(["x"]) == {}
    assert warehouse.latest_snapshot("orders") is None
    with pytest.raises(UsageError, match="Nothing was loaded yet"):
        warehouse.query("SELECT 1")


def test_a_load_puts_in_rows_rejected_rows_and_the_record(any_stage: Stage) -> None:
    one = version("a.csv", 1, sequencer="0A", etag="e1")
    before = clock.now()
    [outcome] = any_stage.load(
        any_stage.request(one, [A, B], rejected=[(3, "type"), (3, "range"), (4, "type")])
    )
    assert outcome.outcome is LOADED
    assert (outcome.rows_read, outcome.rows_loaded, outcome.rows_rejected, outcome.rows_duplicate) == (
        4,
        2,
        2,
        0,
    )
    assert (outcome.reason, outcome.others, outcome.already, outcome.retained) == ("", (), False, None)
    assert before <= outcome.committed_at <= clock.now()
    columns = "id, value, _object_id, _record, _contract_version, _loaded_at"
    assert any_stage.table(columns) == [
        (1, "a", one.object_id, 1, "1.0.0", outcome.committed_at),
        (2, "b", one.object_id, 2, "1.0.0", outcome.committed_at),
    ]
    assert any_stage.ask(
        'SELECT object_id, dataset, record, line, "column", rule, value, message, raw, contract_version, '
        "rejected_at, closed_at, closed_by FROM tidegate.rejected_rows ORDER BY ALL"
    ) == [
        (
            one.object_id,
            "orders",
            record,
            record + 1,
            "id",
            rule,
            "x",
            "m",
            "raw",
            "1.0.0",
            outcome.committed_at,
            None,
            None,
        )
        for record, rule in [(3, "range"), (3, "type"), (4, "type")]
    ]
    assert any_stage.ask(
        "SELECT dataset, store, bucket, key, version, etag, url, size, uploaded_at, sequencer, batch_id, "
        "flow_run_id, active FROM tidegate.commits"
    ) == [
        (
            "orders",
            "s3",
            "landing",
            "a.csv",
            one.version,
            "e1",
            "s3://landing/a.csv",
            100,
            one.uploaded_at,
            "0A",
            "batch-1",
            "run-1",
            True,
        )
    ]


def test_the_record_is_the_outcome(any_stage: Stage) -> None:
    loaded = any_stage.drop("a.csv", 2, [A])
    older = any_stage.drop("a.csv", 1, [B])
    held = any_stage.drop("b.csv", 3, held="too many bad rows", rejected=[(1, "type")])
    outcomes = {one.object_id: one for one in (loaded, older, held)}
    assert any_stage.warehouse.commits([*outcomes, "unknown"]) == outcomes
    assert any_stage.warehouse.commits([]) == {}


def test_a_repetition_changes_nothing(any_stage: Stage) -> None:
    request = any_stage.request(version("a.csv", 1), [A, B], rejected=[(3, "type")])
    [first] = any_stage.load(request)
    everything = (
        "SELECT * FROM tidegate.datasets",
        "SELECT * FROM tidegate.rejected_rows",
        "SELECT * FROM tidegate.commits",
        "SELECT * FROM orders",
    )
    before = [any_stage.ask(sql) for sql in everything]
    assert any_stage.load(request) == [replace(first, already=True)]
    assert [any_stage.ask(sql) for sql in everything] == before


def test_a_lower_attempt_that_comes_late_changes_nothing(any_stage: Stage) -> None:
    second = any_stage.drop("a.csv", 1, [B], attempt=2)
    assert any_stage.drop("a.csv", 1, [A], attempt=1) == replace(second, already=True)
    assert any_stage.table() == [(2, "b")]


def test_a_higher_attempt_takes_the_place_of_the_lower(any_stage: Stage) -> None:
    any_stage.drop("a.csv", 1, [A, B], rejected=[(3, "type")])
    again = any_stage.drop("a.csv", 1, [A, (3, "c", 0)], attempt=2, rejected=[(2, "range")])
    assert (again.outcome, again.rows_loaded, again.rows_rejected) == (LOADED, 2, 1)
    assert any_stage.table() == [(1, "a"), (3, "c")]
    closed = "SELECT rule, attempt, closed_by, closed_at FROM tidegate.rejected_rows ORDER BY attempt"
    assert any_stage.ask(closed) == [
        ("type", 1, again.object_id, again.committed_at),
        ("range", 2, None, None),
    ]
    assert any_stage.warehouse.commits([again.object_id]) == {again.object_id: again}


def test_a_batch_answers_in_the_order_it_was_asked(stage: Stage) -> None:
    requests = [stage.request(version(f"{n}.csv", at), [(n, "x", 0)]) for n, at in enumerate([5, 3, 4])]
    outcomes = stage.load(*requests)
    assert [one.object_id for one in outcomes] == [one.object.object_id for one in requests]
    assert stage.load() == []


def test_of_two_tries_in_one_batch_the_higher_counts(any_stage: Stage) -> None:
    one = version("a.csv", 1)
    outcomes = any_stage.load(any_stage.request(one, [A], attempt=2), any_stage.request(one, [B], attempt=1))
    assert [outcome.attempt for outcome in outcomes] == [2, 2]
    assert any_stage.table() == [(1, "a")]


# Held objects


def test_a_held_object_leaves_its_rejected_rows_only(any_stage: Stage) -> None:
    held = any_stage.drop("a.csv", 1, held="too many bad rows", rejected=[(1, "type"), (2, "type")])
    assert (held.outcome, held.reason) == (QUARANTINED, "too many bad rows")
    assert (held.rows_read, held.rows_loaded, held.rows_rejected) == (2, 0, 2)
    assert any_stage.ask("SELECT record, closed_at FROM tidegate.rejected_rows ORDER BY 1") == [
        (1, None),
        (2, None),
    ]


def test_all_rows_of_a_held_object_count_as_rejected(any_stage: Stage) -> None:
    held = any_stage.drop("a.csv", 1, held="over budget", rejected=[(1, "type")], rows_read=10, rows_valid=9)
    assert (held.rows_read, held.rows_loaded, held.rows_rejected, held.rows_duplicate) == (10, 0, 10, 0)


def test_a_held_object_does_not_hold_up_the_batch(any_stage: Stage) -> None:
    held, loaded = any_stage.load(
        any_stage.request(version("a.csv", 2), held="no header"), any_stage.request(version("b.csv", 1), [B])
    )
    assert (held.outcome, loaded.outcome) == (QUARANTINED, LOADED)
    assert any_stage.table() == [(2, "b")]


def test_a_held_try_leaves_what_was_loaded_before_in_force(any_stage: Stage) -> None:
    loaded = any_stage.drop("a.csv", 1, [A], rejected=[(2, "type")])
    held = any_stage.drop("a.csv", 1, held="over budget", attempt=2, rejected=[(1, "range"), (2, "range")])
    assert (held.outcome, held.reason, held.attempt) == (QUARANTINED, "over budget", 2)
    assert held.retained == loaded
    assert any_stage.table() == [(1, "a")]
    assert any_stage.warehouse.commits([held.object_id]) == {held.object_id: held}
    again = any_stage.drop("a.csv", 1, held="over budget", attempt=2)
    assert again == replace(held, already=True)
    still_open = "SELECT attempt, rule FROM tidegate.rejected_rows WHERE closed_at IS NULL ORDER BY ALL"
    assert any_stage.ask(still_open) == [(1, "type"), (2, "range"), (2, "range")]


def test_after_a_held_try_a_good_one_takes_over(any_stage: Stage) -> None:
    any_stage.drop("a.csv", 1, [A], rejected=[(2, "type")])
    any_stage.drop("a.csv", 1, held="over budget", attempt=2, rejected=[(1, "range")])
    any_stage.drop("a.csv", 1, held="over budget", attempt=3, rejected=[(1, "unique")])
    open_rows = "SELECT attempt FROM tidegate.rejected_rows WHERE closed_at IS NULL ORDER BY ALL"
    assert any_stage.ask(open_rows) == [(1,), (3,)]
    good = any_stage.drop("a.csv", 1, [B], attempt=4)
    assert (good.outcome, good.retained) == (LOADED, None)
    assert any_stage.table() == [(2, "b")]
    assert any_stage.ask(open_rows) == []
    assert any_stage.warehouse.commits([good.object_id]) == {good.object_id: good}


def test_a_quarantined_object_is_loaded_by_a_later_try(any_stage: Stage) -> None:
    any_stage.drop("a.csv", 1, held="over budget", rejected=[(1, "type")])
    redriven = any_stage.drop("a.csv", 1, [A], attempt=2)
    assert (redriven.outcome, redriven.retained) == (LOADED, None)
    assert any_stage.table() == [(1, "a")]
    assert any_stage.ask("SELECT closed_by FROM tidegate.rejected_rows") == [(redriven.object_id,)]


def test_a_newer_version_closes_the_rejected_rows_of_a_held_older_one(any_stage: Stage) -> None:
    any_stage.drop("a.csv", 1, held="over budget", rejected=[(1, "type")])
    newer = any_stage.drop("a.csv", 2, [A])
    late = any_stage.drop("a.csv", 1.5, held="over budget", rejected=[(1, "type")])
    assert (late.outcome, late.replaced_by) == (QUARANTINED, newer.object_id)
    assert any_stage.warehouse.commits([late.object_id]) == {late.object_id: late}
    assert any_stage.ask("SELECT closed_by FROM tidegate.rejected_rows") == [(newer.object_id,)] * 2


# Versions of one key


def test_a_newer_version_takes_the_place_of_the_older(any_stage: Stage) -> None:
    older = any_stage.drop("a.csv", 1, [A, B], rejected=[(3, "type")])
    newer = any_stage.drop("a.csv", 2, [B, (3, "c", 0)])
    assert (newer.outcome, newer.others) == (LOADED, (older.object_id,))
    assert any_stage.table() == [(2, "b"), (3, "c")]
    assert any_stage.ask("SELECT closed_by FROM tidegate.rejected_rows") == [(newer.object_id,)]
    record = (
        f"SELECT active, replaced_by, outcome FROM tidegate.commits WHERE object_id = '{older.object_id}'"
    )
    assert any_stage.ask(record) == [(False, newer.object_id, "loaded")]


def test_an_older_version_that_comes_late_is_superseded(any_stage: Stage) -> None:
    newer = any_stage.drop("a.csv", 2, [B])
    older = any_stage.drop("a.csv", 1, [A], rejected=[(2, "type")])
    assert (older.outcome, older.others) == (SUPERSEDED, (newer.object_id,))
    assert (older.rows_read, older.rows_loaded, older.rows_rejected, older.rows_duplicate) == (2, 0, 0, 2)
    assert "2024-01-01 00:00:02" in older.reason
    assert any_stage.table() == [(2, "b")]
    assert any_stage.ask("SELECT * FROM tidegate.rejected_rows") == []


def test_within_a_batch_the_newest_version_counts(any_stage: Stage) -> None:
    older, newer, oldest = any_stage.load(
        any_stage.request(version("a.csv", 2), [A]),
        any_stage.request(version("a.csv", 3), [B]),
        any_stage.request(version("a.csv", 1), [A]),
    )
    assert [one.outcome for one in (oldest, older, newer)] == [SUPERSEDED, SUPERSEDED, LOADED]
    assert oldest.others == older.others == (newer.object_id,)
    assert any_stage.table() == [(2, "b")]


def test_the_sequencer_decides_before_the_time(any_stage: Stage) -> None:
    any_stage.drop("a.csv", 0, [A])
    late_clock = version("a.csv", 9, sequencer="0A")
    any_stage.load(any_stage.request(version("a.csv", 1, sequencer="0AF"), [B]))
    [outcome] = any_stage.load(any_stage.request(late_clock, [A]))
    assert outcome.outcome is SUPERSEDED
    assert any_stage.table() == [(2, "b")]


def test_a_try_at_a_superseded_object_is_superseded_again(any_stage: Stage) -> None:
    any_stage.drop("a.csv", 1, [A])
    newer = any_stage.drop("a.csv", 2, [B])
    again = any_stage.drop("a.csv", 1, [A], attempt=2)
    assert (again.outcome, again.attempt, again.others) == (SUPERSEDED, 2, (newer.object_id,))
    assert any_stage.table() == [(2, "b")]


@pytest.mark.parametrize("policy", [Append(), Replace()], ids=lambda policy: type(policy).__name__)
def test_the_same_content_again_is_a_duplicate(
    warehouse: Warehouse, tmp_path: Path, policy: LoadPolicy
) -> None:
    stage = Stage(tmp_path / "staging", warehouse, policy)
    first = stage.drop("a.csv", 1, [A])
    rows = stage.table("*")
    again = stage.drop("a.csv", 3, [A])
    assert (again.outcome, again.others) == (DUPLICATE, (first.object_id,))
    assert (again.rows_read, again.rows_loaded, again.rows_rejected, again.rows_duplicate) == (1, 0, 0, 1)
    assert stage.table("*") == rows
    between = stage.drop("a.csv", 2, [B])
    assert (between.outcome, between.others) == (SUPERSEDED, (first.object_id,))
    assert stage.table("*") == rows
    back = stage.drop("a.csv", 4, [B])
    assert (back.outcome, back.others) == (LOADED, (first.object_id,))
    assert stage.drop("a.csv", 5, [A]).outcome is LOADED


@pytest.mark.parametrize("policy", [Append(), Replace()], ids=lambda policy: type(policy).__name__)
def test_a_duplicate_counts_for_the_order(warehouse: Warehouse, tmp_path: Path, policy: LoadPolicy) -> None:
    stage = Stage(tmp_path / "staging", warehouse, policy)
    stage.drop("a.csv", 1, [A])
    between, same = stage.load(
        stage.request(version("a.csv", 2), [B]), stage.request(version("a.csv", 3), [A])
    )
    assert (between.outcome, same.outcome) == (SUPERSEDED, DUPLICATE)
    stage.drop("a.csv", 1, [A], attempt=2)
    order = stage.ask("SELECT key, order_at FROM tidegate.commits WHERE active")
    assert order == [("a.csv", version("a.csv", 3).uploaded_at)]


@pytest.mark.parametrize("policy", [Append(), Replace()], ids=lambda policy: type(policy).__name__)
def test_a_backfill_loads_duplicates_again(warehouse: Warehouse, tmp_path: Path, policy: LoadPolicy) -> None:
    stage = Stage(tmp_path / "staging", warehouse, policy)
    one, same = version("a.csv", 1), version("a.csv", 2)
    stage.load(stage.request(one, [A], content_sha256="x"))
    stage.load(stage.request(same, [A], content_sha256="x"))
    new_rows = [(1, "under the new contract", 0)]
    first = stage.load(stage.request(one, new_rows, content_sha256="x", attempt=2))[0]
    assert first.outcome is LOADED
    assert stage.table() == [(1, "under the new contract")]
    second, superseded = stage.load(
        stage.request(same, new_rows, content_sha256="x", attempt=2),
        stage.request(one, new_rows, content_sha256="x", attempt=3),
    )
    assert (second.outcome, second.others) == (LOADED, (one.object_id,))
    assert superseded.outcome is SUPERSEDED
    assert stage.table() == [(1, "under the new contract")]
    check_books(stage)


# Append


def test_append_is_the_union_of_all_keys(stage: Stage) -> None:
    stage.load(*(stage.request(version(f"{n}.csv", n), [A, A]) for n in range(3)))
    assert stage.table() == [(1, "a")] * 6


def test_an_empty_correction_takes_the_rows_away(stage: Stage) -> None:
    stage.drop("a.csv", 1, [A])
    outcome = stage.drop("a.csv", 2, [])
    assert (outcome.outcome, outcome.rows_loaded) == (LOADED, 0)
    assert stage.table() == []


# Replace


@pytest.fixture
def replacing(warehouse: Warehouse, tmp_path: Path) -> Stage:
    return Stage(tmp_path / "staging", warehouse, Replace())


def test_replace_keeps_the_newest_object_of_all_keys(replacing: Stage) -> None:
    first = replacing.drop("monday.csv", 1, [A])
    second = replacing.drop("wednesday.csv", 3, [B])
    assert second.others == (first.object_id,)
    late = replacing.drop("tuesday.csv", 2, [A])
    assert (late.outcome, late.others) == (SUPERSEDED, (second.object_id,))
    assert replacing.table() == [(2, "b")]
    same = replacing.drop("thursday.csv", 4, [B])
    assert (same.outcome, same.others) == (DUPLICATE, (second.object_id,))


def test_replace_does_not_empty_the_table_unasked(replacing: Stage) -> None:
    replacing.drop("a.csv", 1, [A])
    empty = replacing.drop("b.csv", 2, [])
    assert empty.outcome is QUARANTINED
    assert "allow_empty" in empty.reason
    assert replacing.table() == [(1, "a")]


def test_replace_empties_the_table_when_allowed(warehouse: Warehouse, tmp_path: Path) -> None:
    stage = Stage(tmp_path / "staging", warehouse, Replace(allow_empty=True))
    stage.drop("a.csv", 1, [A])
    assert stage.drop("b.csv", 2, []).outcome is LOADED
    assert stage.table() == []


def test_replace_closes_the_rejected_rows_of_every_older_object(replacing: Stage) -> None:
    replacing.drop("a.csv", 1, held="over budget", rejected=[(1, "type")])
    newest = replacing.drop("b.csv", 2, [A], rejected=[(2, "type")])
    rejected = "SELECT record, closed_by FROM tidegate.rejected_rows ORDER BY ALL"
    assert replacing.ask(rejected) == [(1, newest.object_id), (2, None)]


# Merge


@pytest.fixture
def merging(warehouse: Warehouse, tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path / "staging", warehouse, Merge(key=["id"], order_by="changed"))
    yield stage
    check_books(stage)


def test_merge_updates_and_inserts(merging: Stage) -> None:
    merging.drop("a.csv", 1, [(1, "old", 1), (2, "old", 1)])
    outcome = merging.drop("b.csv", 2, [(2, "new", 2), (3, "new", 2)])
    assert (outcome.rows_loaded, outcome.rows_duplicate, outcome.others) == (2, 0, ())
    assert merging.table() == [(1, "old"), (2, "new"), (3, "new")]


def test_a_row_that_loses_counts_as_duplicate(merging: Stage) -> None:
    merging.drop("b.csv", 2, [(1, "newer", 2)])
    outcome = merging.drop("c.csv", 3, [(1, "older", 1), (2, "x", 1), (2, "y", 1)])
    assert (outcome.rows_read, outcome.rows_loaded, outcome.rows_duplicate) == (3, 1, 2)
    assert merging.table() == [(1, "newer"), (2, "y")]


def test_a_value_beats_null_in_the_ordering_column(merging: Stage) -> None:
    merging.drop("a.csv", 1, [(1, "dated", 1)])
    merging.drop("b.csv", 2, [(1, "undated", None)])
    assert merging.table() == [(1, "dated")]


def test_without_ordering_column_the_newest_object_wins(warehouse: Warehouse, tmp_path: Path) -> None:
    stage = Stage(tmp_path / "staging", warehouse, Merge(key=["id"]))
    stage.drop("b.csv", 2, [(1, "second", 0)])
    late = stage.drop("a.csv", 1, [(1, "first", 9)])
    assert (late.outcome, late.rows_duplicate) == (LOADED, 1)
    assert stage.table() == [(1, "second")]


def test_rows_without_a_key_are_kept_apart(warehouse: Warehouse, tmp_path: Path) -> None:
    stage = Stage(tmp_path / "staging", warehouse, Merge(key=["id", "value"]))
    rows = [(None, "a", 0), (None, "a", 0), (1, None, 0), (1, "a", 0), (1, "a", 1)]
    outcome = stage.drop("a.csv", 1, rows)
    assert (outcome.rows_loaded, outcome.rows_duplicate) == (4, 1)
    again = stage.drop("a.csv", 1, rows, attempt=2)
    assert (again.rows_loaded, again.rows_duplicate) == (4, 1)
    assert stage.table("id, value, changed") == [(1, "a", 1), (1, None, 0), (None, "a", 0), (None, "a", 0)]
    stage.drop("a.csv", 2, [])
    assert stage.table() == []


def test_a_row_comes_back_when_the_one_that_beat_it_goes(merging: Stage) -> None:
    merging.drop("a.csv", 1, [(1, "first", 1)])
    merging.drop("b.csv", 2, [(1, "second", 2), (2, "only in b", 2)])
    merging.drop("c.csv", 3, [(1, "third", 3)])
    merging.drop("c.csv", 4, [])
    assert merging.table() == [(1, "second"), (2, "only in b")]
    merging.drop("b.csv", 2, [(2, "only in b", 2)], attempt=2)
    assert merging.table() == [(1, "first"), (2, "only in b")]


def test_a_beaten_row_goes_with_its_object(merging: Stage) -> None:
    merging.drop("a.csv", 1, [(1, "winner", 9)])
    merging.drop("b.csv", 2, [(1, "beaten", 1)])
    merging.drop("b.csv", 3, [(2, "corrected", 1)])
    merging.drop("a.csv", 4, [])
    assert merging.table() == [(2, "corrected")]


def test_the_same_content_uploaded_again_is_newer_under_merge(warehouse: Warehouse, tmp_path: Path) -> None:
    stage = Stage(tmp_path / "staging", warehouse, Merge(key=["id"]))
    first = stage.drop("a.csv", 1, [(1, "a", 0)])
    stage.drop("b.csv", 2, [(1, "b", 0)])
    again = stage.drop("a.csv", 3, [(1, "a", 0)])
    assert (again.outcome, again.others) == (LOADED, (first.object_id,))
    assert stage.table() == [(1, "a")]


# Columns


def test_a_table_grows_with_its_contract_and_never_shrinks(any_stage: Stage) -> None:
    any_stage.drop("a.csv", 1, [A])
    any_stage.columns = {"id": pl.Int64(), 'Größe "x"': pl.Float64(), "changed": pl.Int64()}
    any_stage.drop("a.csv", 2, [(1, 1.5, 0), (2, None, 0)])
    assert any_stage.table('id, value, "Größe ""x""", changed') == [(1, None, 1.5, 0), (2, None, None, 0)]


def test_a_changed_type_is_refused_and_leaves_all_as_it_was(any_stage: Stage) -> None:
    any_stage.drop("a.csv", 1, [A])
    before = any_stage.ask("SELECT * FROM tidegate.commits"), any_stage.table("*")
    any_stage.columns = {"id": pl.String(), "value": pl.String(), "changed": pl.Int64()}
    request = any_stage.request(version("a.csv", 2), [("1", "a", 0)])
    with pytest.raises(ContractError, match=r"'id'.*BIGINT.*VARCHAR.*ALTER TABLE"):
        any_stage.load(request)
    assert (any_stage.ask("SELECT * FROM tidegate.commits"), any_stage.table("*")) == before


def test_a_merge_wants_its_columns(warehouse: Warehouse, tmp_path: Path) -> None:
    stage = Stage(tmp_path / "staging", warehouse, Merge(key=["id"], order_by="updated_at"))
    with pytest.raises(ContractError, match="updated_at"):
        stage.drop("a.csv", 1, [A])
    with pytest.raises(UsageError, match="orders does not exist"):
        stage.ask("SELECT * FROM orders")


def test_two_datasets_do_not_touch_each_other(warehouse: Warehouse, tmp_path: Path) -> None:
    orders = Stage(tmp_path / "staging", warehouse, contract(Replace(), name="orders"))
    others = Stage(tmp_path / "staging", warehouse, contract(Replace(), name="select"))
    first = orders.drop("a.csv", 1, [A])
    second = others.drop("a.csv", 1, [B])
    assert (first.outcome, second.outcome) == (LOADED, LOADED)
    assert (orders.table(), others.table()) == ([(1, "a")], [(2, "b")])
    assert warehouse.commits([second.object_id]) == {second.object_id: second}


# A change of the load policy


def test_from_append_to_merge_the_whole_table_is_merged(warehouse: Warehouse, tmp_path: Path) -> None:
    stage = Stage(tmp_path / "staging", warehouse, Append())
    stage.load(*(stage.request(version(f"{n}.csv", n), [(1, str(n), 0), (2, str(n), 0)]) for n in range(3)))
    stage.contract = contract(Merge(key=["id"]), version="2.0.0")
    stage.drop("3.csv", 3, [(3, "3", 0)])
    assert stage.table() == [(1, "2"), (2, "2"), (3, "3")]
    stage.contract = contract(Append(), version="3.0.0")
    stage.drop("4.csv", 4, [(1, "4", 0)])
    assert len(stage.table()) == 8
    stage.contract = contract(Replace(), version="4.0.0")
    last = stage.drop("5.csv", 5, [(5, "5", 0)])
    assert len(last.others) == 5
    assert stage.table() == [(5, "5")]
    check_books(stage)


def test_from_append_to_replace_a_duplicate_takes_nothing_away(warehouse: Warehouse, tmp_path: Path) -> None:
    stage = Stage(tmp_path / "staging", warehouse, Append())
    stage.load(stage.request(version("a.csv", 1), [A]), stage.request(version("b.csv", 2), [B]))
    stage.contract = contract(Replace(), version="2.0.0")
    assert stage.drop("c.csv", 3, [B]).outcome is DUPLICATE
    check_books(stage)
    again = stage.drop("a.csv", 1, [A], attempt=2)
    assert again.outcome is SUPERSEDED
    assert stage.table() == [(2, "b")]
    check_books(stage)


# The books


@pytest.mark.parametrize(
    "wrong",
    [
        {"rows_read": 5},
        {"rows_rejected": 0, "rows_read": 3},
        {"rows_rejected": 2, "rows_read": 4},
        {"rows_rejected": 2, "held": "over budget"},
    ],
    ids=[
        "a row gone missing",
        "a rejection nobody counted",
        "a rejection nobody wrote",
        "one of a held object",
    ],
)
def test_a_row_unaccounted_for_undoes_the_batch(any_stage: Stage, wrong: dict[str, Any]) -> None:
    good = any_stage.request(version("a.csv", 1), [A])
    any_stage.load(good)
    bad = any_stage.request(version("b.csv", 2), [A, B], rejected=[(3, "type")], **wrong)
    with pytest.raises(AccountingError, match=r"s3://landing/b\.csv") as caught:
        any_stage.load(any_stage.request(version("c.csv", 0.5), [B]), bad)
    if not isinstance(any_stage.contract.load, Replace):
        assert caught.value.object_ids == (bad.object.object_id,)
    assert any_stage.table() == [(1, "a")]
    assert len(any_stage.ask("SELECT * FROM tidegate.commits")) == 1
    assert any_stage.ask("SELECT * FROM tidegate.rejected_rows") == []


def test_times_of_commits_grow_even_when_the_clock_goes_back(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = stage.drop("a.csv", 1, [A])
    monkeypatch.setattr(clock, "now", lambda: version("x", 0).uploaded_at)
    second = stage.drop("b.csv", 2, [B])
    third = stage.drop("c.csv", 3, [B])
    assert first.committed_at < second.committed_at < third.committed_at


# Snapshots


def test_a_snapshot_is_the_table_newest_object_first(any_stage: Stage, tmp_path: Path) -> None:
    folder = tmp_path / "references"
    any_stage.drop("a.csv", 1, [(1, "a1", 0), (2, "a2", 0)])
    request = any_stage.request(version("b.csv", 2), [(4, "b4", 0), (3, "b3", 0)])
    _, snapshot = any_stage.load_with_snapshot(folder, request)
    assert snapshot is not None
    assert any_stage.warehouse.latest_snapshot("orders") == snapshot
    assert any_stage.warehouse.latest_snapshot("planes") is None
    assert snapshot.path == f"orders/{snapshot.sequence}-batch-2.parquet"
    frame = pl.read_parquet(folder / snapshot.path)
    assert frame.height == snapshot.rows == len(any_stage.table())
    assert frame["value"].to_list()[:2] == ["b4", "b3"]
    assert [path.name for path in folder.rglob("*.part")] == []


def test_a_snapshot_is_written_when_something_changed(stage: Stage, tmp_path: Path) -> None:
    folder = tmp_path / "references"
    request = stage.request(version("a.csv", 1), [A])
    _, first = stage.load_with_snapshot(folder, request)
    held = stage.request(version("b.csv", 1), held="no header")
    assert stage.load_with_snapshot(folder, request, held)[1] is None
    _, second = stage.load_with_snapshot(folder, stage.request(version("c.csv", 1), [B]))
    assert first is not None
    assert second is not None
    assert second.sequence > first.sequence
    assert (folder / first.path).exists()


def test_a_duplicate_moves_its_rows_up_in_the_snapshot(stage: Stage, tmp_path: Path) -> None:
    folder = tmp_path / "references"
    both = stage.request(version("a.csv", 1), [A]), stage.request(version("b.csv", 2), [B])
    stage.load_with_snapshot(folder, *both)
    _, snapshot = stage.load_with_snapshot(folder, stage.request(version("a.csv", 3), [A]))
    assert snapshot is not None
    assert pl.read_parquet(folder / snapshot.path)["value"].to_list() == ["a", "b"]


def test_a_snapshot_is_caught_up_on(stage: Stage, tmp_path: Path) -> None:
    """A dataset becomes a reference after it was loaded, or somebody removes the file."""
    folder = tmp_path / "references"
    assert stage.load_with_snapshot(folder) == ([], None)
    request = stage.request(version("a.csv", 1), [A])
    stage.load(request)
    [again], first = stage.load_with_snapshot(folder, request)
    assert again.already
    assert first is not None
    stage.drop("b.csv", 2, [B])
    _, second = stage.load_with_snapshot(folder)
    assert second is not None
    assert (second.sequence > first.sequence, second.rows) == (True, 2)
    assert stage.load_with_snapshot(folder) == ([], None)
    (folder / second.path).unlink()
    _, third = stage.load_with_snapshot(folder)
    assert third is not None
    assert third.sequence > second.sequence


def test_a_load_that_fails_leaves_no_snapshot(stage: Stage, tmp_path: Path) -> None:
    folder = tmp_path / "references"
    with pytest.raises(AccountingError):
        stage.load_with_snapshot(folder, stage.request(version("a.csv", 1), [A], rows_read=2))
    assert stage.warehouse.latest_snapshot("orders") is None
    assert list(folder.rglob("*.parquet")) == []


# Queries


def test_a_query_gives_columns_and_rows(stage: Stage) -> None:
    stage.drop("a.csv", 1, [A, B])
    assert stage.warehouse.query("SELECT id AS n, value FROM orders ORDER BY n") == (
        ["n", "value"],
        [(1, "a"), (2, "b")],
    )


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("SELECT nothing FROM orders", "nothing"),
        ("SELEC 1", "SELEC"),
        ("SELECT 1; SELECT 2", "one statement"),
        ("", "one statement"),
        ("-- only a comment", "one statement"),
        ("DELETE FROM orders", "one statement that reads"),
        ("DROP TABLE orders", "one statement that reads"),
        ("CREATE TABLE x AS SELECT 1", "one statement that reads"),
        ("SELECT 'x'::INTEGER", "x"),
    ],
)
def test_a_query_that_can_not_be_run_is_the_callers_error(stage: Stage, sql: str, says: str) -> None:
    stage.drop("a.csv", 1, [A])
    with pytest.raises(UsageError, match=says):
        stage.warehouse.query(sql)
    assert stage.table() == [(1, "a")]
