"""How objects are written is recorded, and a change of it told, wherever someone may look."""

from __future__ import annotations

import json
import logging
import os
import re
import uuid
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from tidegate.cli.app import app
from tidegate.events import EventType, ObjectUploaded, Via
from tidegate.events.payloads import Validated
from tidegate.ledger import Batch, queries
from tidegate.ledger.dialects import LOOKED_BACK, dialect_changes, loaded_dialects
from tidegate.ledger.tables import PROJECTIONS
from tidegate.operations import ingest
from tidegate.operations.project import Project, open_project
from tidegate.operations.record import record_uploads
from tidegate.operations.summary import summarize
from tidegate.prefect.runs import table
from tidegate.stages.dialects import Feed, recorded
from tidegate.stages.model import Verdict, VerdictState

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tidegate.ledger import ObjectEntry

CONTRACT = """
import pandera.polars as pa
from tidegate.contracts import Append, Columns, Contract

class Order(pa.DataFrameModel):
    order_id: int = pa.Field(ge=1)
    shop: str

orders = Contract(
    name="orders", version="1.0.0", owner="o", description="d", keys=["orders/*"], schema=Order,
    dialect="detect", columns=Columns(extra="ignore"), load=Append(),
)
"""

COMMA, SEMICOLON = b'order_id,shop\n1,"A"\n', b'order_id;shop\n1;"B"\n'


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    package = f"contracts_{uuid.uuid4().hex}"
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text("")
    (tmp_path / package / "all.py").write_text(CONTRACT)
    (tmp_path / "tidegate.toml").write_text(f'contracts = "{package}"\n')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    project = open_project(tmp_path)
    yield project
    project.close()


def drop(project: Project, name: str, content: bytes, *, second: int) -> None:
    """Upload as of a second of the year 2026's first minute."""
    source = project.settings.root / "source"
    source.write_bytes(content)
    path = project.settings.root / ".tidegate" / "landing" / project.store.put(source, f"orders/{name}").key
    os.utime(path, (1767225600 + second, 1767225600 + second))
    obj = project.store.stat(f"orders/{name}")
    record_uploads(
        project.ledger, project.registry, project.store, [ObjectUploaded(object=obj, via=Via.WATCH)]
    )


def run(project: Project) -> str:
    batch = ingest.claim(project, "orders", str(uuid.uuid4()))
    verdicts = ingest.validate_batch(project, batch)
    verdicts = ingest.normalize_batch(project, batch, verdicts)
    verdicts = ingest.enrich_batch(project, batch, verdicts)
    ingest.load_batch(project, batch, verdicts)
    ingest.finish(project, batch, None)
    return batch.id


def batch_of(run_id: str) -> Batch:
    return Batch(id=run_id, dataset="orders", objects=(), resumed=False)


def entries(project: Project) -> dict[str, ObjectEntry]:
    return {entry.key.rpartition("/")[2]: entry for entry in project.ledger.ask(queries.find)}


def changes(project: Project) -> dict[str, list[str] | None]:
    return {name: entry.dialect_changes for name, entry in entries(project).items()}


def validated(project: Project, name: str) -> dict[str, Any]:
    story = project.ledger.ask(queries.story, entries(project)[name].object_id)
    return [event.data for event in story if event.type is EventType.VALIDATED][-1]


def tables(project: Project) -> dict[str, list[Any]]:
    with project.ledger.reading() as connection:
        return {table.name: sorted(map(repr, connection.execute(sa.select(table)))) for table in PROJECTIONS}


def test_the_dialect_that_was_used_is_in_the_event_and_in_the_ledger(project: Project) -> None:
    drop(project, "a", "order_id;shop\r\n1;Köln\r\n".encode("windows-1252"), second=1)
    run(project)
    data = validated(project, "a")
    Validated.model_validate(data)
    assert data["dialect"] == {
        "encoding": "windows-1252",
        "byte_order_mark": False,
        "compression": "none",
        "delimiter": ";",
        "quote": '"',
        "escape": None,
        "line_end": "\r\n",
        "preamble_lines": 0,
        "header_lines": 1,
        "header": ["order_id", "shop"],
        "comment": None,
        "footer": None,
        "assumed": ["escape", "quote"],
    }
    assert "dialect_changes" not in data
    assert entries(project)["a"].dialect == data["dialect"]


def test_a_change_in_the_middle_of_a_batch_is_told_of_one_object(project: Project) -> None:
    for second, content in enumerate([COMMA, COMMA, SEMICOLON, SEMICOLON]):
        # Names, and the order of arrival, run against the order of upload.
        drop(project, f"{9 - second}", content, second=10 - second)
    run(project)
    assert changes(project) == {"9": None, "8": ["delimiter: ; → ,"], "7": None, "6": None}
    assert validated(project, "8")["dialect_changes"] == ["delimiter: ; → ,"]
    Validated.model_validate(validated(project, "8"))


