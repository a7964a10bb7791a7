"""Every command: its help, what it prints for people and for programs, and its exit code.

Golden files hold what people see. To write them anew: TIDEGATE_WRITE_GOLDEN=1 pytest tests/unit/test_cli.py
"""

from __future__ import annotations

import json
import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer
from typer.testing import CliRunner, Result

from tidegate import clock
from tidegate.cli.app import app
from tidegate.events import Event, EventType, ObjectUploaded, Via
from tidegate.events.model import event_id
from tidegate.ledger import Ledger, Upload, open_ledger
from tidegate.objects.model import ObjectVersion
from tidegate.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator


GOLDEN = Path(__file__).parents[1] / "golden" / "cli"
NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
RUN = "0d1c7c1e-5b1f-4a5e-9a58-2f7f3a3c9f10"

#: What an object's entry has at least, whatever the command that prints it.
ENTRY = {
    *("url", "key", "version", "dataset", "state", "reason", "uploaded_at", "recorded_at", "committed_at"),
    *("rows_read", "rows_loaded", "rows_rejected", "contract_version", "flow_run_id"),
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "tidegate.toml").write_text('landing = "s3://bucket/in"\n')
    # Python keeps what it imported under a name; each test has contracts of its own.
    contracts = tmp_path / f"contracts_{tmp_path.name}"
    contracts.mkdir()
    (contracts / "__init__.py").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TIDEGATE_CONTRACTS", contracts.name)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setattr(clock, "now", lambda: NOW)
    return tmp_path


@pytest.fixture
def ledger(project: Path) -> Iterator[Ledger]:
    ledger = open_ledger(load_settings(project))
    yield ledger
    ledger.close()


