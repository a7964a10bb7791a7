"""Held rows and objects after a fix: redriven, discarded, reported, as plain functions."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.quarantine_kit import LINES, SEMICOLON, Pipeline
from tidegate.errors import StoreUnavailableError, UsageError
from tidegate.ledger import queries
from tidegate.objects.folder import FolderStore
from tidegate.operations import quarantine, reports
from tidegate.operations.quarantine import Selection
from tidegate.warehouse import HeldSelection

if TYPE_CHECKING:
    from collections.abc import Iterator


pytestmark = pytest.mark.slow

POLICIES = [
    pytest.param("Append()", id="Append"),
    pytest.param('Merge(key=["order_id"])', id="Merge"),
    pytest.param("Replace()", id="Replace"),
]


@pytest.fixture(params=POLICIES)
def pipeline(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Pipeline]:
    monkeypatch.syspath_prepend(tmp_path)
    pipeline = Pipeline(tmp_path, request.param)
    yield pipeline
    pipeline.project.close()


@pytest.fixture
def append(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipeline]:
    monkeypatch.syspath_prepend(tmp_path)
    pipeline = Pipeline(tmp_path, "Append()")
    yield pipeline
    pipeline.project.close()


# Redrive


def test_after_a_fix_a_redrive_loads_what_passes_and_leaves_the_good_rows(pipeline: Pipeline) -> None:
    obj = pipeline.drop("orders/1.csv", LINES)
    pipeline.run()
    before = pipeline.table()
    assert [row[0] for row in before] == [5, 6]
    pipeline.deploy(-5, "1.1.0")
    plan = pipeline.redrive()
    assert [(one.entry.object_id, one.rows) for one in plan.held] == [(obj.object_id, 2)]
    after = pipeline.table()
    assert [row[:3] for row in after] == [(5, "A", "1.0.0"), (-1, "B", "1.1.0"), (6, "C", "1.0.0")]
    assert [row for row in after if row[2] == "1.0.0"] == before
    assert pipeline.entries() == [
        (2, "redriven", "1.0.0", "1.1.0"),
        (4, "tried_again", "1.0.0", "1.1.0"),
        (4, None, "1.1.0", None),
    ]
    entry = pipeline.entry(obj)
    assert (entry.state, entry.rows_read, entry.rows_loaded, entry.rows_rejected) == ("loaded", 4, 3, 1)
    assert "1 of 2 held rows passed" in entry.reason
    told = [event.data for event in pipeline.project.ledger.ask(queries.story, obj.object_id)]
    assert [data["redrive"] for data in told if "redrive" in data] == [True]


def test_a_redrive_twice_in_a_row_is_as_one(pipeline: Pipeline) -> None:
    obj = pipeline.drop("orders/1.csv", LINES)
    pipeline.run()
    pipeline.deploy(-5, "1.1.0")
    quarantine.redrive(pipeline.project, Selection(), "a test")
    again = quarantine.redrive(pipeline.project, Selection(), "a test")
    assert (again.held, again.skipped) == ([], {"is taken up already": 1})
    assert pipeline.entry(obj).attempt == 2
    pipeline.run()
    shown = pipeline.table()
    pipeline.redrive()
    assert pipeline.table() == shown
    assert [row for row in pipeline.entries() if row[1] is None] == [(4, None, "1.1.0", None)]


@pytest.mark.parametrize("place", ["tidegate.warehouse.load.commit", "tidegate.operations.outcomes.tell"])
def test_a_redrive_that_is_killed_and_run_again_gives_the_same(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    class Killed(BaseException):
        pass

    def die(*_: Any, **__: Any) -> None:
        raise Killed

    obj = pipeline.drop("orders/1.csv", LINES)
    pipeline.run()
    before = pipeline.table()
    pipeline.deploy(-5, "1.1.0")
    quarantine.redrive(pipeline.project, Selection(), "a test")
    with monkeypatch.context() as patch:
        patch.setattr(place, die)
        with pytest.raises(Killed):
            pipeline.run()
    (lease,) = pipeline.project.ledger.ask(queries.open_leases)
    pipeline.project.ledger.release(lease.flow_run_id, "It was killed.")
    pipeline.run()
    after = pipeline.table()
    assert [row[:3] for row in after] == [(5, "A", "1.0.0"), (-1, "B", "1.1.0"), (6, "C", "1.0.0")]
    assert [row for row in after if row[2] == "1.0.0"] == before
    assert [row[:2] for row in pipeline.entries()] == [(2, "redriven"), (4, "tried_again"), (4, None)]
    entry = pipeline.entry(obj)
    assert (entry.state, entry.rows_loaded, entry.rows_rejected) == ("loaded", 3, 1)
    assert json.loads((pipeline.report(obj) / "report.json").read_text())["attempt"] == 2


def test_an_object_that_is_gone_keeps_its_good_and_its_held_rows(pipeline: Pipeline) -> None:
    obj = pipeline.drop("orders/1.csv", LINES)
    pipeline.run()
    shown = (pipeline.table(), pipeline.entries())
    Path(obj.bucket, obj.key).unlink()
    pipeline.deploy(-5, "1.1.0")
    pipeline.redrive()
    assert (pipeline.table(), pipeline.entries()) == shown
    entry = pipeline.entry(obj)
    assert (entry.state, entry.rows_loaded, entry.rows_rejected) == ("loaded", 2, 2)
    assert "loaded and held, stay as they were" in entry.reason
    assert "is gone" in entry.reason


def test_an_object_that_is_read_in_another_way_is_loaded_anew(append: Pipeline) -> None:
    obj = append.drop("orders/1.csv", "order_id;shop\n5;A\n-1;B\n")
    append.deploy(1, "1.0.0", SEMICOLON)
    append.run()
    dialect = append.project.warehouse.commits([obj.object_id])[obj.object_id].dialect
    assert json.loads(dialect)["delimiter"] == ";"
    append.deploy(-5, "1.1.0", f"{SEMICOLON}, quote=None")
    append.redrive()
    assert [row[:3] for row in append.table()] == [(5, "A", "1.1.0"), (-1, "B", "1.1.0")]
    assert [row[:2] for row in append.entries()] == [(2, "tried_again")]
    assert "loaded anew" in append.project.warehouse.commits([obj.object_id])[obj.object_id].reason


def test_an_object_held_as_a_whole_is_loaded_after_the_fix(append: Pipeline) -> None:
    obj = append.drop("orders/1.csv", "order_id;shop\n5;A\n")
    append.run()
    assert append.entry(obj).state == "quarantined"
    append.deploy(1, "1.1.0", SEMICOLON)
    plan = append.redrive(rule="header")
    assert [one.whole for one in plan.held] == [True]
    assert append.entry(obj).state == "loaded"
    assert [row[0] for row in append.table()] == [5]


def test_what_is_held_is_chosen(append: Pipeline) -> None:
    rows = append.drop("orders/rows.csv", LINES)
    append.run()
    append.deploy(1, "2.0.0")
    whole = append.drop("orders/whole.csv", "x\n1\n")
    append.run()

    def chosen(**fields: Any) -> list[str]:
        return [one.entry.key for one in quarantine.find(append.project, Selection(**fields))]

    held_at = append.entry(whole).finished_at
    assert held_at is not None
    assert chosen() == [rows.key, whole.key]
    assert chosen(dataset="orders") == [rows.key, whole.key]
    assert chosen(dataset="other") == []
    assert chosen(object="rows.csv") == [rows.key]
    assert chosen(object=whole.url) == [whole.key]
    assert chosen(rule="greater_than_or_equal_to(1)") == [rows.key]
    assert chosen(rule="greater_than_or_equal_to") == [rows.key]
    assert chosen(rule="greater_than") == []
    assert chosen(rule="header") == [whole.key]
    assert chosen(contract_version="1.0.0") == [rows.key]
    assert chosen(since=held_at) == [whole.key]
    assert chosen(until=held_at) == [rows.key]
    assert chosen(discarded=True) == []
    with pytest.raises(UsageError, match="knows no object nothing"):
        chosen(object="nothing.csv")


def test_a_dataset_without_contract_is_passed_over(append: Pipeline) -> None:
    append.drop("orders/1.csv", LINES)
    append.run()
    for file in (append.root / append.package).glob("orders_*.py"):
        file.unlink()
    append.project.close()
    append.reopen()
    plan = quarantine.redrive(append.project, Selection(), "a test")
    assert (plan.held, plan.skipped) == ([], {"no data contract declares the dataset orders": 1})


# Discard


def test_discarded_rows_stay_rejected_until_they_are_taken_up_again(pipeline: Pipeline) -> None:
    obj = pipeline.drop("orders/1.csv", LINES)
    pipeline.run()
    plan = quarantine.discard(pipeline.project, Selection(), by="ann", reason="Test orders.")
    assert (plan.rows, plan.objects) == (2, [])
    again = quarantine.discard(pipeline.project, Selection(), by="ann", reason="Test orders.")
    assert again.held == []
    assert pipeline.entry(obj).rows_rejected == 2
    assert json.loads((pipeline.report(obj) / "report.json").read_text())["rejections"] == []
    pipeline.deploy(-5, "1.1.0")
    assert pipeline.redrive().held == []
    plan = pipeline.redrive(discarded=True)
    assert plan.rows == 2
    assert [row[0] for row in pipeline.table()] == [5, -1, 6]
    assert quarantine.find(pipeline.project, Selection(discarded=True)) == []


def test_a_discarded_object_is_final_and_can_be_taken_up_again(append: Pipeline) -> None:
    obj = append.drop("orders/1.csv", "order_id;shop\n5;A\n")
    append.run()
    plan = quarantine.discard(append.project, Selection(object=obj.key), by="ann", reason="Not ours.")
    assert [one.whole for one in plan.held] == [True]
    entry = append.entry(obj)
    assert (entry.state, entry.reason) == ("discarded", "Discarded by ann: Not ours.")
    (status,) = append.project.ledger.ask(queries.status)
    assert (status.quarantined, status.discarded) == (0, 1)
    append.deploy(1, "1.1.0", SEMICOLON)
    assert append.redrive().held == []
    assert len(append.redrive(discarded=True).held) == 1
    assert append.entry(obj).state == "loaded"


# Reports


def test_a_report_says_what_is_held_and_why(append: Pipeline) -> None:
    good = append.drop("orders/good.csv", "order_id,shop\n1,A\n")
    rows = append.drop("orders/rows.csv", LINES)
    whole = append.drop("orders/whole.csv", "x\n1\n")
    append.run()
    assert append.entry(good).report is None
    folder = append.report(rows)
    assert folder == append.root / ".tidegate/quarantine/orders/orders/rows.csv" / rows.version
    document = json.loads((folder / "report.json").read_text())
    assert (document["rows_read"], document["rows_loaded"], document["rows_rejected"]) == (4, 2, 2)
    assert (document["dataset"], document["contract_version"], document["state"]) == (
        "orders",
        "1.0.0",
        "loaded",
    )
    assert document["sha256"] == append.entry(rows).content_sha256
    assert document["dialect"]["delimiter"] == ","
    rule = "greater_than_or_equal_to(1)"
    assert document["reasons"] == [
        {"rule": rule, "column": "order_id", "contract_version": "1.0.0", "rows": 2}
    ]
    assert [(one["record"], one["value"]) for one in document["rejections"]] == [(2, "-1"), (4, "-9")]
    assert sorted(path.name for path in folder.iterdir()) == ["rejected.csv", "report.json"]
    assert (append.report(whole) / "object").read_text() == "x\n1\n"
    held = json.loads((append.report(whole) / "report.json").read_text())
    assert (held["state"], held["rule"]) == ("quarantined", "header")
    assert "missing" in held["reason"]


def test_rejected_rows_are_safe_in_a_spreadsheet_and_written_twice_the_same(append: Pipeline) -> None:
    damaged = 'order_id,shop\n5,A\n=cmd|"x",B\n'
    obj = append.drop("orders/1.csv", damaged)
    append.run()
    file = append.report(obj) / "rejected.csv"
    assert file.read_bytes().startswith(b"\xef\xbb\xbfraw,line,record,reasons\r\n")
    with file.open(encoding="utf-8-sig", newline="") as text:
        (row,) = csv.DictReader(text)
    assert row["record"] == "2"
    assert not row["raw"].startswith("=")
    before = {path.name: path.read_bytes() for path in append.report(obj).iterdir()}
    reports.rewrite(append.project, [append.entry(obj)])
    assert {path.name: path.read_bytes() for path in append.report(obj).iterdir()} == before


def test_a_report_that_cannot_be_written_does_not_undo_the_load_and_is_written_later(
    append: Pipeline, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> None:
        raise StoreUnavailableError("The bucket did not answer.")

    obj = append.drop("orders/1.csv", LINES)
    with monkeypatch.context() as patch:
        patch.setattr(FolderStore, "put", fail)
        append.run()
    entry = append.entry(obj)
    assert (entry.state, entry.rows_rejected, entry.report) == ("loaded", 2, None)
    assert "The bucket did not answer" in caplog.text
    assert reports.write_missing(append.project, finished_before=entry.finished_at) == 0
    assert reports.write_missing(append.project) == 1
    assert (append.report(obj) / "rejected.csv").exists()
    assert reports.write_missing(append.project) == 0
    assert not list(append.project.settings.staging_dir.glob("report-*"))


def test_when_everything_passed_the_report_says_so(append: Pipeline) -> None:
    obj = append.drop("orders/1.csv", LINES)
    append.run()
    append.deploy(-10, "1.1.0")
    append.redrive()
    document = json.loads((append.report(obj) / "report.json").read_text())
    assert (document["rows_rejected"], document["reasons"]) == (0, [])


def test_reports_of_many_rows_hold_them_all(append: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "_PAGE", 7)
    text = "order_id,shop\n1,A\n" + "".join(f"-{n},B\n" for n in range(1, 121))
    objects = [append.drop(f"orders/{n}.csv", text) for n in range(3)]
    append.run()
    for obj in objects:
        with (append.report(obj) / "rejected.csv").open(encoding="utf-8-sig", newline="") as file:
            assert [int(row["record"]) for row in csv.DictReader(file)] == list(range(2, 122))
        document = json.loads((append.report(obj) / "report.json").read_text())
        assert len(document["rejections"]) == 100


def test_keys_that_no_folder_could_hold_have_a_place_too(append: Pipeline) -> None:
    from tidegate.quarantine import folder_of

    obj = append.drop("orders/1.csv", LINES)
    entry = append.entry(obj)
    assert folder_of(entry) == f"orders/orders/1.csv/{obj.version}/"
    for key in ("a/../b.csv", "a//b.csv", ".hidden/b.csv", "b" * 300, "a\nb.csv", "b.part", "/b.csv"):
        assert folder_of(replace(entry, key=key)) == f"orders/{obj.object_id}/"


def test_held_rows_count_each_record_once(append: Pipeline) -> None:
    append.drop("orders/1.csv", LINES)
    append.run()
    (line,) = append.project.warehouse.held(HeldSelection())
    assert (line.rows, line.rows_of_object) == (2, 2)
