"""Today's contract over files that came before."""

from __future__ import annotations

import json
import shutil
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from tidegate.cli.app import app
from tidegate.errors import UsageError
from tidegate.events import ObjectUploaded, Via
from tidegate.ledger import queries
from tidegate.operations import ingest
from tidegate.operations.contract_test import Outcome, try_contract
from tidegate.operations.project import Project, open_project
from tidegate.operations.record import record_uploads

if TYPE_CHECKING:
    from collections.abc import Iterator

CONTRACT = """
import pandera.polars as pa
from tidegate.contracts import Append, Contract

class Order(pa.DataFrameModel):
    order_id: int = pa.Field(ge=LEAST)
    shop: str

orders = Contract(
    name="orders", version="VERSION", owner="o", description="d", keys=["orders/*.csv"], schema=Order,
)
"""


class Place:
    """A project whose contract changes between runs; each has modules of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.open: list[Project] = []

    def project(self, *, least: int, version: str = "1.0.0", text: str = CONTRACT) -> Project:
        package = f"contracts_{uuid.uuid4().hex}"
        (self.root / package).mkdir()
        (self.root / package / "__init__.py").touch()
        changed = text.replace("LEAST", str(least)).replace("VERSION", version)
        (self.root / package / "orders.py").write_text(changed)
        (self.root / "tidegate.toml").write_text(f'contracts = "{package}"\n')
        project = open_project(self.root)
        self.open.append(project)
        return project


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    found = Place(tmp_path)
    yield found
    for project in found.open:
        project.close()


def load(project: Project, **files: str) -> None:
    for name, text in files.items():
        source = project.settings.root / "source.csv"
        source.write_text(text)
        obj = project.store.put(source, f"orders/{name}.csv")
        record_uploads(
            project.ledger, project.registry, project.store, [ObjectUploaded(object=obj, via=Via.WATCH)]
        )
    batch = ingest.claim(project, "orders", str(uuid.uuid4()))
    verdicts = ingest.validate_batch(project, batch)
    verdicts = ingest.normalize_batch(project, batch, verdicts)
    verdicts = ingest.enrich_batch(project, batch, verdicts)
    ingest.load_batch(project, batch, verdicts)


def told(outcome: Outcome) -> dict[str, tuple[int, int | None, int, int]]:
    return {
        Path(one.key).stem: (one.accepted_before, one.refused_before, one.accepted_now, one.refused_now)
        for one in outcome.objects
    }


GOOD = "order_id,shop\n1,a\n2,b\n3,c\n"
MIXED = "order_id,shop\n0,a\n2,b\n"
BAD = "order_id,store\n1,a\n2,b\n"


@pytest.mark.slow
def test_what_a_contract_would_accept_and_refuse(place: Place) -> None:
    load(place.project(least=1), good=GOOD, mixed=MIXED, bad=BAD)

    same = try_contract(place.project(least=1), "orders", last=20, quarantine=True)
    assert told(same) == {"good": (3, 0, 3, 0), "mixed": (1, 1, 1, 1), "bad": (0, 0, 0, 0)}
    assert (same.newly_accepted, same.newly_refused, same.reasons) == (0, 0, {})
    assert "store" in next(one.problem for one in same.objects if one.state == "quarantined")

    wider = try_contract(place.project(least=0, version="1.1.0"), "orders", last=20, quarantine=True)
    assert told(wider)["mixed"] == (1, 1, 2, 0)
    assert (wider.version, wider.newly_accepted, wider.newly_refused) == ("1.1.0", 1, 0)

    narrower = try_contract(place.project(least=2, version="2.0.0"), "orders", last=20, quarantine=True)
    assert told(narrower)["good"] == (3, 0, 2, 1)
    assert (narrower.newly_accepted, narrower.newly_refused) == (0, 1)
    assert narrower.reasons == {("order_id", "greater_than_or_equal_to(2)"): 1}
    (example,) = narrower.examples
    assert (example["key"], example["record"], example["value"]) == ("orders/good.csv", 1, "1")

    renamed = CONTRACT.replace("shop: str", "store: str")
    other = try_contract(
        place.project(least=1, version="2.0.0", text=renamed), "orders", last=20, quarantine=True
    )
    assert told(other)["bad"] == (0, 0, 2, 0)
    assert told(other)["good"] == (3, 0, 0, 3)
    assert (other.newly_accepted, other.newly_refused) == (2, 4)
    assert other.reasons == {(None, "header"): 4}


@pytest.mark.slow
def test_which_objects_are_tried_and_that_nothing_changes(place: Place) -> None:
    project = place.project(least=1)
    load(project, mixed=MIXED, bad=BAD)
    load(project, one=GOOD)
    load(project, two=GOOD)
    before = project.ledger.ask(queries.find, dataset="orders")

    def tried(**words: Any) -> set[str]:
        return set(told(try_contract(project, "orders", **words)))

    assert tried(last=1, quarantine=False) == {"two"}
    assert tried(last=1, quarantine=True) == {"two", "mixed", "bad"}
    assert tried(last=0, quarantine=True) == {"mixed", "bad"}
    assert tried(last=9, quarantine=True, limit=2) == {"one", "two"}
    assert project.ledger.ask(queries.find, dataset="orders") == before

    shutil.rmtree(project.settings.root / ".tidegate" / "landing" / "orders")
    gone = try_contract(project, "orders", last=9, quarantine=True)
    assert all(one.problem.startswith("not tried") for one in gone.objects)
    assert gone.newly_refused == 0


def test_without_an_object_there_is_nothing_to_try(place: Place) -> None:
    with pytest.raises(UsageError, match="nothing to try"):
        try_contract(place.project(least=1), "orders", last=9, quarantine=True)


@pytest.mark.slow
def test_the_command_prints_tables_and_json_and_exits_with_3(place: Place) -> None:
    load(place.project(least=1), good=GOOD)
    assert CliRunner().invoke(app, ["contracts", "test", "orders"]).exit_code == 0
    place.project(least=2, version="2.0.0")
    shown = CliRunner().invoke(app, ["contracts", "test", "orders"])
    assert shown.exit_code == 3
    assert "1 newly refused" in shown.stdout
    assert "greater_than_or_equal_to(2)" in shown.stdout
    done = CliRunner().invoke(app, ["contracts", "test", "orders", "--output", "json"])
    assert done.exit_code == 3
    document = json.loads(done.stdout)
    assert document["newly_refused"] == 1
    assert document["reasons"][0]["column"] == "order_id"
    assert document["objects"][0]["accepted_now"] == 2
