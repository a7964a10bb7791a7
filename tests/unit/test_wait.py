"""When `tidegate wait` is done, and what it says it waited for."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import psutil
import pytest

from tidegate import clock
from tidegate.events import Event, EventType, ObjectUploaded, Via
from tidegate.events.model import event_id
from tidegate.ledger import Ledger, Upload, open_ledger
from tidegate.objects.folder import FolderStore
from tidegate.objects.model import ObjectVersion
from tidegate.operations import running
from tidegate.operations.drop import drop, plan_drop
from tidegate.operations.running import RunningSystem
from tidegate.operations.wait import Waited, wait
from tidegate.settings import Settings, load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "tidegate.toml").touch()
    return load_settings(tmp_path)


@pytest.fixture
def ledger(settings: Settings) -> Iterator[Ledger]:
    ledger = open_ledger(settings)
    yield ledger
    ledger.close()


@pytest.fixture
def up(settings: Settings) -> None:
    """A system that runs, as far as anybody can tell."""
    running.write(
        settings,
        RunningSystem(
            pid=(me := psutil.Process()).pid,
            pid_started=me.create_time(),
            mark="test",
            api_url="http://127.0.0.1:1/api",
            ui_url="http://127.0.0.1:1",
            started_at=clock.now(),
            state="ready",
            processes=(),
        ),
    )


def s3_object(key: str, etag: str, minutes: int = 0) -> ObjectVersion:
    moment = clock.now() + timedelta(minutes=minutes)
    return ObjectVersion(store="s3", bucket="b", key=key, version=etag, size=1, uploaded_at=moment, etag=etag)


def record(ledger: Ledger, *objects: ObjectVersion) -> None:
    ledger.record([Upload(notice=ObjectUploaded(object=obj, via=Via.WATCH), dataset="d") for obj in objects])


def finish(ledger: Ledger, obj: ObjectVersion, kind: EventType) -> None:
    correlation = event_id(EventType.UPLOADED, obj.object_id)
    ledger.append(
        [
            Event(
                id=event_id(kind, obj.object_id, time.monotonic()),
                type=kind,
                time=clock.now(),
                subject=obj.url,
                dataset="d",
                object_id=obj.object_id,
                correlation_id=correlation,
                data={"reason": "because", "report": "file:///q/"},
            )
        ]
    )


def look(settings: Settings, ledger: Ledger, timeout: float | None = 0.0) -> Waited:
    return wait(settings, ledger, timeout=timeout, progress=lambda _work, _left: None)


def put(settings: Settings, name: str) -> ObjectVersion:
    store = FolderStore.from_settings(settings)
    (store.root / name).write_text(name)
    return store.stat(name)


def test_nothing_to_do_is_done_even_when_nothing_runs(settings: Settings, ledger: Ledger) -> None:
    assert look(settings, ledger).done


@pytest.mark.usefixtures("up")
def test_a_file_in_the_landing_is_waited_for_before_the_ledger_knows_it(
    settings: Settings, ledger: Ledger
) -> None:
    obj = put(settings, "new.csv")
    waited = look(settings, ledger)
    assert (waited.done, waited.unrecorded) == (False, 1)
    record(ledger, obj)
    assert not look(settings, ledger).done
    finish(ledger, obj, EventType.LOADED)
    waited = look(settings, ledger)
    assert (waited.done, waited.states) == (True, {"loaded": 1})


@pytest.mark.usefixtures("up")
def test_a_file_that_is_taken_away_or_changed_is_not_waited_for_as_it_was(
    settings: Settings, ledger: Ledger
) -> None:
    put(settings, "gone.csv")
    old = put(settings, "changed.csv")
    root = FolderStore.from_settings(settings).root

    def change() -> None:
        (root / "gone.csv").unlink()
        new = root / ".new"
        new.write_text("longer than before")
        new.rename(root / "changed.csv")
        now = FolderStore.from_settings(settings).stat("changed.csv")
        assert now.version != old.version
        record(ledger, now)
        finish(ledger, now, EventType.LOADED)

    changer = threading.Timer(0.3, change)
    changer.start()
    assert look(settings, ledger, timeout=10).done
    changer.join()


def test_what_ended_before_the_wait_began_counts_once(settings: Settings, ledger: Ledger) -> None:
    held = s3_object("held.csv", "e1")
    record(ledger, held)
    finish(ledger, held, EventType.QUARANTINED)
    first, second = look(settings, ledger), look(settings, ledger)
    assert (first.held, [one.key for one in first.objects]) == (1, ["held.csv"])
    assert (second.done, second.states) == (True, {})


@pytest.mark.parametrize("later", [EventType.REPORTED, EventType.DISCARDED])
def test_what_follows_an_end_does_not_tell_it_again(
    settings: Settings, ledger: Ledger, later: EventType
) -> None:
    held, new = s3_object("held.csv", "e1"), s3_object("new.csv", "e2")
    record(ledger, held)
    finish(ledger, held, EventType.QUARANTINED)
    assert look(settings, ledger).states == {"quarantined": 1}
    finish(ledger, held, later)
    assert look(settings, ledger).states == {}
    record(ledger, new)
    finish(ledger, new, EventType.DUPLICATED)
    waited = look(settings, ledger)
    assert (waited.states, waited.objects) == ({"duplicate": 1}, [])


def test_an_end_that_comes_while_it_looks_is_told_once(settings: Settings, ledger: Ledger) -> None:
    obj = s3_object("a.csv", "e1")

    def between(_work: dict[str, int], _left: int) -> None:
        record(ledger, obj)
        finish(ledger, obj, EventType.LOADED)

    first = wait(settings, ledger, timeout=0.0, progress=between)
    told = [first.states, look(settings, ledger).states]
    assert told == [{"loaded": 1}, {}]


def test_a_second_end_of_an_object_is_told(settings: Settings, ledger: Ledger) -> None:
    held = s3_object("held.csv", "e1")
    record(ledger, held)
    finish(ledger, held, EventType.QUARANTINED)
    assert look(settings, ledger).held == 1
    finish(ledger, held, EventType.LOADED)
    assert look(settings, ledger).states == {"loaded": 1}


def test_what_no_contract_takes_is_told_with_its_reason(settings: Settings, ledger: Ledger) -> None:
    notice = ObjectUploaded(object=s3_object("stray.csv", "e1"), via=Via.WATCH)
    ledger.record([Upload(notice=notice, dataset=None, problem="No data contract matches the key.")])
    waited = look(settings, ledger)
    assert (waited.done, waited.held) == (True, 1)
    (stray,) = waited.objects
    assert (stray.key, stray.reason) == ("stray.csv", "No data contract matches the key.")


def test_failed_objects_are_told_of_every_time(settings: Settings, ledger: Ledger) -> None:
    failed = s3_object("failed.csv", "e1")
    record(ledger, failed)
    finish(ledger, failed, EventType.FAILED)
    assert [look(settings, ledger).failed for _ in range(2)] == [1, 1]


def test_pending_objects_and_nothing_that_runs_is_said_at_once(settings: Settings, ledger: Ledger) -> None:
    record(ledger, s3_object("a.csv", "e1"))
    waited = look(settings, ledger, timeout=None)
    assert not waited.done
    assert "tidegate up" in waited.problem


@pytest.mark.usefixtures("up")
def test_time_is_over(settings: Settings, ledger: Ledger) -> None:
    record(ledger, s3_object("a.csv", "e1"))
    waited = look(settings, ledger, timeout=0.3)
    assert (waited.done, waited.states) == (False, {"pending": 1})
    assert "0.3 s" in waited.problem


class Bucket(FolderStore):
    """A store whose uploads look like those to S3."""

    def __init__(self, root: Path, etag: str) -> None:
        super().__init__(root)
        self.created = s3_object("a.csv", etag, minutes=1)

    def put(self, source: Path, key: str) -> ObjectVersion:
        return self.created


@pytest.mark.usefixtures("up")
def test_a_drop_into_a_bucket_is_waited_for_until_its_event_came(
    tmp_path: Path, ledger: Ledger, settings: Settings
) -> None:
    (tmp_path / "tidegate.toml").write_text('landing = "s3://b"\n[sqs]\nqueue_url = "http://q"\n')
    settings = load_settings(tmp_path)
    (tmp_path / "a.csv").touch()

    def dropping(etag: str) -> ObjectVersion:
        store = Bucket(tmp_path, etag)
        (obj,) = drop(settings, store, plan_drop([tmp_path / "a.csv"], "", store).uploads)
        return obj

    first = dropping("A")
    assert not look(settings, ledger).done
    record(ledger, first)
    finish(ledger, first, EventType.LOADED)
    assert look(settings, ledger).done
    other = s3_object("a.csv", "BB", minutes=2)
    record(ledger, other)
    finish(ledger, other, EventType.LOADED)
    assert look(settings, ledger).done
    again = s3_object("a.csv", "A", minutes=3)
    store = Bucket(tmp_path, "A")
    store.created = again
    list(drop(settings, store, plan_drop([tmp_path / "a.csv"], "", store).uploads))
    assert look(settings, ledger).unrecorded == 1, "the content came back, and that is a new object"


@pytest.mark.usefixtures("up")
def test_uploads_that_nothing_tells_of_are_not_waited_for(
    tmp_path: Path, settings: Settings, ledger: Ledger
) -> None:
    (tmp_path / "tidegate.toml").write_text('landing = "s3://b"\n')
    settings = load_settings(tmp_path)
    (tmp_path / "a.csv").touch()
    store = Bucket(tmp_path, "A")
    list(drop(settings, store, plan_drop([tmp_path / "a.csv"], "", store).uploads))
    waited = look(settings, ledger, timeout=None)
    assert "tidegate reconcile" in waited.problem
