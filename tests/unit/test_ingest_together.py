"""A batch of many small objects, through all stages as plain functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.lookup_kit import Shopping, shops
from tidegate.errors import ObjectsLeftError, StagingUnavailableError
from tidegate.events import EventType
from tidegate.operations import ingest
from tidegate.operations.handing_on import look_up, refer
from tidegate.stages import enrich_together, together

if TYPE_CHECKING:
    from pathlib import Path

    from tidegate.ledger import Batch
    from tidegate.objects import ObjectVersion
    from tidegate.stages import Verdict

OBJECTS = 12


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(tmp_path)
    system = Shopping(tmp_path, shops("reject"))
    system.load_shops("A")
    yield system
    system.project.close()


def drop_many(system: Shopping) -> list[ObjectVersion]:
    """Objects of which each has a good row, one without a match and a bad one; but the fourth is empty."""
    texts = [(f"{n},A,", f"{n},Z,", "0,A,") for n in range(1, OBJECTS + 1)]
    objects = [system.orders(str(n), *lines) for n, lines in enumerate(texts)]
    return [*objects, system.drop("orders/empty.csv", "")]


def assert_all_loaded(system: Shopping, objects: list[ObjectVersion]) -> None:
    *good, empty = objects
    assert [system.counts(one) for one in good] == [(3, 1, 2, 0)] * OBJECTS
    assert (system.state(empty), system.entry(empty).reason) == (
        "quarantined",
        "The file is empty: it has no header.",
    )
    assert system.table() == [(n, "in A") for n in range(1, OBJECTS + 1)]
    refused = system.query(
        "SELECT object_id, list(record ORDER BY record) FROM tidegate.rejected_rows GROUP BY 1"
    )
    assert dict(refused) == {one.object_id: [2, 3] for one in good}


def stages(system: Shopping, batch: Batch) -> list[Verdict]:
    verdicts = ingest.validate_batch(system.project, batch)
    verdicts = ingest.normalize_batch(system.project, batch, verdicts)
    return ingest.enrich_batch(system.project, batch, verdicts)


def test_small_objects_share_files_and_keep_what_is_theirs(system: Shopping) -> None:
    objects = drop_many(system)
    batch = ingest.claim(system.project, "orders", "run")
    verdicts = stages(system, batch)
    files = [path for path in system.project.staging("run").folder.rglob("*") if path.is_file()]
    assert len(files) < OBJECTS
    ingest.load_batch(system.project, batch, verdicts)
    ingest.finish(system.project, batch, None)
    assert_all_loaded(system, objects)


def test_small_and_larger_objects_of_a_batch_are_loaded_alike(
    system: Shopping, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidegate.stages.together._SMALL_BYTES", len("order_id,shop,day\n1,A,\n1,Z,\n0,A,\n"))
    objects = drop_many(system)
    system.run()
    assert_all_loaded(system, objects)


@pytest.mark.parametrize(
    ("module", "name"),
    [(together, "parse_blocks"), (enrich_together, "rejections")],
    ids=["read", "enriched"],
)
def test_a_group_that_fails_as_a_whole_is_taken_one_by_one(
    system: Shopping, monkeypatch: pytest.MonkeyPatch, module: Any, name: str
) -> None:
    objects = drop_many(system)
    real, failures = getattr(module, name), [RuntimeError("a bug that only a group meets")]

    def fail_once(*given: Any, **named: Any) -> Any:
        if failures:
            raise failures.pop()
        return real(*given, **named)

    monkeypatch.setattr(module, name, fail_once)
    system.run()
    assert not failures
    assert_all_loaded(system, objects)


def test_what_a_kill_left_of_the_notes_is_taken_up_and_the_rest_done_again(system: Shopping) -> None:
    objects = drop_many(system)
    batch = ingest.claim(system.project, "orders", "run")
    whole = stages(system, batch)
    folder = system.project.staging("run").folder
    for notes in folder.glob("*.jsonl"):
        text = notes.read_bytes()
        notes.write_bytes(text[: len(text) * 2 // 3])
    again = stages(system, batch)
    assert [one.model_dump(exclude={"rows", "rejected", "origins"}) for one in again] == [
        one.model_dump(exclude={"rows", "rejected", "origins"}) for one in whole
    ]
    taken_up = [one.rows for one, before in zip(again, whole, strict=True) if one.rows == before.rows]
    assert 0 < len(taken_up) < OBJECTS
    ingest.load_batch(system.project, batch, again)
    ingest.finish(system.project, batch, None)
    assert_all_loaded(system, objects)


def test_a_disk_that_is_full_leaves_the_group_for_later(
    system: Shopping, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = drop_many(system)
    batch = ingest.claim(system.project, "orders", "run")

    def full(*_: Any) -> str:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("tidegate.stages.staging.Staging.write", full)
        with pytest.raises(ObjectsLeftError, match=f"{OBJECTS + 1} of {OBJECTS + 1} objects .*No space left"):
            ingest.validate_batch(system.project, batch)
    ingest.load_batch(system.project, batch, stages(system, batch))
    ingest.finish(system.project, batch, None)
    assert_all_loaded(system, objects)


def test_a_reference_stands_for_the_noted_verdicts_and_for_no_others(system: Shopping) -> None:
    drop_many(system)
    project = system.project
    batch = ingest.claim(project, "orders", "run")
    verdicts = ingest.validate_batch(project, batch)
    reference = refer(project, batch, EventType.VALIDATED, verdicts)
    assert look_up(project, batch, reference) == verdicts
    (project.staging("run").folder / "validated-1.0.0.jsonl").unlink()
    with pytest.raises(StagingUnavailableError, match="13 objects that were validated is not in"):
        look_up(project, batch, reference)
