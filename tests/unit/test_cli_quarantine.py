"""tidegate quarantine and what other commands say of held rows, for people and for programs."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner, Result

from tidegate.cli.app import app
from tidegate.events import ObjectUploaded, Via
from tidegate.operations import ingest
from tidegate.operations.project import Project, open_project
from tidegate.operations.record import record_uploads

if TYPE_CHECKING:
    from pathlib import Path

CONTRACT = """
import pandera.polars as pa
from tidegate.contracts import Append, Contract

class Order(pa.DataFrameModel):
    order_id: int = pa.Field(ge=1)
    shop: str

orders = Contract(
    name="orders", version="1.0.0", owner="o", description="d", keys=["orders/*.csv"], schema=Order,
    load=Append(),
)
"""
ROWS, WHOLE = "orders/rows.csv", "orders/whole.csv"
RULE = "greater_than_or_equal_to(1)"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    package = f"contracts_{uuid.uuid4().hex}"
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").touch()
    (tmp_path / package / "orders.py").write_text(CONTRACT)
    (tmp_path / "tidegate.toml").write_text(f'contracts = "{package}"\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    project = open_project(tmp_path)
    drop(project, ROWS, "order_id,shop\n5,A\n-1,B\nx,C\n")
    drop(project, WHOLE, "x\n1\n")
    process(project)
    project.close()
    return tmp_path


def drop(project: Project, key: str, text: str) -> None:
    source = project.settings.root / "source.csv"
    source.write_text(text)
    notice = ObjectUploaded(object=project.store.put(source, key), via=Via.WATCH)
    record_uploads(project.ledger, project.registry, project.store, [notice])


def process(project: Project) -> None:
    batch = ingest.claim(project, "orders", str(uuid.uuid4()))
    verdicts = ingest.validate_batch(project, batch)
    verdicts = ingest.normalize_batch(project, batch, verdicts)
    verdicts = ingest.enrich_batch(project, batch, verdicts)
    ingest.load_batch(project, batch, verdicts)
    ingest.finish(project, batch, None)


def run(*words: str) -> Result:
    return CliRunner().invoke(app, words)


def document(*words: str, code: int = 0) -> Any:
    done = run(*words, "--output", "json")
    assert done.exit_code == code, done.output
    return json.loads(done.stdout)


@pytest.mark.usefixtures("root")
def test_what_is_held_is_listed_and_chosen() -> None:
    found = document("quarantine", "ls")
    assert [(one["key"], one["kind"], one["rule"], one["column"]) for one in found] == [
        (ROWS, "rows", RULE, "order_id"),
        (ROWS, "rows", "type", "order_id"),
        (WHOLE, "object", "header", None),
    ]
    assert found[0]["rows"] == 1
    assert found[0]["contract_version"] == "1.0.0"
    assert found[0]["report"].endswith(f"/quarantine/orders/{ROWS}/{found[0]['version']}/")
    for words, lines in [
        (("--dataset", "orders"), 3),
        (("--dataset", "others"), 0),
        (("--object", "whole.csv"), 1),
        (("--rule", "type"), 1),
        (("--contract-version", "2.0.0"), 0),
        (("--older-than", "1h"), 0),
        (("--since", "2026-01-31"), 3),
        (("--discarded",), 0),
    ]:
        assert len(document("quarantine", "ls", *words)) == lines, words
    shown = run("quarantine", "ls").stdout
    assert RULE in shown
    assert WHOLE in shown
    assert run("quarantine", "ls", "--dataset", "others").stdout == "Nothing is held.\n"


@pytest.mark.usefixtures("root")
def test_held_rows_are_shown_with_line_and_reason() -> None:
    (shown,) = document("quarantine", "show", ROWS)
    assert (shown["held"], shown["rule"]) == ("rows", None)
    assert [(one["rule"], one["rows"]) for one in shown["reasons"]] == [(RULE, 1), ("type", 1)]
    assert [one["record"] for one in shown["rejections"]] == [2, 3]
    assert shown["rejections"][1]["reasons"][0]["value"] == "x"
    (first,) = document("quarantine", "show", ROWS, "--limit", "1")
    assert len(first["rejections"]) == 1
    text = run("quarantine", "show", ROWS).stdout
    assert "order_id is 'x', but must be" in text
    whole = run("quarantine", "show", WHOLE).stdout
    assert "held as a whole (header)" in whole
    nothing = run("quarantine", "show", ROWS, "--discarded")
    assert (nothing.exit_code, nothing.stdout) == (0, f"Nothing of {ROWS} is discarded.\n")


@pytest.mark.usefixtures("root")
def test_why_shows_held_rows_and_where_the_report_lies() -> None:
    text = run("why", ROWS).stdout
    assert "Its held rows:" in text
    assert "order_id is 'x', but must be" in text
    assert "/quarantine/orders/orders/rows.csv/" in text
    (story,) = document("why", ROWS)
    assert [one["record"] for one in story["held"]] == [2, 3]
    assert story["report"]


def test_reports_are_exported(root: Path) -> None:
    (one,) = document("quarantine", "export", ROWS, "--to", "out")
    folder = root / "out" / "orders" / ROWS / one["version"]
    assert sorted(path.name for path in folder.iterdir()) == ["rejected.csv", "report.json"]
    assert one["rows"] == 2
    assert len(document("quarantine", "export", "--dataset", "orders")) == 2
    assert run("quarantine", "export", "--dataset", "orders").stdout.endswith("2 reports written.\n")


@pytest.mark.usefixtures("root")
def test_a_redrive_says_what_it_took_up() -> None:
    dry = document("quarantine", "redrive", "--dry-run")
    assert not dry["changed"]
    assert [(one["key"], one["held"]) for one in dry["objects"]] == [(ROWS, "rows"), (WHOLE, "object")]
    assert {one["state"] for one in document("objects")} == {"loaded", "quarantined"}
    assert (
        "1 object and 0 rows of 0 others taken up." in run("quarantine", "redrive", "--rule", "header").stdout
    )
    taken = document("quarantine", "redrive")
    assert [(one["key"], one["rows"]) for one in taken["objects"]] == [(ROWS, 2)]
    assert {one["state"] for one in document("objects")} == {"pending"}
    again = document("quarantine", "redrive")
    assert (again["objects"], again["skipped"]) == ([], {"is taken up already": 1})


@pytest.mark.usefixtures("root")
def test_after_a_discard_nothing_asks_for_attention() -> None:
    assert run("status").exit_code == 3
    assert run("quarantine", "discard", "--reason", "Old.").exit_code == 2
    planned = document("quarantine", "discard", "--all", "--reason", "Old.", "--dry-run")
    assert (len(planned["objects"]), planned["changed"]) == (2, False)
    assert len(document("quarantine", "discard", "--all", "--reason", "Old.")["objects"]) == 2
    assert run("status").exit_code == 0
    assert document("quarantine", "ls") == []
    assert len(document("quarantine", "ls", "--discarded")) == 3
    (entry,) = document("objects", "--state", "discarded")
    assert entry["reason"].endswith(": Old.")
    assert len(document("quarantine", "redrive", "--discarded")["objects"]) == 2


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize(
    "words",
    [
        ("ls", "--older-than", "yesterday"),
        ("ls", "--since", "yesterday"),
        ("ls", "--object", "nothing.csv"),
        ("show", "nothing.csv"),
        ("export",),
        ("discard",),
    ],
    ids=" ".join,
)
def test_a_mistake_in_the_call_is_exit_code_2_and_a_sentence(words: tuple[str, ...]) -> None:
    done = run("quarantine", *words)
    assert done.exit_code == 2
    assert "Traceback" not in done.output
