"""What stops everything is told where people look: by status, wait, why and drop."""

from __future__ import annotations

import json
import sys
import uuid
from datetime import timedelta
from typing import TYPE_CHECKING

import psutil
import pytest
from typer.testing import CliRunner, Result

from tidegate import clock
from tidegate.cli.app import app
from tidegate.events import ObjectUploaded, Via
from tidegate.ledger import Upload, open_ledger
from tidegate.objects.folder import FolderStore
from tidegate.operations import running
from tidegate.operations.running import RunningSystem
from tidegate.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path

CONTRACT = """
import pandera.polars as pa
from tidegate.contracts import Append, Contract, ControlTotals

class Order(pa.DataFrameModel):
    order_id: int

orders = Contract(
    name="orders", version="1.0.0", owner="o", description="d", keys=["orders/*.csv"], schema=Order,
    load=Append(), totals=ControlTotals(manifest="{key}.json", rows="rows"),
)
"""
DOCTOR = "`tidegate doctor` looks for what is in the way."


@pytest.fixture
def contracts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project that runs, as far as anybody can tell, and whose contracts are well."""
    package = tmp_path / f"contracts_{uuid.uuid4().hex}"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "orders.py").write_text(CONTRACT)
    (tmp_path / "tidegate.toml").write_text(f'contracts = "{package.name}"\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    me = psutil.Process()
    running.write(
        load_settings(tmp_path),
        RunningSystem(
            pid=me.pid,
            pid_started=me.create_time(),
            mark="test",
            api_url="http://127.0.0.1:1/api",
            ui_url="http://127.0.0.1:1",
            started_at=clock.now(),
            state="ready",
            processes=(),
        ),
    )
    return package


@pytest.fixture
def pending(contracts: Path) -> None:
    settings = load_settings(contracts.parent)
    store = FolderStore.from_settings(settings)
    (store.root / "orders").mkdir()
    (store.root / "orders" / "a.csv").write_text("order_id\n1\n")
    notice = ObjectUploaded(object=store.stat("orders/a.csv"), via=Via.WATCH)
    ledger = open_ledger(settings)
    ledger.record([Upload(notice=notice, dataset="orders")])
    ledger.close()


def spoil(contracts: Path) -> str:
    (contracts / "broken.py").write_text("1 / 0\n")
    return f"{contracts.name}/broken.py, line 1: "


def a_minute_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    later = clock.now() + timedelta(seconds=61)
    monkeypatch.setattr(clock, "now", lambda: later)


def run(*words: str) -> Result:
    return CliRunner().invoke(app, words)


@pytest.mark.usefixtures("pending")
def test_a_broken_contract_is_told_by_status_and_why_after_a_minute(
    contracts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = spoil(contracts)
    for words in (("status",), ("why", "a.csv")):
        assert place not in run(*words).output, "what has just come is nobody's trouble"
    assert not any(name.startswith(contracts.name) for name in sys.modules), "and costs no import"
    a_minute_passes(monkeypatch)
    status = run("status")
    assert status.stderr.startswith(
        f"Held up: The data contracts can't be loaded, so nothing is processed: {place}"
    )
    assert isinstance(json.loads(run("status", "--output", "json").stdout), list)
    why = run("why", "a.csv").stdout
    assert f"  held up    The data contracts can't be loaded, so nothing is processed: {place}" in why
    (story,) = json.loads(run("why", "a.csv", "--output", "json").stdout)
    assert place in story["held_up"]


@pytest.mark.usefixtures("pending")
def test_a_broken_contract_is_told_by_a_wait_whose_time_is_over(contracts: Path) -> None:
    place = spoil(contracts)
    done = run("wait", "--timeout", "0")
    assert done.exit_code == 1
    assert (
        f"Now: 1 pending. The data contracts can't be loaded, so nothing is processed: {place}" in done.stderr
    )
    assert place in json.loads(run("wait", "--timeout", "0", "--output", "json").stdout)["held_up"]


@pytest.mark.usefixtures("contracts", "pending")
def test_when_the_contracts_are_well_the_doctor_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    a_minute_passes(monkeypatch)
    assert run("status").stderr == f"Held up: {DOCTOR}\n"
    assert DOCTOR in run("why", "a.csv").stdout
    assert DOCTOR in run("wait", "--timeout", "0").stderr


def test_a_drop_that_no_contract_takes_is_warned_of_at_once(contracts: Path) -> None:
    root = contracts.parent
    for name in ("a.csv", "b.csv", "a.csv.json"):
        (root / name).write_text("order_id\n1\n")
    fits = run("drop", "a.csv", "a.csv.json", "--to", "orders")
    assert (fits.exit_code, fits.stderr) == (0, "")
    assert not any(name.startswith(contracts.name) for name in sys.modules), "a usual drop imports none"
    (root / "a.txt").write_text("order_id\n1\n")
    renamed = run("drop", "a.csv", "a.txt", "--to", "orders")
    assert renamed.stderr == (
        "Warning: no data contract matches orders/a.txt; nothing takes it up before one does.\n"
    )
    odd = run("drop", "a.csv", "b.csv", "--to", "order", "--output", "json")
    assert odd.exit_code == 0
    assert odd.stderr == (
        "Warning: no data contract matches order/a.csv (and 1 more); nothing takes it up before one does.\n"
    )
    assert len(json.loads(odd.stdout)) == 2


def test_a_drop_that_several_contracts_match_is_warned_of(contracts: Path) -> None:
    text = CONTRACT.replace("orders/*.csv", "*/a.csv").replace("orders", "others")
    (contracts / "others.py").write_text(text)
    (contracts.parent / "a.csv").write_text("order_id\n1\n")
    done = run("drop", "a.csv", "--to", "orders")
    assert done.exit_code == 0
    assert done.stderr == (
        "Warning: several data contracts match orders/a.csv: orders, others; "
        "nothing takes it up before one alone does.\n"
    )


def test_a_drop_beside_a_broken_contract_is_done_and_warned_of(contracts: Path) -> None:
    place = spoil(contracts)
    (contracts.parent / "a.csv").write_text("order_id\n1\n")
    done = run("drop", "a.csv", "--to", "order")
    assert (done.exit_code, "Uploaded 1 file" in done.stdout) == (0, True)
    assert done.stderr.startswith(f"Warning: the data contracts can't be loaded: {place}")
