"""Lookup(unmatched="hold"): objects wait for keys that their reference lacks, and for no others."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.lookup_kit import Shopping, closings, shops
from tidegate import clock
from tidegate.ledger import queries
from tidegate.ledger.tables import PROJECTIONS, waits
from tidegate.operations import contract_test, ingest, quarantine
from tidegate.operations.quarantine import Selection
from tidegate.operations.why import tell_why
from tidegate.warehouse import HeldSelection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Make = Callable[..., Shopping]

pytestmark = pytest.mark.slow

HELD = ["uploaded", "claimed", "validated", "normalized", "quarantined", "reported"]
LOADED = ["claimed", "validated", "normalized", "enriched", "loaded", "reported"]


class Killed(BaseException):
    pass


def die(*_: Any, **__: Any) -> None:
    raise Killed


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    monkeypatch.syspath_prepend(tmp_path)
    made: list[Shopping] = []

    def build(*enrich: str, more: str = "") -> Shopping:
        made.append(Shopping(tmp_path, *enrich, more=more))
        return made[0]

    yield build
    made[0].project.close()


@pytest.fixture
def system(make: Make) -> Shopping:
    system = make(shops("hold"))
    system.load_shops("A")
    return system


def test_an_object_without_a_match_is_held_whole_and_says_which_keys_it_lacks(system: Shopping) -> None:
    obj = system.orders("1", "1,A,", *(f"{number},Z{number % 7},2026-01-31" for number in range(2, 12)))
    system.run()
    entry = system.entry(obj)
    assert entry.state == "quarantined"
    assert entry.reason == (
        "10 rows have keys in shop that shops does not have in its column shop: 'Z2', 'Z3', 'Z4', 'Z5', 'Z6' "
        "and 2 more. While nothing of it is loaded, it is tried again when shops is loaded within 600 s "
        "of the upload; otherwise run `tidegate quarantine redrive --dataset orders --rule lookup`."
    )
    assert system.counts(obj) == (11, 0, 11, 0)
    assert system.project.warehouse.held(HeldSelection(dataset="orders")) == []
    (held,) = quarantine.find(system.project, Selection(rule="lookup"))
    assert (held.entry.object_id, held.whole, held.rule, held.rows) == (obj.object_id, True, "lookup", 11)


def test_when_the_reference_is_loaded_anew_it_is_pending_in_the_same_moment(system: Shopping) -> None:
    obj = system.orders("1", "1,A,", "2,Z,")
    system.run()
    system.load_shops("A", "Z")
    assert system.state(obj) == "pending"
    assert system.entry(obj).reason == "shops was loaded anew"
    system.run()
    assert system.table() == [(1, "in A"), (2, "in Z")]
    assert system.counts(obj) == (2, 2, 0, 0)
    assert system.story(obj) == [*HELD, "reopened", *LOADED]
    (story,) = tell_why(system.project.settings, "1.csv")
    (held,) = [event.data for event in story.events if event.type.verb == "quarantined"]
    assert list(held["waits_until"]) == ["shops"]


def test_a_reference_that_lacks_the_key_still_holds_it_until_the_next_one(system: Shopping) -> None:
    obj = system.orders("1", "1,Z,")
    system.run()
    for names in (("A", "B"), ("A", "C")):
        system.load_shops(*names)
        assert system.state(obj) == "pending"
        system.run()
        assert system.state(obj) == "quarantined"
    system.load_shops("Z")
    system.run()
    assert system.state(obj) == "loaded"


def test_another_datasets_load_and_its_own_take_nothing_up(make: Make) -> None:
    system = make(shops("hold"), closings("keep"))
    system.load_shops("A")
    system.load_closings("A,2026-01-31")
    obj = system.orders("1", "1,Z,")
    system.run()
    system.load_closings("A,2026-02-28")
    system.orders("2", "2,A,")
    system.run()
    assert system.state(obj) == "quarantined"


def test_of_several_objects_only_the_one_with_misses_is_held_and_taken_up(system: Shopping) -> None:
    good, bad = system.orders("1", "1,A,"), system.orders("2", "2,Z,")
    null, other = system.orders("3", "3,,2026-01-31"), system.orders("4", "4,A,")
    system.run()
    assert [system.state(one) for one in (good, bad, null, other)] == [
        "loaded",
        "quarantined",
        "loaded",
        "loaded",
    ]
    assert system.table() == [(1, "in A"), (3, None), (4, "in A")]
    system.load_shops("A", "Z")
    assert [system.state(one) for one in (good, bad, null, other)] == [
        "loaded",
        "pending",
        "loaded",
        "loaded",
    ]
    system.run()
    assert [row[0] for row in system.table()] == [1, 2, 3, 4]


def test_after_its_time_only_a_redrive_takes_it_up(make: Make) -> None:
    system = make(shops("hold", ", hold_seconds=0"))
    system.load_shops("A")
    obj = system.orders("1", "1,Z,")
    system.run()
    system.load_shops("Z")
    assert system.state(obj) == "quarantined"
    quarantine.redrive(system.project, Selection(rule="lookup"), "a test")
    system.run()
    assert (system.state(obj), system.table()) == ("loaded", [(1, "in Z")])


def test_its_time_runs_from_the_upload(system: Shopping, monkeypatch: pytest.MonkeyPatch) -> None:
    early = system.orders("1", "1,Z,")
    now = clock.now()
    with monkeypatch.context() as patch:
        patch.setattr(clock, "now", lambda: now + timedelta(seconds=500))
        late = system.orders("2", "2,Z,")
        system.run()
    monkeypatch.setattr(clock, "now", lambda: now + timedelta(seconds=700))
    system.load_shops("Y")
    assert [system.state(one) for one in (early, late)] == ["quarantined", "pending"]


def test_two_holding_lookups_wait_for_both(make: Make) -> None:
    system = make(shops("hold"), closings("hold"))
    system.load_shops("A")
    system.load_closings("A,2026-01-31")
    obj = system.orders("1", "1,Z,2026-01-31")
    system.run()
    told = "1 row has a key in shop, day that closings does not have in its columns name, day"
    assert f"; {told}: 'Z'/'2026-01-31'." in system.entry(obj).reason
    system.load_closings("Z,2026-01-31")
    system.run()
    assert system.state(obj) == "quarantined"
    assert "closings" not in system.entry(obj).reason
    system.load_shops("Z")
    system.run()
    assert system.state(obj) == "loaded"


def test_what_a_rejecting_lookup_refuses_is_kept_beside_and_counted_once(make: Make) -> None:
    system = make(shops("hold"), closings("reject"))
    system.load_shops("A")
    system.load_closings("A,2026-01-31")
    obj = system.orders("1", "1,Z,", "2,A,2026-02-01", "3,A,2026-01-31", "4,A,")
    system.run()
    assert system.state(obj) == "quarantined"
    assert [line.rows for line in system.project.warehouse.held(HeldSelection(dataset="orders"))] == [1]
    system.load_shops("A", "Z")
    system.run()
    assert system.counts(obj) == (4, 3, 1, 0)


def test_a_reference_that_was_never_loaded_is_waited_for(make: Make) -> None:
    system = make(shops("hold"))
    obj = system.orders("1", "1,A,")
    system.run()
    assert system.state(obj) == "quarantined"
    assert (
        "It needs the reference shops, which has not been loaded. While nothing of it is loaded, it is tried"
        in system.entry(obj).reason
    )
    system.load_shops("A")
    system.run()
    assert system.state(obj) == "loaded"


def test_a_reference_loaded_while_the_object_was_enriched_is_not_missed(system: Shopping) -> None:
    obj = system.orders("1", "1,Z,")
    batch = ingest.claim(system.project, "orders", "slow")
    verdicts = ingest.validate_batch(system.project, batch)
    verdicts = ingest.normalize_batch(system.project, batch, verdicts)
    verdicts = ingest.enrich_batch(system.project, batch, verdicts)
    system.load_shops("Z")
    assert system.state(obj) == "running"
    ingest.load_batch(system.project, batch, verdicts)
    ingest.finish(system.project, batch, None)
    assert system.story(obj)[-2:] == ["quarantined", "reopened"]
    system.run()
    assert system.state(obj) == "loaded"


def test_a_discarded_or_redriven_object_waits_no_more(system: Shopping) -> None:
    gone, taken = system.orders("1", "1,Z,"), system.orders("2", "2,Z,")
    system.run()
    quarantine.discard(system.project, Selection(object="1.csv"), by="ann", reason="Not wanted.")
    quarantine.redrive(system.project, Selection(object="2.csv"), "a test")
    system.load_shops("Z")
    assert system.story(taken).count("reopened") == 1
    assert [system.state(one) for one in (gone, taken)] == ["discarded", "pending"]


@pytest.mark.parametrize("published", [False, True])
def test_killed_after_the_reference_was_committed_the_next_start_takes_it_up(
    system: Shopping, monkeypatch: pytest.MonkeyPatch, *, published: bool
) -> None:
    obj = system.orders("1", "1,Z,")
    system.run()
    system.drop("shops/new.csv", "shop,town\nZ,in Z\n")
    with monkeypatch.context() as patch:
        patch.setattr("tidegate.operations.outcomes.tell", die)
        if not published:
            patch.setattr(system.project.references, "publish", die)
        with pytest.raises(Killed):
            system.run("shops", "killed")
    assert system.state(obj) == "quarantined"
    system.project.ledger.release("killed", "It was killed.")
    system.run("shops")
    assert system.state(obj) == "pending"
    system.run()
    assert (system.state(obj), system.table()) == ("loaded", [(1, "in Z")])


def test_killed_after_the_hold_was_committed_the_object_is_tried_once_more_and_waits(
    system: Shopping, monkeypatch: pytest.MonkeyPatch
) -> None:
    obj = system.orders("1", "1,Z,")
    with monkeypatch.context() as patch:
        patch.setattr("tidegate.operations.outcomes.tell", die)
        with pytest.raises(Killed):
            system.run(flow_run_id="killed")
    system.project.ledger.release("killed", "It was killed.")
    system.run()
    assert system.state(obj) == "pending"
    system.run()
    assert system.state(obj) == "quarantined"
    assert system.project.ledger.ask(queries.broken_rules, [obj.object_id]) == {obj.object_id: "lookup"}
    system.run()
    assert system.state(obj) == "quarantined"
    system.load_shops("Z")
    system.run()
    assert system.state(obj) == "loaded"


def test_the_log_alone_tells_who_waits_for_what(system: Shopping) -> None:
    one, two = system.orders("1", "1,Z,"), system.orders("2", "2,Y,")
    system.run()
    before = system.dump()
    assert len(before[PROJECTIONS.index(waits)]) == 2
    system.project.ledger.rebuild()
    assert system.dump() == before
    system.load_shops("Y")
    assert [system.state(obj) for obj in (one, two)] == ["pending", "pending"]
    system.run()
    before = system.dump()
    assert len(before[PROJECTIONS.index(waits)]) == 1
    system.project.ledger.rebuild()
    assert system.dump() == before


def test_a_version_that_is_held_leaves_the_one_before_in_the_table(system: Shopping) -> None:
    system.orders("1", "1,A,")
    system.run()
    obj = system.orders("1", "1,A,", "2,Z,")
    system.run()
    assert (system.state(obj), system.table()) == ("quarantined", [(1, "in A")])
    system.load_shops("A", "Z")
    system.run()
    assert (system.state(obj), system.table()) == ("loaded", [(1, "in A"), (2, "in Z")])


def test_a_contract_tried_on_what_a_lookup_held_finds_nothing_new(system: Shopping) -> None:
    system.orders("1", "1,A,", "2,Z,", "0,A,")
    system.run()
    outcome = contract_test.try_contract(system.project, "orders", last=0, quarantine=True)
    (tried,) = outcome.objects
    assert (tried.accepted_before, tried.refused_before) == (2, 1)
    assert (tried.accepted_now, tried.newly_accepted, tried.newly_refused) == (2, 0, 0)
