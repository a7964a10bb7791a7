"""The decisions of a load, in memory: for every order of arrival of a few uploads."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.contracts import Append, LoadPolicy, Merge, Replace
from tidegate.objects import ObjectVersion
from tidegate.warehouse import Commit, LoadOutcome, LoadRequest, Outcome
from tidegate.warehouse.plan import EMPTY, Known, Plan, newer_in_dataset, plan_batch

START = datetime(2024, 1, 1, tzinfo=UTC)


def version(key: str, at: int, sequencer: str | None = None) -> ObjectVersion:
    return ObjectVersion(
        store="s3",
        bucket="b",
        key=key,
        version=f"v{at}",
        size=1,
        uploaded_at=START + timedelta(seconds=at),
        sequencer=sequencer,
    )


def request(one: ObjectVersion, content: str, held: str | None = None, attempt: int = 1) -> LoadRequest:
    return LoadRequest(
        object=one,
        content_sha256=content,
        contract_version="1.0.0",
        attempt=attempt,
        rows_read=1,
        rows_valid=1,
        rows_rejected=0,
        rows=None,
        rejected=None,
        held=held,
    )


@dataclass
class Shelf:
    """A warehouse that keeps, of each object, its content."""

    policy: LoadPolicy
    known: dict[str, Known] = field(default_factory=dict)
    table: dict[str, str] = field(default_factory=dict)

    def load(self, *requests: LoadRequest) -> Plan:
        plan = plan_batch(self.policy, requests, self.known)
        for object_id in plan.leaving:
            del self.table[object_id]
        for one in plan.decisions:
            if one.retained:
                continue
            if one.outcome is Outcome.LOADED:
                self.table[one.object_id] = one.request.content_sha256
            self.known[one.object_id] = Known(
                object=one.request.object,
                content_sha256=one.request.content_sha256,
                commit=commit(one.request, one.outcome),
                held=None,
                active=one.outcome is Outcome.LOADED,
                replaced=False,
                order_at=one.order_at,
            )
        for object_id, order_at in plan.moved_up.items():
            self.known[object_id] = replace(self.known[object_id], order_at=order_at)
        for object_id in plan.replaced:
            self.known[object_id] = replace(self.known[object_id], active=False, replaced=True)
        assert set(self.table) == {object_id for object_id, one in self.known.items() if one.active}
        return plan


def commit(one: LoadRequest, outcome: Outcome) -> Commit:
    return LoadOutcome(
        object_id=one.object.object_id,
        outcome=outcome,
        reason="",
        rows_read=1,
        rows_loaded=0,
        rows_rejected=0,
        rows_duplicate=1,
        contract_version="1.0.0",
        attempt=one.attempt,
        others=(),
        committed_at=START,
    )


uploads = st.lists(
    st.tuples(
        st.tuples(st.sampled_from("kl"), st.integers(0, 4)),
        st.sampled_from("XY"),
        st.sampled_from([None, None, "held"]),
    ),
    min_size=2,
    max_size=4,
    unique_by=lambda one: one[0],
)


@pytest.mark.slow
@pytest.mark.parametrize(
    "policy", [Append(), Merge(key=["id"]), Replace()], ids=lambda one: type(one).__name__
)
@settings(deadline=None)
@given(uploads=uploads)
def test_every_order_of_arrival_ends_alike(
    policy: LoadPolicy, uploads: list[tuple[tuple[str, int], str, str | None]]
) -> None:
    newest: dict[str, str] = {}
    for (key, _), content, held in sorted(uploads, key=lambda one: (one[0][1], one[0][0])):
        if held is None:
            newest["" if isinstance(policy, Replace) else key] = content
    for arrival in permutations(uploads):
        requests = [request(version(key, at), content, held) for (key, at), content, held in arrival]
        one_by_one, at_once = Shelf(policy), Shelf(policy)
        for each in requests:
            one_by_one.load(each)
            assert one_by_one.load(each).decisions == []
        at_once.load(*requests)
        for shelf in (one_by_one, at_once):
            assert sorted(shelf.table.values()) == sorted(newest.values())


def test_what_is_settled_does_not_contend_any_more() -> None:
    """Else every load of a key would read all its versions."""
    shelf = Shelf(Append())
    for at in range(10):
        shelf.load(request(version("k", at), "XYX"[at % 3], "held" if at == 4 else None))
    assert len([one for one in shelf.known.values() if one.contends]) == 2  # X stands, and its duplicate


def test_an_empty_file_is_held_under_replace_only() -> None:
    empty = replace(request(version("k", 1), "X"), rows_valid=0)
    [decision] = Shelf(Replace()).load(empty).decisions
    assert (decision.outcome, decision.reason) == (Outcome.QUARANTINED, EMPTY)
    for policy in (Append(), Merge(key=["id"]), Replace(allow_empty=True)):
        assert [one.outcome for one in Shelf(policy).load(empty).decisions] == [Outcome.LOADED]


def test_what_an_empty_text_hashes_to_is_no_duplicate_of_nothing() -> None:
    shelf = Shelf(Append())
    shelf.load(request(version("k", 1), ""))
    assert [one.outcome for one in shelf.load(request(version("k", 2), "")).decisions] == [Outcome.LOADED]


def test_across_keys_the_upload_time_decides_and_the_sequencer_within_one() -> None:
    early, late = version("k", 1, "0B"), version("k", 2, "0A")
    assert newer_in_dataset(early, late)
    assert newer_in_dataset(version("l", 2, "01"), early)
    assert newer_in_dataset(version("l", 1), version("k", 1))


def test_a_batch_of_many_versions_is_planned_in_no_time() -> None:
    plan = plan_batch(Replace(), [request(version("k", at), str(at)) for at in range(2000)], {})
    assert len(plan.loads) == 1
    assert len(plan.decisions) == 2000