def test_an_object_is_compared_with_what_was_loaded_before_it_in_order(project: Project) -> None:
    drop(project, "first", COMMA, second=10)
    run(project)
    drop(project, "second", SEMICOLON, second=30)
    run(project)
    drop(project, "late", COMMA, second=20)
    drop(project, "third", SEMICOLON, second=40)
    run(project)
    assert changes(project) == {"first": None, "late": None, "second": ["delimiter: , → ;"], "third": None}


def test_what_was_held_is_not_what_the_feed_uses(project: Project) -> None:
    drop(project, "1", COMMA, second=1)
    drop(project, "2", b"order_id;town\n1;A\n", second=2)
    drop(project, "3", COMMA, second=3)
    run(project)
    assert entries(project)["2"].state == "quarantined"
    assert changes(project)["3"] is None


def test_a_file_that_shows_no_quote_and_no_encoding_changes_nothing(project: Project) -> None:
    shown = "order_id,shop\r\n1,'Ö, B'\r\n".encode("windows-1252")
    for second, content in enumerate([shown, b"order_id,shop\r\n1,A\r\n", b"order_id,shop\r\n", shown]):
        drop(project, f"{second}", content, second=second)
        run(project)
    assert [entry.state for entry in entries(project).values()] == ["loaded"] * 4
    assert entries(project)["0"].dialect != entries(project)["1"].dialect
    assert set(changes(project).values()) == {None}


def test_a_rebuild_gives_the_same_dialects(project: Project) -> None:
    drop(project, "1", COMMA, second=1)
    drop(project, "2", SEMICOLON, second=2)
    run(project)
    before = tables(project)
    assert any("delimiter: , → ;" in row for row in before["objects"])
    project.ledger.rebuild()
    assert tables(project) == before


def test_objects_of_before_dialects_were_recorded_are_no_base(project: Project) -> None:
    drop(project, "1", COMMA, second=1)
    run(project)
    with project.ledger.writing() as connection:
        connection.exec_driver_sql(
            "UPDATE events SET data = json_remove(data, '$.dialect') WHERE type LIKE '%validated%'"
        )
    project.ledger.rebuild()
    assert (entries(project)["1"].state, entries(project)["1"].dialect) == ("loaded", None)
    drop(project, "2", SEMICOLON, second=2)
    drop(project, "3", COMMA, second=3)
    run(project)
    assert changes(project) == {"1": None, "2": None, "3": ["delimiter: ; → ,"]}


def test_validation_tried_again_tells_the_same_once(project: Project) -> None:
    drop(project, "1", COMMA, second=1)
    drop(project, "2", SEMICOLON, second=2)
    batch = ingest.claim(project, "orders", "run")
    ingest.validate_batch(project, batch)
    events = project.ledger.last_seq()
    ingest.validate_batch(project, batch)
    assert project.ledger.last_seq() == events
    assert changes(project)["2"] == ["delimiter: , → ;"]


def test_a_batch_asks_the_ledger_once_and_by_an_index(project: Project) -> None:
    for second in range(3):
        drop(project, f"{second}", COMMA, second=second)
    asked: list[tuple[str, Any]] = []

    def note(_c: object, _cursor: object, statement: str, values: Any, *_: object) -> None:
        if "objects.dialect" in statement and "state" in statement and "objects.url" not in statement:
            asked.append((statement, values))

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        run(project)
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)
    ((statement, values),) = asked
    with project.ledger.reading() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values).all()
    looked = [row[3] for row in plan if "objects" in row[3]]
    assert len(looked) == 2
    assert all(
        "ix_objects_dataset_state_uploaded (dataset=? AND state=? AND uploaded_at" in one for one in looked
    )


def test_only_so_many_objects_are_looked_back_upon(project: Project) -> None:
    drop(project, "1", COMMA, second=1)
    run(project)
    entry = entries(project)["1"]
    with project.ledger.writing() as connection:
        connection.exec_driver_sql("UPDATE objects SET key = 'seed'")
        for index in range(LOOKED_BACK + 20):
            connection.exec_driver_sql(
                "CREATE TEMP TABLE IF NOT EXISTS one AS SELECT * FROM objects WHERE key = 'seed'"
            )
            connection.exec_driver_sql(
                f"UPDATE one SET object_id = 'o{index}', uploaded_at = '2026-01-02 00:00:00.{index:06}'"
            )
            connection.exec_driver_sql("INSERT INTO objects SELECT * FROM one")
    moment = entry.uploaded_at.replace(day=3)
    with project.ledger.reading() as connection:
        found = [object_id for _, object_id, _ in loaded_dialects(connection, "orders", moment, moment)]
    assert found == [f"o{index}" for index in range(20, LOOKED_BACK + 20)]


