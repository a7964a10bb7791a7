"""tidegate quarantine and what other commands say of held rows, for people and for programs."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner, Result

from tidegate.cli.app import app
from tidegate.cli.output import shortened
from tidegate.events import ObjectUploaded, Via
from tidegate.operations import ingest
from tidegate.operations.project import Project, open_project
from tidegate.operations.record import record_uploads

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

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
    assert (nothing.exit_code, nothing.stdout) == (0, f"Nothing of {ROWS} was discarded: it is loaded.\n")


@pytest.mark.parametrize("command", ["redrive", "discard"])
def test_what_is_not_held_is_told_with_its_state(root: Path, command: str) -> None:
    project = open_project(root)
    drop(project, "nowhere/notes.txt", "x\n")
    project.close()
    reason = ["--reason", "Not wanted."] if command == "discard" else []
    told = run("quarantine", command, "--object", "nowhere/notes.txt", *reason).stdout
    assert told.endswith("Nothing of nowhere/notes.txt is held: it is unmatched.\n")


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize("command", ["ls", "redrive", "discard"])
def test_a_second_object_is_refused_and_not_passed_over(command: str) -> None:
    reason = ["--reason", "Not wanted."] if command == "discard" else []
    done = run("quarantine", command, "--object", ROWS, "--object", WHOLE, *reason)
    assert done.exit_code == 2
    assert "Give --object once" in done.stderr
    assert document("quarantine", "ls", "--discarded") == []


def test_what_is_shown_says_how_much_is_left_out_and_stays_in_its_lines(root: Path) -> None:
    project = open_project(root)
    drop(project, "orders/many.csv", "order_id,shop\n" + "".join(f'-{n},"a\nb"\n' for n in range(1, 25)))
    process(project)
    project.close()
    text = run("quarantine", "show", "orders/many.csv").stdout
    assert f"  24 rows: {RULE} in order_id\n" in text
    assert '\n      -1,"a\\nb"\n' in text
    assert "\n    … and 4 more; --limit 24 shows all.\n" in text
    assert " more;" not in run("quarantine", "show", "orders/many.csv", "--limit", "24").stdout
    assert '\n      -1,"a\\nb"\n' in run("why", "orders/many.csv").stdout
    (shown,) = document("quarantine", "show", "orders/many.csv")
    assert shown["rejections"][0]["raw"] == '-1,"a\nb"', "programs get it as it stands"
    assert f"  1 row: {RULE} in order_id\n" in run("quarantine", "show", ROWS).stdout


@pytest.mark.usefixtures("root")
def test_a_rule_is_known_by_its_name_and_an_unknown_one_is_answered_with_those_that_are() -> None:
    assert [one["rule"] for one in document("quarantine", "ls", "--rule", "greater_than_or_equal_to")] == [
        RULE
    ]
    assert document("quarantine", "ls", "--rule", "greater_than") == []
    assert "1 row of 1 object" in run("quarantine", "redrive", "--rule", "type", "--dry-run").stdout
    said = f"for the rule isin. There is: {RULE}, header, type.\n"
    assert run("quarantine", "ls", "--rule", "isin").stdout == f"Nothing is held {said}"
    assert run("quarantine", "redrive", "--rule", "isin").stdout.endswith(f"Nothing is held {said}")
    assert run("quarantine", "show", ROWS, "--rule", "isin").stdout == (
        f"Nothing of {ROWS} is held for the rule isin. There is: {RULE}, type.\n"
    )
    discarded = run("quarantine", "ls", "--rule", "isin", "--discarded").stdout
    assert discarded == "Nothing was discarded for the rule isin. Nor for another.\n"


@pytest.mark.parametrize(
    ("rule", "short"),
    [
        (RULE, RULE),
        (
            "isin(['January', 'February', 'March', 'April', 'May'])",
            "isin(['January', 'February', 'March', …])",
        ),
        ("str_matches(^[A-Z]{3}-[0-9]{4}-[a-z]{12}$)", "str_matches(^[A-Z]{3}-[0-9]{4}-[a-z]{1…)"),
        ("a_name_that_an_author_gave_and_that_never_ends", "a_name_that_an_author_gave_and_that_neve…"),
    ],
)
def test_a_long_rule_is_cut_in_tables(rule: str, short: str) -> None:
    assert shortened(rule) == short


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
    assert run("quarantine", "export", ROWS).stdout.endswith("\n1 report written.\n")
    assert len(document("quarantine", "export", "--dataset", "orders")) == 2
    assert run("quarantine", "export", "--dataset", "orders").stdout.endswith("2 reports written.\n")


@pytest.mark.usefixtures("root")
def test_a_redrive_says_what_it_took_up() -> None:
    dry = document("quarantine", "redrive", "--dry-run")
    assert not dry["changed"]
    assert [(one["key"], one["held"]) for one in dry["objects"]] == [(ROWS, "rows"), (WHOLE, "object")]
    assert {one["state"] for one in document("objects")} == {"loaded", "quarantined"}
    assert run("quarantine", "redrive", "--dry-run").stdout.endswith(
        "1 object and 2 rows of 1 other would be taken up.\n"
    )
    assert run("quarantine", "redrive", "--rule", "type", "--dry-run").stdout.endswith(
        "\n1 row of 1 object would be taken up.\n"
    )
    assert run("quarantine", "redrive", "--rule", "header").stdout.endswith("\n1 object taken up.\n")
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
