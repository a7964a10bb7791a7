"""Reports of what is held, in every place that can hold them."""

import csv
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.quarantine_kit import LINES, Pipeline
from tidegate.errors import ObjectRejectedError, SettingsError, StoreUnavailableError
from tidegate.ledger import ObjectEntry
from tidegate.objects import ObjectStore, ObjectVersion, open_quarantine
from tidegate.operations import reports
from tidegate.quarantine import folder_of
from tidegate.settings import load_settings
from tidegate.testing.memory import MemoryStore


@pytest.fixture
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipeline]:
    root = tmp_path / "project"
    root.mkdir()
    monkeypatch.syspath_prepend(root)
    pipeline = Pipeline(root, "Append()")
    yield pipeline
    pipeline.project.close()


def test_reports_and_copies_are_written_whole_and_twice_the_same(
    store: ObjectStore, pipeline: Pipeline, tmp_path: Path
) -> None:
    rows = pipeline.drop("orders/rows.csv", LINES)
    whole = pipeline.drop("orders/ä whole.csv", "x\n1\n")
    pipeline.run()
    entries = [pipeline.entry(rows), pipeline.entry(whole)]

    def read(obj: ObjectVersion, name: str) -> bytes:
        key = store.prefix + folder_of(pipeline.entry(obj)) + name
        store.fetch(store.stat(key), tmp_path / "read")
        return (tmp_path / "read").read_bytes()

    def all_of_it() -> list[bytes]:
        names = ("report.json", "rejected.csv")
        return [*(read(obj, name) for obj in (rows, whole) for name in names), read(whole, "object")]

    written = list(reports.write(pipeline.project, entries, store))
    assert {report.entry.key: report.rows for report in written} == {rows.key: 2, whole.key: 0}
    first = all_of_it()
    assert first[-1] == b"x\n1\n"
    assert json.loads(first[0])["rows_rejected"] == 2
    assert len(list(csv.reader(first[1].decode("utf-8-sig").splitlines()))) == 3
    assert [report.url for report in reports.write(pipeline.project, entries, store)] == [
        report.url for report in written
    ]
    assert all_of_it() == first


class Bucket(MemoryStore):
    """Takes a while for each put: until `together` puts are under way."""

    def __init__(self, together: int) -> None:
        super().__init__(prefix="held/")
        self.meeting = threading.Barrier(together)
        self.refused = ""
        self.down = ""

    def put(self, source: Path, key: str) -> ObjectVersion:
        if source.name == "rejected.csv":
            self.meeting.wait(timeout=20)
        if self.refused and self.refused in key:
            raise ObjectRejectedError(f"{key} is refused.", rule="key")
        if self.down and self.down in key:
            raise StoreUnavailableError("The bucket is down.")
        return super().put(source, key)


@pytest.fixture
def held(pipeline: Pipeline) -> list[ObjectEntry]:
    """Eight objects that are held as a whole, in the order in which reports are written."""
    dropped = [pipeline.drop(f"orders/{number}.csv", f"x\n{number}\n") for number in range(8)]
    pipeline.run()
    return sorted((pipeline.entry(obj) for obj in dropped), key=lambda entry: entry.object_id)


def left_behind(pipeline: Pipeline) -> list[Path]:
    return list(pipeline.project.settings.staging_dir.glob("report-*"))


def test_eight_reports_are_put_at_once_and_told_in_order(pipeline: Pipeline, held: list[ObjectEntry]) -> None:
    written = list(reports.write(pipeline.project, held, Bucket(together=8)))
    assert [report.entry for report in written] == held
    assert left_behind(pipeline) == []


def test_a_report_that_is_refused_stops_no_other(
    pipeline: Pipeline, held: list[ObjectEntry], caplog: pytest.LogCaptureFixture
) -> None:
    bucket = Bucket(together=4)
    bucket.refused = held[2].key
    written = list(reports.write(pipeline.project, held, bucket))
    assert [report.entry for report in written] == held[:2] + held[3:]
    assert f"{held[2].url} has no report" in caplog.text
    assert left_behind(pipeline) == []


def test_a_bucket_that_is_down_is_told_once_and_nothing_is_left(
    pipeline: Pipeline, held: list[ObjectEntry]
) -> None:
    bucket = Bucket(together=1)
    bucket.down = held[3].key
    told: list[reports.Report] = []
    with pytest.raises(StoreUnavailableError, match="down"):
        told.extend(reports.write(pipeline.project, held, bucket))
    assert [report.entry for report in told] == held[:3]
    assert left_behind(pipeline) == []


@pytest.mark.parametrize(
    ("landing", "quarantine", "allowed"),
    [
        ("in", "in", False),
        ("in", "in/held", False),
        ("in", "in-held", True),
        ("in", "", True),
        ("", ".tidegate/landing/held", False),
        ("s3://bucket/in", "s3://bucket/in/held/", False),
        ("s3://bucket/in/", "s3://bucket/in", False),
        ("s3://bucket", "s3://bucket/held", False),
        ("s3://bucket/in", "s3://bucket/held", True),
        ("s3://bucket/in", "s3://bucket", False),
        ("held/in", "held", False),
        # Nothing below a hidden folder is an upload.
        (".", "", True),
        ("in", "ftp://host/x", False),
    ],
)
def test_reports_never_lie_in_the_landing(
    tmp_path: Path, landing: str, quarantine: str, allowed: bool
) -> None:
    (tmp_path / "tidegate.toml").write_text(f'landing = "{landing}"\nquarantine = "{quarantine}"\n')
    settings = load_settings(tmp_path)
    if allowed:
        assert open_quarantine(settings).url
    else:
        with pytest.raises(SettingsError, match="quarantine"):
            open_quarantine(settings)