def test_a_change_is_told_in_the_log_the_run_why_objects_and_status(
    project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    drop(project, "1", COMMA, second=1)
    drop(project, "2", "order_id;shop\n1;Ö\n".encode("windows-1252"), second=2)
    with caplog.at_level(logging.WARNING, "tidegate"):
        run_id = run(project)
    told = "encoding: utf-8 → windows-1252; delimiter: , → ;"
    (record,) = [one for one in caplog.records if vars(one).get("action") == "dialect_changed"]
    assert record.levelno == logging.WARNING
    assert record.getMessage().endswith(f"orders/2 is written otherwise than the objects before it: {told}")

    summary = summarize(project.ledger, batch_of(run_id))
    assert (
        summary.description() == f"2 objects: 2 loaded (2 rows). The dialect changed with orders/2: {told}."
    )
    assert [row["dialect changed"] for row in table(summary)] == ["", told]

    def shown(*words: str) -> str:
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 0, result.output
        return result.output

    assert f"changed    {told}" in shown("why", "orders/2")
    assert "windows-1252, delimiter ;" in shown("why", "orders/2")
    assert "changed " not in shown("why", "orders/1")
    one, two = json.loads(shown("objects", "--output", "json"))
    assert (one["dialect"]["delimiter"], one["dialect_changes"]) == (",", None)
    assert (two["dialect"]["delimiter"], two["dialect_changes"]) == (";", told.split("; ", 1))
    warning = r"Warning: orders: orders/2, read \d+ s ago, is written otherwise than the objects before it: "
    assert re.search(warning + re.escape(f"{told}."), shown("status"))
    (status,) = json.loads(shown("status", "--output", "json"))
    assert status["dialect_changed"]["key"] == "orders/2"


def test_status_warns_of_the_last_change_only(project: Project) -> None:
    for second, content in enumerate([COMMA, SEMICOLON, COMMA]):
        drop(project, f"{second}", content, second=second)
    run_id = run(project)
    (change,) = project.ledger.ask(dialect_changes)
    assert (change.dataset, change.key, change.changes) == ("orders", "orders/2", ["delimiter: ; → ,"])
    assert "It changed with 1 object more." in summarize(project.ledger, batch_of(run_id)).description()


def dialect(**fields: Any) -> dict[str, Any]:
    usual = {
        "encoding": "utf-8",
        "byte_order_mark": False,
        "compression": "none",
        "delimiter": ",",
        "quote": '"',
        "escape": None,
        "line_end": "\n",
        "preamble_lines": 0,
        "header_lines": 1,
        "header": ["a", "b"],
        "comment": None,
        "footer": None,
        "assumed": [],
    }
    return {**usual, **fields}


@pytest.mark.parametrize(
    ("before", "now", "told"),
    [
        ({}, {}, []),
        ({}, {"encoding": "windows-1252"}, ["encoding: utf-8 → windows-1252"]),
        ({"encoding": "windows-1252"}, {"assumed": ["encoding"]}, []),
        ({"assumed": ["encoding"]}, {"encoding": "windows-1252"}, ["encoding: utf-8 → windows-1252"]),
        ({}, {"byte_order_mark": True}, ["byte order mark: no → yes"]),
        ({}, {"compression": "gzip"}, ["compression: none → gzip"]),
        ({}, {"delimiter": "\t"}, ["delimiter: , → tab"]),
        ({}, {"quote": None}, ['quote: " → none']),
        ({"quote": "'"}, {"assumed": ["quote"]}, []),
        ({}, {"escape": "\\"}, ["escape: none → \\"]),
        ({}, {"line_end": "\r\n"}, ["line end: LF → CRLF"]),
        ({}, {"line_end": "mixed"}, ["line end: LF → mixed"]),
        ({}, {"line_end": None}, []),
        ({"line_end": None}, {"line_end": "\r\n"}, []),
        ({}, {"preamble_lines": 2}, ["preamble lines: 0 → 2"]),
        ({}, {"preamble_lines": 1, "delimiter": ";"}, ["delimiter: , → ;", "preamble lines: 0 → 1"]),
        ({}, {"header": ["b", "a"]}, ["header: other order of columns"]),
        ({}, {"header": ["a", "c", "d"]}, ["header: with 'c' 'd', without 'b'"]),
        ({}, {"header": [*"abcdefgh"]}, ["header: with 'c' 'd' 'e' 'f' 'g' and 1 more"]),
        ({}, {"header": None}, []),
        ({"header": []}, {}, []),
        ({}, {"comment": "#", "footer": "TOTAL"}, []),
    ],
)
def test_what_counts_as_a_difference(before: dict[str, Any], now: dict[str, Any], told: list[str]) -> None:
    feed = Feed()
    assert feed.differences(dialect(**now)) == []
    feed.add(dialect(**before))
    assert feed.differences(dialect(**now)) == told


def test_what_was_shown_once_outlasts_what_is_only_assumed() -> None:
    feed = Feed()
    feed.add(dialect(assumed=["encoding"]))
    feed.add(dialect(encoding="windows-1252"))
    feed.add(dialect(assumed=["encoding"]))
    assert feed.differences(dialect(encoding="windows-1252")) == []
    assert feed.differences(dialect()) == ["encoding: windows-1252 → utf-8"]


@pytest.mark.parametrize("header", [["x" * 9_000], [""] * 3_000])
def test_a_header_too_long_for_an_event_is_left_out(header: list[str]) -> None:
    verdict = Verdict(
        object_id="o", attempt=1, state=VerdictState.PASSED, dialect=json.dumps(dialect(header=header))
    )
    assert recorded(verdict)["header"] is None
