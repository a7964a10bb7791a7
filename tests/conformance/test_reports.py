"""Reports of what is held, in every place that can hold them."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.quarantine_kit import LINES, Pipeline
from tidegate.errors import SettingsError
from tidegate.objects import ObjectStore, ObjectVersion, open_quarantine
from tidegate.operations import reports
from tidegate.quarantine import folder_of
from tidegate.settings import load_settings


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
