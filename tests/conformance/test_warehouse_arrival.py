"""Whatever the order of arrival, the cut into batches and the repetitions, the table is the same."""

import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conformance.warehouse_kit import START, WAREHOUSES, Stage, version
from tidegate.contracts import Append, LoadPolicy, Merge, Replace
from tidegate.warehouse import LoadRequest, Outcome

POLICIES = [Append(), Merge(key=["id"], order_by="changed"), Merge(key=["id"]), Replace()]

Row = tuple[Any, ...]

rows = st.lists(
    st.tuples(st.sampled_from([1, 2, None]), st.sampled_from("xy"), st.sampled_from([0, 1, None])), max_size=3
)


@dataclass(frozen=True)
class Upload:
    key: str
    at: int
    rows: tuple[Row, ...]
    held: bool


@st.composite
def histories(draw: st.DrawFn, *, alike: bool) -> list[Upload]:
    """Uploads of a few keys; `alike`: of a few contents, so that versions repeat each other."""
    places = draw(
        st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 5)), min_size=2, max_size=5, unique=True)
    )
    contents = (
        st.sampled_from(draw(st.lists(rows.map(tuple), min_size=2, max_size=2))) if alike else rows.map(tuple)
    )
    return [
        Upload(key, at, draw(contents), draw(st.sampled_from([False, False, False, True])))
        for key, at in places
    ]


def standing(policy: LoadPolicy, uploads: Sequence[Upload]) -> list[Upload]:
    """The objects that stand: per key, or in all, the newest that can be loaded."""
    newest: dict[str, Upload] = {}
    for one in sorted(uploads, key=lambda one: (one.at, one.key)):
        if one.held or (isinstance(policy, Replace) and not one.rows):
            continue
        newest["" if isinstance(policy, Replace) else one.key] = one
    return sorted(newest.values(), key=lambda one: (one.at, one.key))


def table(policy: LoadPolicy, uploads: Sequence[Upload]) -> list[Row]:
    """The table that the objects standing make."""
    everything = [
        (one.at, one.key, number, row)
        for one in standing(policy, uploads)
        for number, row in enumerate(one.rows)
    ]
    if not isinstance(policy, Merge):
        return in_order(row for *_, row in everything)
    by_key: defaultdict[Any, list[Any]] = defaultdict(list)
    for at, key, number, row in everything:
        by_key[row[0] if row[0] is not None else (at, key, number)].append((at, key, number, row))

    def rank(entry: Any) -> Any:
        at, key, number, row = entry
        changed = -1 if row[2] is None or policy.order_by is None else row[2]
        return (changed, at, key, number)

    return in_order(max(group, key=rank)[3] for group in by_key.values())


def in_order(found: Any) -> list[Row]:
    return sorted(found, key=repr)


class Rig:
    """A stage in a folder of its own, for one example."""

    def __init__(self, kind: str, folder: str, policy: LoadPolicy) -> None:
        self.stage = Stage(Path(folder) / "staging", WAREHOUSES[kind](Path(folder)), policy)

    def request(self, upload: Upload, attempt: int = 1) -> LoadRequest:
        held = "too bad" if upload.held else None
        rejected = [(9, "type")] if upload.held else []
        more: dict[str, Any] = {"rows_read": len(upload.rows) + 1} if upload.held else {}
        one = version(upload.key, upload.at)
        return self.stage.request(one, upload.rows, attempt=attempt, held=held, rejected=rejected, **more)

    def check(self, policy: LoadPolicy, uploads: Sequence[Upload]) -> None:
        """The table is right, the books balance, and what is open in quarantine is worth mending."""
        stands = standing(policy, uploads)
        if stands:
            assert in_order(self.stage.table("id, value, changed")) == table(policy, uploads)
            order = self.stage.ask("SELECT epoch(order_at) FROM tidegate.commits WHERE active ORDER BY ALL")
            assert order == [(START.timestamp() + one.at,) for one in stands]
        still_open = self.stage.ask(
            "SELECT object_id FROM tidegate.rejected_rows WHERE closed_at IS NULL ORDER BY 1"
        )
        held = [
            version(one.key, one.at).object_id
            for one in uploads
            if one.held
            and not any(
                (one.at, one.key) < (other.at, other.key)
                for other in stands
                if isinstance(policy, Replace) or other.key == one.key
            )
        ]
        assert still_open == [(object_id,) for object_id in sorted(held)]


pytestmark = pytest.mark.slow

# An example opens a warehouse some ten times, 50 ms each.
few = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("kind", WAREHOUSES)
@pytest.mark.parametrize("policy", POLICIES, ids=repr)
@few
@given(data=st.data())
def test_the_table_does_not_depend_on_the_order_of_arrival(
    kind: str, policy: LoadPolicy, data: st.DataObject
) -> None:
    uploads = data.draw(histories(alike=not isinstance(policy, Merge)), label="uploads")
    arrival = data.draw(st.permutations(uploads), label="arrival")
    with tempfile.TemporaryDirectory() as folder:
        rig = Rig(kind, folder, policy)
        while arrival:
            size = data.draw(st.integers(1, len(arrival)), label="batch of")
            batch = [rig.request(upload) for upload in arrival[:size]]
            outcomes = rig.stage.load(*batch)
            arrival = arrival[size:]
            if data.draw(st.booleans(), label="told twice"):
                again = rig.stage.load(*batch)
                assert [(one.outcome, one.already) for one in again] == [
                    (one.outcome, True) for one in outcomes
                ]
        rig.check(policy, uploads)


@pytest.mark.parametrize("kind", WAREHOUSES)
@pytest.mark.parametrize("policy", POLICIES, ids=repr)
@few
@given(data=st.data())
def test_tries_take_the_place_of_earlier_tries(kind: str, policy: LoadPolicy, data: st.DataObject) -> None:
    """Each upload is tried up to three times, with other rows each time, as a new contract would give."""
    uploads = data.draw(histories(alike=False), label="uploads")
    tries = data.draw(
        st.lists(st.tuples(st.integers(0, len(uploads) - 1), rows.map(tuple), st.booleans()), max_size=6),
        label="tries",
    )
    with tempfile.TemporaryDirectory() as folder:
        rig = Rig(kind, folder, policy)
        attempts: dict[tuple[str, int], int] = defaultdict(int)
        good: dict[tuple[str, int], Upload] = {}
        for upload in [
            *uploads,
            *(Upload(uploads[i].key, uploads[i].at, new, held) for i, new, held in tries),
        ]:
            place = (upload.key, upload.at)
            attempts[place] += 1
            request = replace(rig.request(upload, attempts[place]), content_sha256=f"content of {place}")
            [outcome] = rig.stage.load(request)
            if outcome.outcome is not Outcome.QUARANTINED:
                good[place] = upload
            assert outcome.retained is None or place in good
        stands = standing(policy, list(good.values()))
        if stands:
            assert in_order(rig.stage.table("id, value, changed")) == table(policy, list(good.values()))
