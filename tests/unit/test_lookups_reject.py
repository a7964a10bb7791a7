"""Lookup(unmatched="reject"): rows without a match are refused, found, and redriven."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.lookup_kit import HEADER, Shopping, closings, shops
from tidegate.errors import WarehouseUnavailableError
from tidegate.events import EventType
from tidegate.ledger import queries
from tidegate.operations import ingest, quarantine
from tidegate.operations.quarantine import Selection
from tidegate.operations.why import tell_why

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Make = Callable[..., Shopping]

pytestmark = pytest.mark.slow

REJECTIONS = (
    'SELECT record, line, "offset", "column", rule, value, message, raw FROM tidegate.rejected_rows '
    "WHERE closed_at IS NULL ORDER BY record, message"
)


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    monkeypatch.syspath_prepend(tmp_path)
    made: list[Shopping] = []

    def build(*enrich: str, more: str = "") -> Shopping:
        made.append(Shopping(tmp_path, *enrich, more=more))
        return made[0]

    yield build
    made[0].project.close()


def test_a_row_without_a_match_is_rejected_with_its_place_and_a_sentence(make: Make) -> None:
    system = make(shops("reject"))
    system.load_shops("A", "B")
    text = '1,A,\r\n2,"Z\nZ",\r\nthree,A,\r\n\r\n4,,\r\n5,Ü,\r\n'
    obj = system.drop("orders/1.csv", HEADER + text)
    system.run()
    assert system.table() == [(1, "in A"), (4, None)]
    said = "{} is {}, which shops does not have in its column shop."
    found = system.query(REJECTIONS)
    assert [row for row in found if row[4] == "lookup"] == [
        (2, 3, 24, "shop", "lookup", "Z\nZ", said.format("shop", r"'Z\nZ'"), '2,"Z\nZ",'),
        (5, 8, 51, "shop", "lookup", "Ü", said.format("shop", "'Ü'"), "5,Ü,"),
    ]
    assert [(row[0], row[4]) for row in found] == [(2, "lookup"), (3, "type"), (5, "lookup")]
    whole = (HEADER + text).encode()
    assert whole[51:].startswith("5,Ü".encode())
    assert whole[24:].startswith(b"2,")
    assert system.counts(obj) == (5, 2, 3, 0)
    (enriched,) = [
        event
        for event in system.project.ledger.ask(queries.story, obj.object_id)
        if event.type is EventType.ENRICHED
    ]
    assert (enriched.data["rows_valid"], enriched.data["rows_rejected"]) == (2, 3)
    assert enriched.data["rows_unmatched"] == {"shops": 3}


def test_the_story_the_quarantine_and_the_report_tell_of_it(make: Make) -> None:
    system = make(shops("reject"))
    system.load_shops("A")
    obj = system.orders("1", "1,A,", "2,ZZ,")
    system.run()
    said = "shop is 'ZZ', which shops does not have in its column shop."
    (story,) = tell_why(system.project.settings, "1.csv")
    assert [(one.line, one.reasons[0].message, one.raw) for one in story.held] == [(3, said, "2,ZZ,")]
    (held,) = quarantine.find(system.project, Selection(rule="lookup"))
    assert (held.entry.object_id, held.whole, held.rows) == (obj.object_id, False, 1)
    folder = system.root / str(system.entry(obj).report).removeprefix("file://")
    assert f'"2,ZZ,",3,2,"{said}"' in (folder / "rejected.csv").read_text("utf-8-sig")


def test_a_row_that_misses_in_two_lookups_has_two_reasons_and_counts_once(make: Make) -> None:
    system = make(shops("reject"), closings("reject"))
    system.load_shops("A")
    system.load_closings("A,2026-01-31")
    obj = system.orders("1", "1,A,2026-01-31", "2,B,2026-01-31", "3,A,2026-02-01", "4,A,", "5,,2026-01-31")
    system.run()
    shop, closing = "which shops does not have in its column shop.", "which together closings does not have"
    assert [(row[0], row[3], row[5], row[6]) for row in system.query(REJECTIONS)] == [
        (
            *(2, "shop, day", "B, 2026-01-31"),
            f"shop is 'B' and day is '2026-01-31', {closing} in its columns name, day.",
        ),
        (2, "shop", "B", f"shop is 'B', {shop}"),
        (
            *(3, "shop, day", "A, 2026-02-01"),
            f"shop is 'A' and day is '2026-02-01', {closing} in its columns name, day.",
        ),
    ]
    assert system.table() == [(1, "in A"), (4, "in A"), (5, None)]
    assert system.counts(obj) == (5, 3, 2, 0)


def test_a_rejecting_lookup_beside_a_keeping_one_refuses_only_its_own(make: Make) -> None:
    system = make(shops("keep"), closings("reject"))
    system.load_shops("A")
    system.load_closings("B,2026-01-31")
    system.orders("1", "1,B,2026-01-31", "2,A,2026-01-31")
    system.run()
    assert system.table() == [(1, None)]
    assert [row[0] for row in system.query(REJECTIONS)] == [2]


@pytest.mark.parametrize(
    ("limit", "lines", "state"),
    [
        ("max_rows=2", ["0,A,", "1,A,", "2,Z,"], "loaded"),
        ("max_rows=2", ["0,A,", "1,A,", "2,Z,", "3,Z,"], "quarantined"),
        ("max_share=0.5", ["0,A,", "1,A,", "2,Z,", "3,A,"], "loaded"),
        ("max_share=0.5", ["0,A,", "1,A,", "2,Z,"], "quarantined"),
        ("", ["0,A,", "2,Z,"], "quarantined"),
        ("", ["1,Z,", "2,Z,"], "quarantined"),
    ],
)
def test_the_budget_holds_on_the_sum_of_what_validation_and_lookups_refuse(
    make: Make, limit: str, lines: list[str], state: str
) -> None:
    system = make(shops("reject"), more=f"budget=Budget({limit})")
    system.load_shops("A")
    obj = system.orders("1", *lines)
    system.run()
    refused = [number for number, line in enumerate(lines, 1) if line[0] == "0" or "Z" in line]
    assert system.state(obj) == state
    assert [row[0] for row in system.query(REJECTIONS)] == refused
    if state == "quarantined":
        assert f"{len(refused)} of {len(lines)} rows were refused" in system.entry(obj).reason
        assert system.project.ledger.ask(queries.broken_rules, [obj.object_id]) == {obj.object_id: "budget"}
        assert system.counts(obj) == (len(lines), 0, len(lines), 0)
    else:
        assert system.counts(obj) == (len(lines), len(lines) - len(refused), len(refused), 0)


@pytest.mark.parametrize("load", ["Append()", 'Merge(key=["order_id"])', "Replace()"])
def test_a_redrive_loads_what_the_reference_has_by_now_and_leaves_the_good_rows(
    make: Make, load: str
) -> None:
    system = make(shops("reject"), more=f"load={load}")
    system.load_shops("A")
    obj = system.orders("1", "1,A,", "2,B,", "3,C,")
    system.run()
    loaded_at = "SELECT _loaded_at FROM orders WHERE order_id = 1"
    before = system.query(loaded_at)
    # The reference has lost A meanwhile: a row that was loaded stays, with what it was given.
    system.load_shops("B")
    plan = quarantine.redrive(system.project, Selection(rule="lookup"), "a test")
    assert [(one.entry.object_id, one.rows) for one in plan.held] == [(obj.object_id, 2)]
    system.run()
    assert system.table() == [(1, "in A"), (2, "in B")]
    assert system.query(loaded_at) == before
    assert system.counts(obj) == (3, 2, 1, 0)
    closed = "SELECT record, closed_reason FROM tidegate.rejected_rows ORDER BY record, attempt"
    assert system.query(closed) == [(2, "redriven"), (3, "tried_again"), (3, None)]


def test_an_object_held_for_its_budget_is_loaded_by_a_redrive_when_the_keys_are_there(make: Make) -> None:
    system = make(shops("reject"))
    system.load_shops("A")
    obj = system.orders("1", "1,Z,")
    system.run()
    assert system.state(obj) == "quarantined"
    system.load_shops("Z")
    assert system.state(obj) == "quarantined"
    quarantine.redrive(system.project, Selection(), "a test")
    system.run()
    assert (system.state(obj), system.table()) == ("loaded", [(1, "in Z")])


def test_of_several_objects_only_the_one_with_misses_has_rejected_rows(make: Make) -> None:
    system = make(shops("reject"))
    system.load_shops("A")
    good, bad, other = (
        system.orders("1", "1,A,"),
        system.orders("2", "2,Z,", "3,A,"),
        system.orders("3", "4,A,"),
    )
    system.run()
    assert [system.counts(obj)[2] for obj in (good, bad, other)] == [0, 1, 0]
    assert [system.state(obj) for obj in (good, bad, other)] == ["loaded"] * 3
    assert [row[0] for row in system.table()] == [1, 3, 4]


def test_a_retry_after_a_failed_load_refuses_the_same_rows_once(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = make(shops("reject"))
    system.load_shops("A")
    obj = system.orders("1", "1,A,", "2,Z,", "0,A,")

    def fail(*_: object, **__: object) -> None:
        raise WarehouseUnavailableError("Not now.")

    with monkeypatch.context() as patch:
        patch.setattr(system.project.warehouse, "load", fail)
        batch = ingest.claim(system.project, "orders", "run")
        verdicts = ingest.validate_batch(system.project, batch)
        verdicts = ingest.normalize_batch(system.project, batch, verdicts)
        enriched = ingest.enrich_batch(system.project, batch, verdicts)
        assert ingest.enrich_batch(system.project, batch, verdicts) == enriched
        # A kill may come after the files and before the verdict is noted.
        (system.project.staging("run").folder / "enriched-1.0.0.jsonl").unlink()
        assert ingest.enrich_batch(system.project, batch, verdicts) == enriched
        with pytest.raises(WarehouseUnavailableError):
            ingest.load_batch(system.project, batch, enriched)
        ingest.finish(system.project, batch, "broken")
    system.run(flow_run_id="run")
    assert system.counts(obj) == (3, 1, 2, 0)
    assert [(row[0], row[4]) for row in system.query(REJECTIONS)] == [
        (2, "lookup"),
        (3, "greater_than_or_equal_to(1)"),
    ]


def test_origins_that_do_not_fit_in_memory_are_the_same(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidegate.stages.staging._SPOOL_BYTES", 1)
    system = make(shops("reject"))
    system.load_shops("A")
    system.orders("1", *(f"{number},{'A' if number % 7 else 'Z'}," for number in range(1, 1_000)))
    system.run()
    found = [(row[0], row[1], row[7]) for row in system.query(REJECTIONS)]
    assert found == [(number, number + 1, f"{number},Z,") for number in range(7, 1_000, 7)]


def test_origins_are_staged_only_where_a_lookup_may_reject(make: Make) -> None:
    system = make(shops("keep"), closings("hold"))
    system.load_shops("A")
    system.orders("1", "1,A,")
    (verdict,) = ingest.validate_batch(system.project, ingest.claim(system.project, "orders", "run"))
    assert verdict.origins is None
    assert not list(system.project.staging("run").folder.rglob("origins*"))


def test_a_warehouse_that_was_begun_anew_makes_references_anew(make: Make) -> None:
    system = make(shops("reject"))
    system.load_shops("A")
    system.load_shops("B")
    system.project.settings.warehouse_path.unlink()
    system.load_shops("C")
    order = system.orders("1", "1,C,", "2,B,")
    system.run()
    assert system.table() == [(1, "in C")]
    assert system.counts(order) == (2, 1, 1, 0)
