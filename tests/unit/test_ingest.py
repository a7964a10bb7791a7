"""A batch through all stages as plain functions: no Prefect, no server."""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tidegate import clock
from tidegate.errors import (
    ClaimLostError,
    ObjectsLeftError,
    StoreUnavailableError,
    WarehouseLockedError,
    WarehouseUnavailableError,
)
from tidegate.events import EventType, ObjectUploaded, Via
from tidegate.ledger import Batch, queries
from tidegate.operations import backfill, ingest, outcomes
from tidegate.operations.project import Project, open_project
from tidegate.operations.reconcile import reconcile
from tidegate.operations.record import record_uploads
from tidegate.operations.recover import clean_staging

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tidegate.objects import ObjectVersion

CONTRACTS = """
import pandera.polars as pa
import polars as pl
from tidegate.contracts import Append, Contract, Lookup, Merge, Replace

class Order(pa.DataFrameModel):
    order_id: int = pa.Field(ge=1)
    shop: str

def add_double(rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows.with_columns(double=pl.col("order_id") * 2)

orders = Contract(
    name="orders", version="1.0.0", owner="o", description="d", keys=["orders/*.csv"], schema=Order,
    normalize=[add_double],
    enrich=[Lookup(dataset="shops", on={"shop": "shop"}, take={"city": "city"})], load=Append(),
)

class Shop(pa.DataFrameModel):
    shop: str
    city: str

class Plane(pa.DataFrameModel):
    tail: str
    seats: int

planes = Contract(
    name="planes", version="1.0.0", owner="o", description="d", keys=["planes/*.csv"], schema=Plane,
    load=Merge(key=["tail"]),
)

class Dated(pa.DataFrameModel):
    day: str

def read_day(rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows.with_columns(day=pl.col("day").str.to_date())

dated = Contract(
    name="dated", version="1.0.0", owner="o", description="d", keys=["dated/*.csv"], schema=Dated,
    normalize=[read_day], load=Append(),
)

shops = Contract(
    name="shops", version="1.0.0", owner="o", description="d", keys=["shops/*.csv"], schema=Shop,
    load=Replace(),
)
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    package = f"contracts_{uuid.uuid4().hex}"
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text("")
    (tmp_path / package / "all.py").write_text(CONTRACTS)
    (tmp_path / "tidegate.toml").write_text(f'contracts = "{package}"\n')
    monkeypatch.syspath_prepend(tmp_path)
    project = open_project(tmp_path)
    yield project
    project.close()


def drop(project: Project, key: str, text: str, *, seconds_ago: float = 0) -> ObjectVersion:
    source = project.settings.root / "source.csv"
    source.write_text(text)
    obj = project.store.put(source, key)
    if seconds_ago:
        moment = obj.uploaded_at.timestamp() - seconds_ago
        os.utime((project.settings.landing_dir or Path()) / key, (moment, moment))
        obj = project.store.stat(key)
    record_uploads(
        project.ledger, project.registry, project.store, [ObjectUploaded(object=obj, via=Via.WATCH)]
    )
    return obj


def run(project: Project, dataset: str, flow_run_id: str | None = None) -> str:
    run_id = flow_run_id or str(uuid.uuid4())
    batch = ingest.claim(project, dataset, run_id)
    if batch.objects:
        carry_through(project, batch)
    ingest.finish(project, batch, None)
    return run_id


def carry_through(project: Project, batch: Batch) -> None:
    verdicts = ingest.validate_batch(project, batch)
    verdicts = ingest.normalize_batch(project, batch, verdicts)
    verdicts = ingest.enrich_batch(project, batch, verdicts)
    ingest.load_batch(project, batch, verdicts)


def rows(project: Project, sql: str) -> list[tuple[Any, ...]]:
    return project.warehouse.query(sql)[1]


def state(project: Project, obj: ObjectVersion) -> tuple[str, str]:
    entry = project.ledger.ask(queries.by_id, [obj.object_id])[obj.object_id]
    return entry.state, entry.reason


def load_shops(project: Project) -> None:
    drop(project, "shops/shops.csv", "shop,city\nA,Aachen\nB,Berlin\n")
    run(project, "shops")


def test_good_rows_are_loaded_enriched_and_bad_ones_kept_with_reasons(project: Project) -> None:
    load_shops(project)
    obj = drop(project, "orders/1.csv", "order_id,shop\n1,A\n2,X\nthree,B\n0,B\n")
    run_id = run(project, "orders")
    assert rows(project, "SELECT order_id, shop, double, city, _record FROM orders ORDER BY 1") == [
        (1, "A", 2, "Aachen", 1),
        (2, "X", 4, None, 2),
    ]
    refused = rows(project, 'SELECT record, "column", value FROM tidegate.rejected_rows ORDER BY record')
    assert refused == [(3, "order_id", "three"), (4, "order_id", "0")]
    entry = project.ledger.ask(queries.by_id, [obj.object_id])[obj.object_id]
    assert (entry.state, entry.rows_read, entry.rows_loaded, entry.rows_rejected) == ("loaded", 4, 2, 2)
    assert (entry.flow_run_id, entry.contract_version) == (run_id, "1.0.0")
    assert not project.staging(run_id).folder.exists()


def test_each_stage_tells_its_completion_with_one_correlation_id(project: Project) -> None:
    load_shops(project)
    obj = drop(project, "orders/1.csv", "order_id,shop\n1,A\n")
    run(project, "orders")
    story = project.ledger.ask(queries.story, obj.object_id)
    assert [event.type.verb for event in story] == [
        "uploaded",
        "claimed",
        "validated",
        "normalized",
        "enriched",
        "loaded",
    ]
    assert {event.correlation_id for event in story} == {story[0].id}
    assert story[4].data["references"]["shops"].startswith("shops/")


def test_a_corrected_file_of_a_merged_table_takes_the_place_of_the_older(project: Project) -> None:
    first = drop(project, "planes/1.csv", "tail,seats\nN1,2\nN2,2\n")
    run(project, "planes")
    corrected = drop(project, "planes/1.csv", "tail,seats\nN1,4\nN3,2\n")
    run(project, "planes")
    other = drop(project, "planes/2.csv", "tail,seats\nN1,6\n")
    run(project, "planes")
    assert rows(project, "SELECT tail, seats FROM planes ORDER BY 1") == [("N1", 6), ("N3", 2)]
    assert [state(project, obj)[0] for obj in (first, corrected, other)] == [
        "superseded",
        "loaded",
        "loaded",
    ]


def test_a_corrected_file_replaces_and_an_equal_one_changes_nothing(project: Project) -> None:
    load_shops(project)
    first = drop(project, "orders/1.csv", "order_id,shop\n1,A\n2,A\n")
    run(project, "orders")
    corrected = drop(project, "orders/1.csv", "order_id,shop\n1,A\n3,A\n4,A\n")
    run(project, "orders")
    equal = drop(project, "orders/1.csv", "order_id,shop\n1,A\n3,A\n4,A\n")
    run(project, "orders")
    assert rows(project, "SELECT order_id FROM orders ORDER BY 1") == [(1,), (3,), (4,)]
    assert [state(project, obj)[0] for obj in (first, corrected, equal)] == [
        "superseded",
        "loaded",
        "duplicate",
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "empty"),
        ("order_id\n1\n", "missing: 'shop'"),
        ("order_id,shop\nx,A\ny,A\n", "2 of 2 rows were refused"),
        ("\0" * 5000, "NUL bytes"),
    ],
)
def test_an_object_that_cannot_be_loaded_is_held_with_the_reason_and_blocks_nothing(
    project: Project, content: str, said: str
) -> None:
    load_shops(project)
    bad = drop(project, "orders/bad.csv", content)
    good = drop(project, "orders/good.csv", "order_id,shop\n1,A\n")
    run(project, "orders")
    assert state(project, bad)[0] == "quarantined"
    assert said in state(project, bad)[1]
    assert state(project, good)[0] == "loaded"


def test_a_header_alone_loads_no_rows_but_may_not_empty_a_replaced_table(project: Project) -> None:
    load_shops(project)
    orders = drop(project, "orders/1.csv", "order_id,shop\n")
    shops = drop(project, "shops/shops.csv", "shop,city\n")
    run(project, "orders")
    run(project, "shops")
    assert state(project, orders)[0] == "loaded"
    assert state(project, shops)[0] == "quarantined"
    assert rows(project, "SELECT count(*) FROM shops") == [(2,)]


def test_an_object_deleted_before_it_is_read_is_held_and_says_so(project: Project) -> None:
    load_shops(project)
    obj = drop(project, "orders/1.csv", "order_id,shop\n1,A\n")
    (project.settings.landing_dir or Path()).joinpath("orders/1.csv").unlink()
    run(project, "orders")
    assert state(project, obj)[0] == "quarantined"


def test_an_object_overwritten_before_it_is_read_is_superseded(project: Project) -> None:
    load_shops(project)
    old = drop(project, "orders/1.csv", "order_id,shop\n1,A\n")
    new = drop(project, "orders/1.csv", "order_id,shop\n2,A\n")
    run(project, "orders")
    assert [state(project, obj)[0] for obj in (old, new)] == ["superseded", "loaded"]
    assert rows(project, "SELECT order_id FROM orders") == [(2,)]


def test_an_object_whose_reference_never_came_is_held_until_it_is_retried(project: Project) -> None:
    obj = drop(project, "orders/1.csv", "order_id,shop\n1,A\n")
    run_id = run(project, "orders")
    assert state(project, obj)[0] == "quarantined"
    assert "needs the reference shops" in state(project, obj)[1]
    load_shops(project)
    run(project, "orders", run_id)
    assert state(project, obj)[0] == "loaded"
    assert rows(project, "SELECT city FROM orders") == [("Aachen",)]


def test_trouble_with_one_object_leaves_the_others_done_and_a_retry_does_only_that_one(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_shops(project)
    objects = [drop(project, f"orders/{n}.csv", f"order_id,shop\n{n},A\n") for n in (1, 2, 3)]
    fetched: list[str] = []
    broken = {objects[1].key}
    fetch = project.store.fetch

    def fetch_or_fail(obj: ObjectVersion, target: Path) -> str:
        fetched.append(obj.key)
        if obj.key in broken:
            raise StoreUnavailableError("The store did not answer.")
        return fetch(obj, target)

    monkeypatch.setattr(project.store, "fetch", fetch_or_fail)
    batch = ingest.claim(project, "orders", "run")
    with pytest.raises(ObjectsLeftError, match=r"1 of 3 objects could not be validated.*orders/2\.csv"):
        ingest.validate_batch(project, batch)
    broken.clear()
    fetched.clear()
    assert len(ingest.validate_batch(project, batch)) == 3
    assert fetched == [objects[1].key]


def test_a_run_retried_after_a_failed_load_loads_everything_once(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_shops(project)
    objects = [drop(project, f"orders/{n}.csv", f"order_id,shop\n{n},A\n") for n in (1, 2)]
    load = project.warehouse.load

    def fail(*_: Any, **__: Any) -> None:
        raise WarehouseUnavailableError("broken")

    monkeypatch.setattr(project.warehouse, "load", fail)
    batch = ingest.claim(project, "orders", "run")
    with pytest.raises(WarehouseUnavailableError):
        carry_through(project, batch)
    ingest.finish(project, batch, "broken")
    assert [state(project, obj)[0] for obj in objects] == ["failed", "failed"]
    monkeypatch.setattr(project.warehouse, "load", load)
    run(project, "orders", "run")
    assert rows(project, "SELECT count(*) FROM orders") == [(2,)]
    assert [state(project, obj)[0] for obj in objects] == ["loaded", "loaded"]


def crash_after_commit(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    def die(*_: Any, **__: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("tidegate.operations.outcomes.tell", die)
        patch.setattr(project.references, "publish", lambda _snapshot: None)
        with pytest.raises(Killed):
            carry_through(project, ingest.claim(project, "shops", "killed"))


def test_after_a_crash_between_commit_and_ledger_the_commit_record_is_the_truth(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    obj = drop(project, "shops/shops.csv", "shop,city\nA,Aachen\n")
    crash_after_commit(project, monkeypatch)
    assert state(project, obj)[0] == "running"
    project.ledger.release("killed", "It was killed.")
    batch = ingest.claim(project, "shops", "next")
    assert batch.objects == ()
    assert state(project, obj)[0] == "loaded"
    assert rows(project, "SELECT count(*) FROM shops") == [(1,)]
    assert project.references.latest("shops") is not None


def test_an_object_that_committed_before_its_third_crash_is_loaded(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    obj = drop(project, "shops/shops.csv", "shop,city\nA,Aachen\n")
    for run_id in ("one", "two"):
        ingest.claim(project, "shops", run_id)
        project.ledger.release(run_id, "It was killed.")
    crash_after_commit(project, monkeypatch)
    project.ledger.release("killed", "It was killed.")
    run(project, "shops")
    assert state(project, obj)[0] == "loaded"


def test_an_object_on_which_three_runs_died_is_held(project: Project) -> None:
    obj = drop(project, "shops/shops.csv", "shop,city\nA,Aachen\n")
    die_on(project, "one", "two", "three")
    assert run(project, "shops")
    assert state(project, obj)[0] == "quarantined"
    assert "3 runs died" in state(project, obj)[1]


def test_an_object_replaced_before_the_ledger_knew_of_it_is_superseded(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = drop(project, "shops/shops.csv", "shop,city\nA,Aachen\n")
    crash_after_commit(project, monkeypatch)
    project.ledger.release("killed", "It was killed.")
    new = drop(project, "shops/shops.csv", "shop,city\nB,Berlin\n")
    run(project, "shops")
    run(project, "shops")
    assert [state(project, obj)[0] for obj in (old, new)] == ["superseded", "loaded"]
    assert rows(project, "SELECT shop FROM shops") == [("B",)]


def test_a_repaired_file_takes_the_place_of_the_held_one(project: Project) -> None:
    load_shops(project)
    held = drop(project, "orders/1.csv", "number,shop\n1,A\n")
    other = drop(project, "orders/2.csv", "number,shop\n2,A\n")
    discarded = drop(project, "orders/3.csv", "number,shop\n3,A\n")
    run(project, "orders")
    project.ledger.discard([discarded.object_id], by="test", reason="not wanted")
    why = state(project, held)[1]
    repaired = drop(project, "orders/1.csv", "order_id,shop\n1,A\n")
    drop(project, "orders/3.csv", "order_id,shop\n3,A\n")
    run(project, "orders")
    assert state(project, repaired)[0] == "loaded"
    assert state(project, other)[0] == "quarantined"
    assert state(project, discarded)[0] == "discarded"
    assert state(project, held)[0] == "superseded"
    assert why in state(project, held)[1]
    assert "Then a newer version of this key, uploaded at" in state(project, held)[1]


def test_a_file_that_is_still_wrong_leaves_the_held_one_held(project: Project) -> None:
    load_shops(project)
    held = drop(project, "orders/1.csv", "number,shop\n1,A\n")
    run(project, "orders")
    again = drop(project, "orders/1.csv", "number,shop\n10,A\n")
    run(project, "orders")
    assert [state(project, obj)[0] for obj in (held, again)] == ["quarantined", "quarantined"]
    repaired = drop(project, "orders/1.csv", "order_id,shop\n1,A\n")
    run(project, "orders")
    told = [state(project, obj)[0] for obj in (held, again, repaired)]
    assert told == ["superseded", "superseded", "loaded"]


def test_a_replaced_table_has_no_use_for_an_older_held_file_of_any_name(project: Project) -> None:
    held = drop(project, "shops/monday.csv", "city\nAachen\n")
    run(project, "shops")
    assert state(project, held)[0] == "quarantined"
    newer = drop(project, "shops/tuesday.csv", "shop,city\nA,Aachen\n")
    run(project, "shops")
    assert state(project, held)[0] == "superseded"
    assert f"Then {newer.url}, uploaded at" in state(project, held)[1]


def test_a_held_file_stays_held_beside_an_older_one_that_is_loaded_late(project: Project) -> None:
    load_shops(project)
    newer = drop(project, "orders/1.csv", "number,shop\n1,A\n")
    run(project, "orders")
    older = drop(project, "orders/1.csv", "order_id,shop\n1,A\n", seconds_ago=60)
    run(project, "orders")
    assert [state(project, obj)[0] for obj in (newer, older)] == ["quarantined", "loaded"]


def test_a_wrong_file_that_comes_after_a_newer_one_is_superseded(project: Project) -> None:
    load_shops(project)
    newer = drop(project, "orders/1.csv", "order_id,shop\n1,A\n")
    run(project, "orders")
    older = drop(project, "orders/1.csv", "number,shop\n1,A\n", seconds_ago=60)
    run(project, "orders")
    assert [state(project, obj)[0] for obj in (newer, older)] == ["loaded", "superseded"]
    assert "order_id" in state(project, older)[1]


def test_a_file_on_which_runs_died_makes_room_for_the_one_that_takes_its_place(project: Project) -> None:
    held = drop(project, "shops/shops.csv", "shop,city\nA,Aachen\n")
    die_on(project, "one", "two", "three")
    run(project, "shops")
    assert state(project, held)[0] == "quarantined"
    drop(project, "shops/shops.csv", "shop,city\nB,Berlin\n")
    run(project, "shops")
    assert state(project, held)[0] == "superseded"


def die_on(project: Project, *run_ids: str) -> None:
    for run_id in run_ids:
        ingest.claim(project, "shops", run_id)
        project.ledger.release(run_id, "It was killed.")


def test_a_file_that_is_given_up_after_a_newer_one_was_loaded_is_superseded(project: Project) -> None:
    held = drop(project, "shops/shops.csv", "shop,city\nA,Aachen\n")
    die_on(project, "one")
    newer = drop(project, "shops/shops.csv", "shop,city\nB,Berlin\n")
    run(project, "shops")
    die_on(project, "two", "three")
    run(project, "shops")
    assert [state(project, obj)[0] for obj in (held, newer)] == ["superseded", "loaded"]
    assert "3 runs died" in state(project, held)[1]


def test_a_file_whose_rows_stand_is_not_superseded_by_its_duplicate(project: Project) -> None:
    text = "shop,city\nA,Aachen\n"
    one = drop(project, "shops/shops.csv", text, seconds_ago=60)
    run(project, "shops")
    project.ledger.reopen({one.object_id: "shops"}, clock.now(), requested_by="test", states=["loaded"])
    die_on(project, "one", "two", "three")
    run(project, "shops")
    two = drop(project, "shops/shops.csv", text)
    run(project, "shops")
    assert [state(project, obj)[0] for obj in (one, two)] == ["quarantined", "duplicate"]
    project.ledger.reopen({one.object_id: "shops"}, clock.now(), requested_by="test", states=["quarantined"])
    die_on(project, "four", "five", "six")
    run(project, "shops")
    assert [state(project, obj)[0] for obj in (one, two)] == ["quarantined", "duplicate"]
    assert rows(project, "SELECT shop FROM shops") == [("A",)]


def test_a_file_held_while_a_newer_one_is_loaded_beside_it_is_superseded(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = drop(project, "shops/shops.csv", "city\nAachen\n")
    batch = ingest.claim(project, "shops", "first")
    tell = outcomes.tell
    newer: list[ObjectVersion] = []

    def tell_late(*args: Any, **options: Any) -> None:
        if not newer:
            newer.append(drop(project, "shops/shops.csv", "shop,city\nB,Berlin\n"))
            run(project, "shops", "second")
        tell(*args, **options)

    monkeypatch.setattr(outcomes, "tell", tell_late)
    carry_through(project, batch)
    ingest.finish(project, batch, None)
    assert [state(project, obj)[0] for obj in (held, *newer)] == ["superseded", "loaded"]


@pytest.mark.parametrize("dataset", ["orders", "shops"])
def test_a_backfill_of_what_is_replaced_meanwhile_does_not_call_it_loaded(
    project: Project, dataset: str
) -> None:
    load_shops(project)
    text = {"orders": "order_id,shop\n{},A\n", "shops": "shop,city\n{},Aachen\n"}[dataset]
    old = drop(project, f"{dataset}/old.csv", text.format(1))
    run(project, dataset)
    backfill.run(project.ledger, project.registry, backfill.Selection(dataset=dataset), "test")
    if dataset == "shops":
        (project.settings.landing_dir or Path()).joinpath("shops/old.csv").unlink()
    new = drop(project, f"{dataset}/{'old' if dataset == 'orders' else 'new'}.csv", text.format(2))
    run(project, dataset)
    assert [state(project, obj)[0] for obj in (old, new)] == ["superseded", "loaded"]
    assert rows(project, f"SELECT count(*) FROM {dataset}") == [(1,)]


def test_what_a_step_stumbles_over_holds_that_object_alone(project: Project) -> None:
    load_shops(project)
    objects = [
        drop(project, f"dated/{n}.csv", f"day\n{day}\n") for n, day in enumerate(("2026-01-01", "tomorrow"))
    ]
    run(project, "dated")
    assert [state(project, obj)[0] for obj in objects] == ["loaded", "quarantined"]
    assert "parse dates" in state(project, objects[1])[1]
    entry = project.ledger.ask(queries.by_id, [objects[1].object_id])[objects[1].object_id]
    assert (entry.rows_read, entry.rows_loaded, entry.rows_rejected) == (1, 0, 1)


def test_a_full_disk_is_a_passing_trouble(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    load_shops(project)
    drop(project, "orders/1.csv", "order_id,shop\n1,A\n")
    batch = ingest.claim(project, "orders", "run")

    def full(*_: Any) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tidegate.stages.staging.Staging.write", full)
    with pytest.raises(ObjectsLeftError, match="No space left"):
        ingest.validate_batch(project, batch)


def test_a_claim_that_finds_the_warehouse_locked_ends_and_counts_no_crash(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    obj = drop(project, "shops/shops.csv", "shop,city\nA,Aachen\n")
    ingest.claim(project, "shops", "one")
    project.ledger.release("one", "It was killed.")

    def locked(_: Any) -> None:
        raise WarehouseLockedError("It is held by process 1.")

    with monkeypatch.context() as patch:
        patch.setattr(project.warehouse, "commits", locked)
        with pytest.raises(WarehouseLockedError):
            ingest.claim(project, "shops", "two")
    assert state(project, obj)[0] == "failed"
    assert project.ledger.ask(queries.open_leases) == []
    run(project, "shops", "two")
    assert state(project, obj)[0] == "loaded"


def test_a_run_taken_for_dead_loads_nothing_when_it_comes_back(project: Project) -> None:
    load_shops(project)
    drop(project, "orders/1.csv", "order_id,shop\n1,A\n")
    slow = ingest.claim(project, "orders", "slow")
    verdicts = ingest.validate_batch(project, slow)
    project.ledger.release("slow", "It was silent.")
    run(project, "orders", "quick")
    with pytest.raises(ClaimLostError):
        ingest.load_batch(project, slow, verdicts)
    assert rows(project, "SELECT count(*) FROM orders") == [(1,)]


def test_a_backfill_of_loaded_objects_changes_no_row_count(project: Project) -> None:
    load_shops(project)
    for n in (1, 2, 3):
        drop(project, f"orders/{n}.csv", f"order_id,shop\n{n},A\n")
    run(project, "orders")
    before = rows(project, "SELECT order_id, city FROM orders ORDER BY 1")
    selection = backfill.Selection(dataset="orders")
    chosen = backfill.run(project.ledger, project.registry, selection, "test")
    assert len(chosen.objects) == 3
    run(project, "orders")
    assert rows(project, "SELECT order_id, city FROM orders ORDER BY 1") == before
    assert {entry.attempt for entry in project.ledger.ask(queries.find, dataset="orders")} == {2}


def test_a_backfill_that_fails_keeps_what_was_loaded(project: Project) -> None:
    load_shops(project)
    obj = drop(project, "orders/1.csv", "order_id,shop\n1,A\n")
    run(project, "orders")
    (project.settings.landing_dir or Path()).joinpath("orders/1.csv").unlink()
    backfill.run(project.ledger, project.registry, backfill.Selection(dataset="orders"), "test")
    run(project, "orders")
    assert rows(project, "SELECT count(*) FROM orders") == [(1,)]
    assert state(project, obj)[0] == "loaded"
    assert "stay" in state(project, obj)[1]


def test_a_backfill_plan_chooses_by_prefix_time_and_version_and_changes_nothing(project: Project) -> None:
    load_shops(project)
    first = drop(project, "orders/1.csv", "order_id,shop\n1,A\n")
    second = drop(project, "orders/2.csv", "order_id,shop\n2,A\n")
    run(project, "orders")

    def chosen(**choice: Any) -> list[str]:
        plan = backfill.plan(project.ledger, project.registry, backfill.Selection(**choice))
        return [entry.key for entry in plan.objects]

    seq = project.ledger.last_seq()
    assert chosen(prefix="orders/2") == ["orders/2.csv"]
    assert chosen(dataset="orders", until=second.uploaded_at) == ["orders/1.csv"]
    assert chosen(dataset="orders", since=first.uploaded_at) == ["orders/1.csv", "orders/2.csv"]
    assert chosen(dataset="orders", outdated_only=True) == []
    assert project.ledger.last_seq() == seq


def test_reconcile_finds_what_no_event_told_and_then_nothing(project: Project) -> None:
    load_shops(project)
    landing = project.settings.landing_dir or Path()
    (landing / "orders").mkdir()
    for n in (1, 2):
        (landing / f"orders/{n}.csv").write_text(f"order_id,shop\n{n},A\n")
    (landing / "stray.txt").write_text("x")

    def found(*, dry_run: bool = False) -> tuple[int, int]:
        summary = reconcile(project.settings, project.ledger, project.registry, dry_run=dry_run)
        return summary.recorded, summary.known

    assert found(dry_run=True) == (3, 1)
    assert found() == (3, 1)
    assert found() == (0, 4)
    run(project, "orders")
    assert rows(project, "SELECT count(*) FROM orders") == [(2,)]
    assert state_counts(project) == {"loaded": 3, "unmatched": 1}


def test_staged_files_of_runs_long_over_are_removed_and_those_at_work_are_kept(project: Project) -> None:
    load_shops(project)
    drop(project, "orders/1.csv", "order_id,shop\n1,A\n")
    ingest.validate_batch(project, ingest.claim(project, "orders", "at work"))
    for name, age in (("long over", 100), ("over", 1), ("at work", 100)):
        folder = project.staging(name).folder
        folder.mkdir(parents=True, exist_ok=True)
        then = clock.now().timestamp() - 3600 * age
        os.utime(folder, (then, then))
    assert clean_staging(project.ledger, project.settings) == ["long over"]


def state_counts(project: Project) -> dict[str, int]:
    counts: dict[str, int] = {}
    for entry in project.ledger.ask(queries.find):
        counts[entry.state] = counts.get(entry.state, 0) + 1
    return counts


def test_staged_verdicts_survive_a_torn_note(project: Project) -> None:
    load_shops(project)
    drop(project, "orders/1.csv", "order_id,shop\n1,A\n")
    batch = ingest.claim(project, "orders", "run")
    ingest.validate_batch(project, batch)
    notes = next(project.staging("run").folder.glob("validated-*.jsonl"))
    notes.write_bytes(notes.read_bytes() + b'{"object_id": "torn')
    assert len(ingest.finished(project, batch, EventType.VALIDATED)) == 1
    assert len(ingest.validate_batch(project, batch)) == 1
    shutil.rmtree(project.staging("run").folder)
    assert ingest.finished(project, batch, EventType.VALIDATED) == []