class Story:
    """Tells the ledger of objects, second by second."""

    def __init__(self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
        self._ledger = ledger
        self._patch = monkeypatch
        self.moment = NOW - timedelta(minutes=10)

    def upload(self, key: str, dataset: str | None, problem: str = "") -> ObjectVersion:
        self._pass()
        obj = ObjectVersion(
            store="s3",
            bucket="bucket",
            key=key,
            version=f"v{len(key)}",
            size=1234,
            uploaded_at=self.moment - timedelta(seconds=0.5),
            etag="0123456789abcdef",
        )
        self._ledger.record(
            [Upload(notice=ObjectUploaded(object=obj, via=Via.SQS), dataset=dataset, problem=problem)]
        )
        return obj

    def tell(self, obj: ObjectVersion, kind: EventType, **data: Any) -> None:
        self._pass()
        event = Event(
            id=event_id(kind, obj.object_id, self.moment),
            type=kind,
            time=self.moment,
            subject=obj.url,
            dataset="flights",
            object_id=obj.object_id,
            correlation_id=event_id(EventType.UPLOADED, obj.object_id),
            data=data,
        )
        self._ledger.append([event])

    def _pass(self) -> None:
        self.moment += timedelta(seconds=1)
        self._patch.setattr(clock, "now", lambda: self.moment)


LOADED, QUARANTINED = "in/flights/one.csv", "in/flights/[bold]odd[/bold] 100%.csv"
MISSING = "Columns are missing: [red]dep_time[/red]."


@pytest.fixture
def told(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """One object of each kind."""
    story = Story(ledger, monkeypatch)
    one = story.upload(LOADED, "flights")
    story.tell(one, EventType.CLAIMED, flow_run_id=RUN, objects_in_batch=1)
    story.tell(one, EventType.VALIDATED, rows_read=842, contract_version="1.0.0", content_sha256="ab" * 32)
    story.tell(one, EventType.NORMALIZED)
    story.tell(one, EventType.ENRICHED)
    story.tell(
        one,
        EventType.LOADED,
        reason="",
        rows_read=842,
        rows_loaded=840,
        rows_rejected=2,
        rows_duplicate=0,
        contract_version="1.0.0",
        committed_at=story.moment.isoformat(),
    )
    odd = story.upload(QUARANTINED, "flights")
    story.tell(odd, EventType.CLAIMED, flow_run_id=RUN, objects_in_batch=1)
    story.tell(odd, EventType.QUARANTINED, reason=MISSING, rule="header")
    story.upload("in/planes/planes.csv", "planes")
    story.upload("in/notes.txt", None, "No data contract matches the key.")
    monkeypatch.setattr(clock, "now", lambda: NOW)


def run(*words: str) -> Result:
    return CliRunner().invoke(app, words)


def document(*words: str, code: int = 0) -> Any:
    done = run(*words, "--output", "json")
    assert done.exit_code == code, done.output
    return json.loads(done.stdout)


def commands(group: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        yield (*words, name)
        if hasattr(command, "commands"):
            yield from commands(command, (*words, name))


ROOT: Any = typer.main.get_command(app)


# -- help and errors ---------------------------------------------------------------------------


@pytest.mark.parametrize("words", [(), *commands(ROOT)], ids=" ".join)
def test_every_command_says_what_it_is_for(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    done = run(*words, "--help")
    assert done.exit_code == 0
    told = re.sub(r"\s+", " ", done.stdout)
    assert "Usage:" in told
    command = ROOT
    for word in words:
        command = command.commands[word]
    assert command.help
    if not hasattr(command, "commands"):
        assert len(command.help) > 20


def test_the_version() -> None:
    from tidegate import __version__

    done = run("--version")
    assert (done.exit_code, done.stdout) == (0, f"tidegate {__version__}\n")


@pytest.mark.parametrize(
    "words",
    [
        ("nonsense",),
        ("objects", "--since", "yesterday"),
        ("why", "nothing.csv"),
        ("drop", "missing.csv"),
        ("up", "--output", "json"),
        ("query", "DELETE FROM flights"),
    ],
    ids=" ".join,
)
@pytest.mark.usefixtures("project")
def test_a_mistake_in_the_call_is_exit_code_2_and_a_sentence(words: tuple[str, ...]) -> None:
    done = run(*words)
    assert done.exit_code == 2
    assert "Traceback" not in done.output
    assert done.stdout == ""


def test_without_a_project_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("status")
    assert done.exit_code == 2
    assert "tidegate.toml" in done.stderr


@pytest.mark.usefixtures("project")
def test_settings_that_cannot_be_used_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEGATE_PREFECT__PORT", "many")
    done = run("status")
    assert done.exit_code == 2
    assert "prefect.port" in done.stderr


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("by", ["flag", "variable"])
def test_debug_shows_where_an_error_came_from(by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # The flag sets the variable, which must be gone again after the test.
    monkeypatch.setenv("TIDEGATE_DEBUG", "1" if by == "variable" else "")
    done = run(*(["--debug"] if by == "flag" else []), "why", "nothing.csv")
    assert type(done.exception).__name__ == "UsageError"


# -- what people see ---------------------------------------------------------------------------


@pytest.mark.usefixtures("told")
@pytest.mark.parametrize(
    ("name", "words", "code"),
    [
        ("status", ("status",), 3),
        ("objects", ("objects",), 0),
        ("objects-quarantined", ("objects", "--state", "quarantined"), 0),
        ("why-loaded", ("why", LOADED), 0),
        ("why-quarantined", ("why", QUARANTINED), 0),
        ("why-end-of-key", ("why", "planes.csv"), 0),
        ("why-unmatched", ("why", "s3://bucket/in/notes.txt"), 0),
        ("backfill-plan", ("backfill", "plan"), 0),
    ],
)
def test_what_people_see(name: str, words: tuple[str, ...], code: int) -> None:
    done = run(*words)
    assert done.exit_code == code
    shown = "\n".join(line.rstrip() for line in done.stdout.splitlines()) + "\n"
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("TIDEGATE_WRITE_GOLDEN"):
        path.write_text(shown)
    assert shown == path.read_text()


@pytest.mark.usefixtures("told")
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("in/flights/two.csv", f"Did you mean {LOADED}"),
        ("in/flights", "is a folder"),
    ],
)
def test_why_of_an_unknown_key_says_what_is_near(name: str, said: str) -> None:
    done = run("why", name)
    assert done.exit_code == 2
    assert said in done.stderr


def test_why_of_a_key_that_only_the_landing_knows_points_to_reconcile(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIDEGATE_LANDING", str(project / "landing"))
    (project / "landing").mkdir()
    (project / "landing" / "new.csv").touch()
    done = run("why", "new.csv")
    assert done.exit_code == 2
    assert "tidegate reconcile" in done.stderr


@pytest.mark.usefixtures("project")
def test_an_empty_project_is_fine() -> None:
    for words in (("status",), ("objects",), ("down",), ("wait",), ("contracts", "ls")):
        done = run(*words)
        assert (done.exit_code, done.stderr) == (0, ""), words
        assert done.stdout


# -- what programs read ------------------------------------------------------------------------


@pytest.mark.usefixtures("told")
def test_objects_as_json() -> None:
    found = document("objects")
    assert [entry["state"] for entry in found] == ["loaded", "quarantined", "pending", "unmatched"]
    for entry in found:
        assert set(entry) >= ENTRY
    loaded, held, waiting, _ = found
    assert loaded["uploaded_at"] == "2026-01-31T11:50:00.500000Z"
    assert (loaded["rows_read"], loaded["rows_loaded"], loaded["rows_rejected"]) == (842, 840, 2)
    assert loaded["flow_run_id"] == RUN
    assert held["reason"] == MISSING
    assert waiting["committed_at"] is waiting["flow_run_id"] is waiting["rows_read"] is None


@pytest.mark.usefixtures("told")
@pytest.mark.parametrize(
    ("words", "keys"),
    [
        (("--dataset", "planes"), ["in/planes/planes.csv"]),
        (("--state", "loaded", "--state", "unmatched"), [LOADED, "in/notes.txt"]),
        (("--prefix", "in/flights/["), [QUARANTINED]),
        (("--limit", "1"), [LOADED]),
        (("--since", "2026-01-31T11:50:10Z"), ["in/notes.txt"]),
        (("--until", "2026-01-31T11:50:01"), [LOADED]),
    ],
    ids=" ".join,
)
def test_objects_are_chosen(words: tuple[str, ...], keys: list[str]) -> None:
    assert [entry["key"] for entry in document("objects", *words)] == keys


@pytest.mark.usefixtures("told")
def test_status_as_json() -> None:
    found = {entry["dataset"]: entry for entry in document("status", code=3)}
    assert set(found) == {"flights", "planes", None}
    assert found["flights"]["loaded"] == found["flights"]["quarantined"] == 1
    assert found["flights"]["rows_loaded"] == 840
    assert found["planes"]["oldest_waiting_at"] == "2026-01-31T11:50:10.000000Z"


@pytest.mark.usefixtures("told")
def test_why_as_json() -> None:
    (story,) = document("why", LOADED)
    assert set(story) >= ENTRY | {"flow_run_url", "seconds", "events"}
    verbs = [event["type"].split(".")[2] for event in story["events"]]
    assert verbs == ["uploaded", "claimed", "validated", "normalized", "enriched", "loaded"]
    stages = ("waiting", "validate", "normalize", "enrich", "load")
    assert story["seconds"] == dict.fromkeys(stages, 1.0)


@pytest.mark.usefixtures("told")
def test_wait_as_json_when_nothing_runs() -> None:
    found = document("wait", code=1)
    assert (found["done"], found["left"]["pending"]) == (False, 1)
    assert "tidegate up" in found["problem"]


def test_wait_tells_of_what_no_contract_takes(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    Story(ledger, monkeypatch).upload("in/notes.txt", None, "No data contract matches the key.")
    done = run("wait")
    assert done.exit_code == 3, done.output
    assert "unmatched: in/notes.txt: No data contract matches the key." in done.stdout
    assert run("wait").exit_code == 0


@pytest.mark.usefixtures("project")
def test_down_as_json_when_nothing_runs() -> None:
    assert document("down") == {"stopped": False, "left_over_processes": 0}


@pytest.mark.usefixtures("told")
def test_ledger_rebuild_changes_nothing() -> None:
    before = document("objects")
    assert document("ledger", "rebuild")["events"] == 12
    assert document("objects") == before


def test_drop_as_json(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEGATE_LANDING", str(project / "landing"))
    file = project / "ä 1+1.csv"
    file.write_text("x\n")
    (planned,) = document("drop", str(file), "--to", "orders", "--dry-run")
    assert planned == {"file": str(file), "key": "orders/ä 1+1.csv", "size": 2}
    assert not (project / "landing" / "orders").exists()
    (created,) = document("drop", str(file), "--to", "orders")
    assert (created["key"], created["size"]) == ("orders/ä 1+1.csv", 2)
    assert (
        created["url"]
        == "file://" + str(project / "landing" / "orders").replace(" ", "%20") + "/%C3%A4%201%2B1.csv"
    )
    assert created["version"]
    told = run("drop", str(file), "--to", "orders").stdout
    assert "Tidegate does not run here: what was uploaded is taken up once it does." in told


@pytest.mark.slow
def test_query_as_json(project: Path) -> None:

    from tidegate.warehouse import layout
    from tidegate.warehouse.connection import opened

    (project / ".tidegate").mkdir()
    path = project / ".tidegate" / "warehouse.duckdb"
    with opened(path, read_only=False, lock_timeout=1) as warehouse:
        layout.bring_up_to_date(warehouse)
        warehouse.execute(
            "CREATE TABLE t AS SELECT DATE '2026-01-31' AS d, 1.50::DECIMAL(5,2) AS x, 'é' AS s"
        )
    assert document("query", "SELECT *, NULL AS n FROM t") == [
        {"d": "2026-01-31", "x": "1.50", "s": "é", "n": None}
    ]


@pytest.mark.slow
def test_doctor_names_what_is_wrong_and_what_to_do(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEGATE_LANDING", str(project / "landing"))
    found = {entry["check"]: entry for entry in document("doctor")}
    states = {name: entry["state"] for name, entry in found.items()}
    assert {name for name, state in states.items() if state == "fail"} == set()
    assert {name for name, state in states.items() if state == "warn"} == {"contracts", "system"}
    assert "tidegate up" in found["system"]["advice"]
    (project / os.environ["TIDEGATE_CONTRACTS"] / "broken.py").write_text("1 / 0")
    (contracts,) = [entry for entry in document("doctor", code=1) if entry["check"] == "contracts"]
    assert contracts["state"] == "fail"
    assert "ZeroDivisionError" in contracts["detail"]


@pytest.mark.slow
def test_doctor_tells_a_contract_that_is_not_what_was_recorded(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIDEGATE_LANDING", str(project / "landing"))
    contracts = project / os.environ["TIDEGATE_CONTRACTS"]
    (contracts / "notes.py").write_text(NOTES)
    assert run("contracts", "check", "--write").exit_code == 0
    assert judged() == [("ok", f"1 in {contracts.name}: notes")]
    (recorded,) = contracts.rglob("*.json")
    recorded.write_text(recorded.read_text().replace("Notes.", "Other notes."))
    ((state, detail),) = judged()
    assert state == "warn"
    assert "changed without a step of its version" in detail


NOTES = """
import pandera.polars as pa
from tidegate.contracts import Contract

class Note(pa.DataFrameModel):
    text: str

notes = Contract(
    name="notes", version="1.0.0", owner="o", description="Notes.", keys=["notes/*.csv"], schema=Note
)
"""


def judged() -> list[tuple[str, str]]:
    """What the doctor says of the contracts."""
    found = [entry for entry in document("doctor") if entry["check"] == "contracts"]
    return [(entry["state"], entry["detail"]) for entry in found]
