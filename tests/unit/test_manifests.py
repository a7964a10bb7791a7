"""Manifests in the landing: told from data, read with the file they tell of, and waited for."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest

from tests.unit.test_dispatch import Prefect
from tests.unit.test_ingest import drop, run
from tidegate.contracts.manifests import is_manifest, manifest_key
from tidegate.events import ObjectUploaded, Via
from tidegate.ledger import ObjectEntry, Upload, queries
from tidegate.objects.folder import FolderStore
from tidegate.operations import ingest, quarantine
from tidegate.operations.manifests import reopen_for_manifests
from tidegate.operations.project import Project, open_project
from tidegate.operations.quarantine import Selection
from tidegate.prefect.dispatch import Dispatcher

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


pytestmark = pytest.mark.slow

CONTRACT = """
import pandera.polars as pa
from tidegate.contracts import Budget, Contract, ControlTotals

class Sale(pa.DataFrameModel):
    sale_id: int = pa.Field(ge=1)
    amount: float

sales = Contract(
    name="sales", version="1.0.0", owner="o", description="d", keys=["sales/*.csv"], schema=Sale,
    totals=ControlTotals(manifest="{key}.json", rows="rows", sums={"amount": "total"}),
    budget=Budget(max_rows=1),
)
"""
DATA = "sale_id,amount\n1,2.5\n2,4\n"
KEY = "sales/may.csv"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    package = f"contracts_{uuid.uuid4().hex}"
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text("")
    (tmp_path / package / "sales.py").write_text(CONTRACT)
    (tmp_path / "tidegate.toml").write_text(f'contracts = "{package}"\n')
    monkeypatch.syspath_prepend(tmp_path)
    project = open_project(tmp_path)
    yield project
    project.close()


def announce(project: Project, rows: object, total: object) -> str:
    return drop(project, f"{KEY}.json", json.dumps({"rows": rows, "total": total})).object_id


def now(project: Project, object_id: str) -> ObjectEntry:
    return project.ledger.ask(queries.by_id, [object_id])[object_id]


def story(project: Project, object_id: str) -> list[str]:
    return [event.type.verb for event in project.ledger.ask(queries.story, object_id)]


def test_a_manifest_is_known_as_one_and_never_processed(project: Project) -> None:
    manifest = now(project, announce(project, 2, 6.5))
    assert (manifest.state, manifest.dataset) == ("ignored", "sales")
    assert manifest.reason == "It is a manifest of sales: read for the control totals, and not loaded."
    (status,) = project.ledger.ask(queries.status)
    assert (status.dataset, status.ignored, status.unmatched, status.pending) == ("sales", 1, 0, 0)
    assert project.ledger.ask(queries.backlogs) == []
    other = now(project, drop(project, "sales/may.json", "{}").object_id)
    assert other.state == "unmatched"
    project.ledger.rebuild()
    assert now(project, manifest.object_id) == manifest


def test_a_file_whose_manifest_lies_there_is_loaded(project: Project) -> None:
    announce(project, 2, 6.5)
    data = drop(project, KEY, DATA).object_id
    run(project, "sales")
    assert now(project, data).state == "loaded"


def test_a_file_before_its_manifest_is_held_and_taken_up_when_it_comes(project: Project) -> None:
    data = drop(project, KEY, DATA).object_id
    run(project, "sales")
    held = now(project, data)
    assert held.state == "quarantined"
    assert held.reason == (
        f"The manifest {KEY}.json is not there yet. "
        "Once it is uploaded, this object is tried again by itself."
    )
    assert project.ledger.ask(queries.broken_rules, [data]) == {data: "manifest"}
    assert reopen_for_manifests(project) == 0

    before = project.ledger.last_seq()
    announce(project, 2, 6.5)
    assert reopen_for_manifests(project, since=project.ledger.last_seq()) == 0, "nothing came since"
    assert reopen_for_manifests(project, since=before) == 1
    assert reopen_for_manifests(project) == 0
    assert now(project, data).state == "pending"
    run(project, "sales")
    assert now(project, data).state == "loaded"
    assert reopen_for_manifests(project) == 0


def test_a_manifest_that_is_there_and_no_file_is_called_so(project: Project) -> None:
    data = drop(project, KEY, DATA).object_id
    FolderStore.from_settings(project.settings).root.joinpath(f"{KEY}.json").symlink_to("/dev/null")
    run(project, "sales")
    reason = now(project, data).reason
    assert reason.startswith(f"The manifest {KEY}.json can't be read: ")
    assert reason.endswith(". Once it is uploaded, this object is tried again by itself.")
    assert ".." not in reason


def test_a_manifest_that_comes_while_the_file_is_judged_is_not_missed(project: Project) -> None:
    data = drop(project, KEY, DATA).object_id
    run_id = str(uuid.uuid4())
    batch = ingest.claim(project, "sales", run_id)
    verdicts = ingest.validate_batch(project, batch)
    announce(project, 2, 6.5)
    assert reopen_for_manifests(project) == 0, "a run is at work on it"
    project.ledger.end_claim(run_id, "the world stood in the way")
    # A retry takes the verdict as it was noted, and claims after the manifest came.
    batch = ingest.claim(project, "sales", run_id)
    assert ingest.validate_batch(project, batch) == verdicts
    ingest.load_batch(project, batch, verdicts)
    ingest.finish(project, batch, None)
    assert now(project, data).state == "quarantined"
    assert reopen_for_manifests(project) == 1
    run(project, "sales")
    assert now(project, data).state == "loaded"


def test_a_corrected_manifest_takes_the_file_up_again(project: Project) -> None:
    announce(project, 3, 6.5)
    data = drop(project, KEY, DATA).object_id
    run(project, "sales")
    assert now(project, data).reason == (
        "The file does not hold what its supplier says: 3 records are announced, 2 were read."
    )
    assert reopen_for_manifests(project) == 0, "it was judged by this manifest"
    announce(project, 2, 7)
    assert reopen_for_manifests(project) == 1
    run(project, "sales")
    assert (
        now(project, data).reason.endswith("total is announced as 7, what was read adds up to 6.5.") is False
    )
    assert "the sum of amount is announced as 7" in now(project, data).reason
    announce(project, 2, "6.50")
    assert reopen_for_manifests(project) == 1
    run(project, "sales")
    assert now(project, data).state == "loaded"
    assert story(project, data).count("reopened") == 2


def test_what_is_held_for_another_reason_or_discarded_stays(project: Project) -> None:
    headless = drop(project, KEY, "id,amount\n1,2\n").object_id
    run(project, "sales")
    announce(project, 1, 2)
    assert now(project, headless).state == "quarantined"
    assert reopen_for_manifests(project) == 0
    late = drop(project, "sales/june.csv", DATA).object_id
    run(project, "sales")
    quarantine.discard(project, Selection(object="sales/june.csv"), by="a person", reason="old")
    drop(project, "sales/june.csv.json", '{"rows": 2, "total": 6.5}')
    assert reopen_for_manifests(project) == 0
    assert now(project, late).state == "discarded"


def test_a_redrive_by_hand_works_too(project: Project) -> None:
    data = drop(project, KEY, DATA).object_id
    run(project, "sales")
    source = project.settings.root / "manifest.json"
    source.write_text('{"rows": 2, "total": 6.5}')
    project.store.put(source, f"{KEY}.json")  # and no event tells of it
    quarantine.redrive(project, Selection(object=KEY), "a person")
    run(project, "sales")
    assert now(project, data).state == "loaded"


@pytest.mark.parametrize(
    ("manifest", "reason"),
    [
        ("{", "The manifest can't be read as JSON: "),
        ("[2]", "The manifest is JSON, but not an object"),
        ('{"rows": true, "total": 6.5}', "The announced number of records, true, is not a whole number."),
        ('{"rows": 2, "total": null}', "The announced sum of amount, null, is not a number"),
        ('{"rows": 2}', "The manifest lacks 'total'."),
        (" " * 1_048_577, f"The manifest {KEY}.json is larger than 1,048,576 bytes, so it can't be one."),
    ],
    ids=["broken", "list", "boolean", "null", "lacks", "large"],
)
def test_a_file_with_a_bad_manifest_is_held_alone(project: Project, manifest: str, reason: str) -> None:
    drop(project, f"{KEY}.json", manifest)
    data = drop(project, KEY, DATA).object_id
    drop(project, "sales/june.csv.json", '{"rows": 2, "total": 6.5}')
    good = drop(project, "sales/june.csv", DATA).object_id
    run(project, "sales")
    assert now(project, data).state == "quarantined"
    assert now(project, data).reason.startswith(reason)
    assert project.ledger.ask(queries.broken_rules, [data]) == {data: "control_total"}
    assert now(project, good).state == "loaded"


def test_totals_hold_beside_the_budget(project: Project) -> None:
    """Rejected rows within the budget count with their values; a sum that lacks one holds the file."""
    one_bad = DATA + "-3,1.5\n"
    announce(project, 3, 8)
    within = drop(project, KEY, one_bad).object_id
    run(project, "sales")
    assert (now(project, within).state, now(project, within).rows_rejected) == ("loaded", 1)

    drop(project, "sales/june.csv.json", '{"rows": 3, "total": 8}')
    unread = drop(project, "sales/june.csv", DATA + "3,much\n").object_id
    drop(project, "sales/july.csv.json", '{"rows": 4, "total": 9.5}')
    too_many = drop(project, "sales/july.csv", one_bad + "-4,1.5\n").object_id
    run(project, "sales")
    assert now(project, unread).reason.endswith("adds up to 6.5 without 1 value that can't be read.")
    assert project.ledger.ask(queries.broken_rules, [unread, too_many]) == {
        unread: "control_total",
        too_many: "budget",
    }


def test_an_upload_that_was_unmatched_before_the_contract_asked_for_it_counts(project: Project) -> None:
    drop(project, KEY, DATA)
    run(project, "sales")
    source = project.settings.root / "manifest.json"
    source.write_text('{"rows": 2, "total": 6.5}')
    notice = ObjectUploaded(object=project.store.put(source, f"{KEY}.json"), via=Via.WATCH)
    project.ledger.record([Upload(notice=notice, dataset=None, problem="No data contract matches the key.")])
    assert reopen_for_manifests(project) == 1


def test_the_dispatcher_reopens_and_starts_a_run(project: Project) -> None:
    drop(project, KEY, DATA)
    run(project, "sales")
    prefect = Prefect()
    dispatcher = Dispatcher(project, cast("Any", prefect))
    dispatcher.step()
    assert prefect.made == []
    announce(project, 2, 6.5)
    dispatcher.step()
    assert [made.parameters for made in prefect.made] == [{"dataset": "sales"}]


@pytest.mark.parametrize(
    ("pattern", "globs", "key", "manifest"),
    [
        ("{key}.json", ["sales/*.csv"], "sales/a.csv", "sales/a.csv.json"),
        ("{stem}.json", ["sales/*.csv"], "sales/a.csv", "sales/a.json"),
        ("{stem}.json", ["sales/*"], "sales/a", "sales/a.json"),
        ("{stem}.json", ["**/*.csv.gz"], "2026.05/x/a.csv.gz", "2026.05/x/a.csv.json"),
        ("{stem}.json", ["2026.05/*"], "2026.05/a", "2026.05/a.json"),
        ("{stem}.ok", ["sales/a.*"], "sales/a.b.csv", "sales/a.b.ok"),
        ("checks/{key}", ["sales/*.csv"], "sales/a.csv", "checks/sales/a.csv"),
        ("checks/{stem}/{stem}.json", ["*.csv"], "a.csv", "checks/a/a.json"),
        ("{stem}/{key}.json", ["*.csv"], "a.csv", "a/a.csv.json"),
        ("totals.json", ["*.csv"], "a.csv", "totals.json"),
        ("{key}.json", ["*.csv"], "{stem}.csv", "{stem}.csv.json"),
    ],
)
def test_where_a_manifest_lies(pattern: str, globs: list[str], key: str, manifest: str) -> None:
    assert manifest_key(pattern, key) == manifest
    assert is_manifest(pattern, globs, manifest)
    assert not is_manifest(pattern, globs, key)
    assert not is_manifest(pattern, globs, f"elsewhere/{manifest}x")
    assert not is_manifest(pattern, globs, "orders/x/a.txt.json")


def test_a_manifest_that_a_wide_key_pattern_matches_is_still_one(project: Project) -> None:
    contract = project.registry["sales"]
    wide = replace(contract, keys=["sales/*"])
    assert wide.matches("sales/may.csv")
    assert not wide.matches("sales/may.csv.json")
    assert wide.has_manifest("sales/may.csv.json")


HALF_A_CHARACTER = "\\ud800"


@pytest.mark.parametrize(
    "said",
    [
        f'{{"rows": "{HALF_A_CHARACTER}", "total": 6.5}}',
        f'{{"rows": 2, "total": "{HALF_A_CHARACTER}"}}',
        '{"rows": 2, "total": 1e99999999999999999999999}',
    ],
)
def test_a_manifest_that_says_nonsense_holds_its_file_alone_until_a_better_one_comes(
    project: Project, said: str
) -> None:
    drop(project, "sales/june.csv.json", '{"rows": 2, "total": 6.5}')
    other = drop(project, "sales/june.csv", DATA).object_id
    drop(project, f"{KEY}.json", said)
    data = drop(project, KEY, DATA).object_id
    run(project, "sales")
    assert now(project, other).state == "loaded"
    held = now(project, data)
    assert held.state == "quarantined"
    held.reason.encode()
    assert project.ledger.ask(queries.broken_rules, [data]) == {data: "control_total"}

    announce(project, 2, 6.5)
    assert reopen_for_manifests(project) == 1
    run(project, "sales")
    assert now(project, data).state == "loaded"


def test_a_verdict_that_cannot_be_noted_holds_its_object_alone(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tidegate.stages import together, validate

    for key in (KEY, "sales/june.csv"):
        drop(project, f"{key}.json", '{"rows": 2, "total": 6.5}')
    one, other = (drop(project, key, DATA).object_id for key in (KEY, "sales/june.csv"))
    by_itself, with_others = validate.validate, together.validate_together

    def broken(verdict: Any) -> Any:
        known = verdict.object_id != one
        return verdict if known else verdict.model_copy(update={"content_sha256": "\ud800"})

    monkeypatch.setattr(validate, "validate", lambda *given, **named: broken(by_itself(*given, **named)))
    monkeypatch.setattr(
        together,
        "validate_together",
        lambda *given: {name: broken(found) for name, found in with_others(*given).items()},
    )
    run(project, "sales")
    assert [now(project, object_id).state for object_id in (one, other)] == ["quarantined", "loaded"]
    assert project.ledger.ask(queries.broken_rules, [one]) == {one: "contract"}
