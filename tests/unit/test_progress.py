"""How far a batch is: what is told of it, to whom, when, and how people see it."""

from __future__ import annotations

import io
import json
import threading
import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from tidegate import clock
from tidegate.cli.app import app
from tidegate.cli.live import picture
from tidegate.cli.progress import progress_lines, waiting_for
from tidegate.events import Event, EventType, ObjectUploaded, Via
from tidegate.events.model import event_id
from tidegate.ledger import Batch, Ledger, Owner, Upload, open_ledger
from tidegate.ledger.progress import Progress, at_work, write
from tidegate.objects.model import ObjectVersion
from tidegate.operations import ingest
from tidegate.operations.progress import LARGE_BYTES, BatchProgress, in_words, telling
from tidegate.operations.project import open_project
from tidegate.operations.record import record_uploads
from tidegate.prefect import progress as shown
from tidegate.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
BIG = 528_000_000
WORKER = Owner(host="host/1", pid=1, pid_started=0.0)


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "tidegate.toml").write_text('landing = "s3://bucket/in"\ncontracts = "none_here"\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setattr(clock, "now", lambda: NOW)
    return tmp_path


@pytest.fixture
def ledger(project: Path) -> Iterator[Ledger]:
    ledger = open_ledger(load_settings(project))
    yield ledger
    ledger.close()


def claimed(ledger: Ledger, *sizes: int, run: str = "run") -> Batch:
    """A batch of objects of these sizes."""
    uploads = [
        ObjectVersion(
            store="s3",
            bucket="bucket",
            key=f"sales/{number}.csv",
            version="1",
            size=size,
            uploaded_at=NOW,
            etag="e",
        )
        for number, size in enumerate(sizes)
    ]
    ledger.record(
        [Upload(notice=ObjectUploaded(object=obj, via=Via.SQS), dataset="sales") for obj in uploads]
    )
    return ledger.claim("sales", run, WORKER, max_objects=10, max_bytes=10 * BIG)


def told(**changes: Any) -> Progress:
    """226 of 528 MB of an object, read in 4 s."""
    progress = Progress(
        flow_run_id="run",
        dataset="sales",
        stage="validate",
        objects=1,
        url="s3://bucket/sales/0.csv",
        key="sales/0.csv",
        bytes_done=226_000_000,
        bytes_total=BIG,
        started_at=NOW - timedelta(seconds=4),
        updated_at=NOW,
    )
    return replace(progress, **changes)


def test_what_is_soon_done_is_never_told(ledger: Ledger) -> None:
    seconds = Clock()
    batch = BatchProgress(claimed(ledger, 1_000), seconds=seconds)
    assert batch.news() is None
    for stage in ("validate", "normalize", "enrich", "load"):
        batch.begin(stage)(1_000)
        seconds.now += 0.9
        assert batch.news() is None
    seconds.now += 0.2
    news = batch.news()
    assert news is not None
    assert (news.stage, news.key) == ("load", "sales/0.csv")


def test_a_large_object_is_told_of_as_soon_as_it_is_read_and_then_each_time_it_is_further(
    ledger: Ledger,
) -> None:
    (one,) = (batch := claimed(ledger, BIG)).objects
    progress = BatchProgress(batch, seconds=Clock())
    progress.begin("validate")
    taken = progress.begin("validate", one.object.object_id)
    assert progress.news() is None
    taken(1)
    first = progress.news()
    assert first is not None
    assert (first.url, first.bytes_done, first.bytes_total) == (one.object.url, 1, BIG)
    assert progress.news() is None
    taken(BIG + 1)
    assert progress.news() == replace(first, bytes_done=BIG)
    progress.begin("normalize", rows=5)
    assert progress.news() == replace(first, stage="normalize", bytes_done=None, rows=5)


def test_many_objects_together_are_told_of_by_their_number(ledger: Ledger) -> None:
    seconds = Clock()
    batch = claimed(ledger, 10, LARGE_BYTES)
    progress = BatchProgress(batch, seconds=seconds)
    progress.begin("validate")
    seconds.now += 1
    news = progress.news()
    assert news is not None
    assert (news.objects, news.url, news.bytes_total) == (2, None, None)
    progress.begin("validate", batch.objects[1].object.object_id)(7)
    news = progress.news()
    assert news is not None
    assert (news.key, news.bytes_done) == ("sales/1.csv", 7)


@pytest.mark.parametrize(
    "over",
    [
        lambda ledger: ledger.end_claim("run"),
        lambda ledger: ledger.end_claim("run", "trouble"),
        lambda ledger: ledger.release("run", "It was killed."),
    ],
    ids=["done", "failed", "dead"],
)
def test_what_is_told_goes_with_the_lease(ledger: Ledger, over: Callable[[Ledger], object]) -> None:
    def write_it() -> bool:
        with ledger.writing() as connection:
            return write(connection, told())

    assert not write_it()
    claimed(ledger, BIG)
    assert [write_it(), write_it()] == [True, True]
    ledger.rebuild()
    assert ledger.ask(at_work) == [told()]
    over(ledger)
    assert ledger.ask(at_work) == []
    assert not write_it()
    assert ledger.ask(at_work) == []


def test_a_run_whose_objects_are_all_done_is_not_told_of(ledger: Ledger) -> None:
    (one,) = claimed(ledger, BIG).objects
    with ledger.writing() as connection:
        write(connection, told())
    assert ledger.ask(at_work) == [told()]
    done = Event(
        id=event_id(EventType.LOADED, one.object.object_id),
        type=EventType.LOADED,
        time=NOW,
        subject=one.object.url,
        dataset="sales",
        object_id=one.object.object_id,
        correlation_id=one.correlation_id,
        data={"rows_read": 1, "rows_loaded": 1, "rows_rejected": 0, "rows_duplicate": 0},
    )
    ledger.append([done])
    assert ledger.ask(at_work) == []


def test_a_thread_tells_the_ledger_and_the_listeners_and_their_trouble_is_logged_once(
    ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    batch, heard, asked = claimed(ledger, BIG), threading.Semaphore(0), []

    def listener(news: Progress) -> None:
        asked.append((news.bytes_done, [one.bytes_done for one in ledger.ask(at_work)]))
        heard.release()

    def broken(_: Progress) -> None:
        raise ConnectionError("no server")

    with telling(ledger, batch, broken, listener, look_seconds=0.01) as progress:
        taken = progress.begin("validate", batch.objects[0].object.object_id)
        for size in (1, 2):
            taken(size)
            assert heard.acquire(timeout=30)
    assert asked == [(1, [1]), (2, [2])]
    (logged,) = [record for record in caplog.records if "could not be told" in record.message]
    assert "no server" in str(logged.exc_info)


def test_the_ledger_being_out_of_reach_does_not_stop_the_work(
    ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    batch, heard = claimed(ledger, BIG), threading.Event()
    with ledger.writing() as connection:
        connection.exec_driver_sql("DROP TABLE progress")
    with telling(ledger, batch, lambda _: heard.set(), look_seconds=0.01) as progress:
        progress.begin("validate", batch.objects[0].object.object_id)(1)
        assert heard.wait(30)
    assert "the run goes on" in caplog.text


@pytest.mark.parametrize(
    ("progress", "words"),
    [
        (told(), "validating sales/0.csv, 42 %, 226 of 528 MB, 4 s, about 5 s left"),
        (
            told(bytes_done=1_230_000_000, bytes_total=4_000_000_000, updated_at=NOW + timedelta(minutes=5)),
            "validating sales/0.csv, 30 %, 1.2 of 4.0 GB, 4 s, about 11 min left",
        ),
        (told(bytes_done=1_000_000), "validating sales/0.csv, 0 %, 1 of 528 MB, 4 s"),
        (told(bytes_done=BIG), "validating sales/0.csv, 100 %, 528 of 528 MB, 4 s"),
        (told(bytes_done=5, bytes_total=900), "validating sales/0.csv, 0 %, 5 of 900 B, 4 s"),
        (told(bytes_done=None), "validating sales/0.csv, 4 s"),
        (
            told(stage="load", bytes_done=None, rows=5_000_000),
            "loading sales/0.csv, 5,000,000 rows, 4 s",
        ),
        (
            told(stage="enrich", key=None, url=None, objects=1_000, bytes_done=None, rows=1),
            "enriching 1,000 objects, 1 row, 4 s",
        ),
    ],
)
def test_progress_in_words(progress: Progress, words: str) -> None:
    assert str(in_words(progress, NOW)) == words


def render(what: Any) -> str:
    out = Console(file=io.StringIO(), width=160, force_terminal=True, color_system=None)
    out.print(what)
    written: str = out.file.getvalue()  # type: ignore[attr-defined]
    return written


def test_a_line_has_a_bar_where_it_is_known_how_much_there_is() -> None:
    lines = render(progress_lines([told(), told(dataset="[b]", stage="load", bytes_total=None)], NOW))
    reading, loading = lines.splitlines()
    assert reading.startswith("sales  validating sales/0.csv  ━━━━━━━━━━")
    assert "42 %  226 of 528 MB  4 s  about 5 s left" in reading
    assert loading.split() == ["[b]", "loading", "sales/0.csv", "4", "s"]
    waiting = waiting_for({"running": 1}, 2, [told()]).plain
    assert waiting == f"Waiting: 1 running, 2 not yet recorded · sales: {in_words(told(), NOW)}"
    assert waiting_for({}, 0, []).plain == "Waiting: looking"


def test_the_live_view_shows_a_line_while_something_is_at_work(ledger: Ledger) -> None:
    claimed(ledger, BIG)
    assert "validating" not in render(picture(ledger, "http://ui"))
    with ledger.writing() as connection:
        write(connection, told())
    assert "sales  validating sales/0.csv" in render(picture(ledger, "http://ui"))
    ledger.end_claim("run")
    assert "validating" not in render(picture(ledger, "http://ui"))


def test_status_tells_how_far_runs_are(ledger: Ledger) -> None:
    claimed(ledger, BIG)
    document = json.loads(CliRunner().invoke(app, ["status", "-o", "json"]).stdout)
    assert document[0]["progress"] == []
    with ledger.writing() as connection:
        write(connection, told())
    ((found,),) = [
        one["progress"] for one in json.loads(CliRunner().invoke(app, ["status", "-o", "json"]).stdout)
    ]
    assert found == {
        "flow_run_id": "run",
        "dataset": "sales",
        "stage": "validate",
        "objects": 1,
        "url": "s3://bucket/sales/0.csv",
        "key": "sales/0.csv",
        "bytes_done": 226_000_000,
        "bytes_total": BIG,
        "rows": None,
        "started_at": "2026-01-31T11:59:56.000000Z",
        "updated_at": "2026-01-31T12:00:00.000000Z",
    }
    printed = CliRunner().invoke(app, ["status"]).stdout
    assert "sales: validating sales/0.csv, 42 %, 226 of 528 MB, 4 s, about 5 s left.\n" in printed


class Artifacts:
    """Stands in for Prefect's API."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[str, int, str]] = []
        monkeypatch.setattr(shown, "create_progress_artifact", self.create)
        monkeypatch.setattr(shown, "update_progress_artifact", self.update)

    def create(self, progress: float, key: str, description: str) -> str:
        self.calls.append((key, round(progress), description))
        return "id"

    def update(self, artifact_id: str, progress: float, description: str) -> None:
        self.calls.append((artifact_id, round(progress), description))


def test_the_artifact_is_made_for_a_large_object_and_updated_once_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    artifacts, seconds = Artifacts(monkeypatch), Clock()
    artifact = shown.ProgressArtifact(seconds=seconds)
    artifact.show(told(dataset="big_sales", objects=9, bytes_done=1, bytes_total=LARGE_BYTES - 1))
    artifact.show(told(dataset="big_sales", stage="load", bytes_done=None, bytes_total=LARGE_BYTES - 1))
    artifact.show(told(dataset="big_sales", bytes_done=None))
    artifact.end(None)
    assert artifacts.calls == []
    for done in (100_000_000, 150_000_000, 200_000_000):
        artifact.show(told(dataset="big_sales", bytes_done=done))
        seconds.now += 0.5
    artifact.show(told(dataset="big_sales", stage="load", bytes_done=None))
    artifact.end(None)
    assert [call[:2] for call in artifacts.calls] == [
        ("progress-big-sales", 19),
        ("id", 38),
        ("id", 100),
        ("id", 100),
    ]
    assert artifacts.calls[1][2] == "validating sales/0.csv, 37 %, 200 of 528 MB, 4 s, about 7 s left."
    assert artifacts.calls[3][2] == "sales/0.csv: done."


def test_the_artifact_of_a_run_that_failed_says_where_it_stopped(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    artifacts, artifact = Artifacts(monkeypatch), shown.ProgressArtifact()
    artifact.show(told())
    artifact.end("The store does not answer.")
    last = ("id", 43, "Stopped while validating sales/0.csv: The store does not answer.")
    assert artifacts.calls[-1] == last

    def gone(*_: object) -> None:
        raise ConnectionError("no server")

    monkeypatch.setattr(shown, "update_progress_artifact", gone)
    artifact.end(None)
    assert "could not be brought to its end" in caplog.text


CONTRACT = """
import pandera.polars as pa
from tidegate.contracts import Append, Contract

class Sale(pa.DataFrameModel):
    n: int

sales = Contract(
    name="sales", version="1.0.0", owner="o", description="d", keys=["sales/*.csv"], schema=Sale,
    load=Append(),
)
"""


def test_each_stage_notes_where_it_is(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = f"contracts_{uuid.uuid4().hex}"
    (project / package).mkdir()
    (project / package / "sales.py").write_text(CONTRACT)
    (project / package / "__init__.py").touch()
    (project / "tidegate.toml").write_text(f'contracts = "{package}"\n')
    monkeypatch.syspath_prepend(project)
    opened = open_project(project)
    (project / "source.csv").write_text("n\n" + "1\n" * 600_000 + "x\n")
    obj = opened.store.put(project / "source.csv", "sales/big.csv")
    notice = ObjectUploaded(object=obj, via=Via.WATCH)
    record_uploads(opened.ledger, opened.registry, opened.store, [notice])

    batch, seconds = ingest.claim(opened, "sales", str(uuid.uuid4())), Clock()
    progress = BatchProgress(batch, seconds=seconds)
    verdicts, news = ingest.validate_batch(opened, batch, progress=progress), []
    seconds.now += 1
    news.append(progress.news())
    verdicts = ingest.normalize_batch(opened, batch, verdicts, progress=progress)
    news.append(progress.news())
    verdicts = ingest.enrich_batch(opened, batch, verdicts, progress=progress)
    news.append(progress.news())
    ingest.load_batch(opened, batch, verdicts, progress=progress)
    news.append(progress.news())
    ingest.finish(opened, batch, None)
    opened.close()
    told = [(one.stage, one.key, one.bytes_done, one.bytes_total, one.rows) for one in news if one]
    assert told == [
        ("validate", "sales/big.csv", obj.size, obj.size, None),
        ("normalize", "sales/big.csv", None, obj.size, 600_000),
        ("enrich", "sales/big.csv", None, obj.size, 600_000),
        ("load", "sales/big.csv", None, obj.size, 600_000),
    ]
