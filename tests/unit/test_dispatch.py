"""The dispatcher against a stand-in that keeps flow runs the way Prefect's server does."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from prefect.client.schemas.objects import StateType
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled, Completed, Crashed, Running, Scheduled

from tidegate import clock
from tidegate.events import ObjectUploaded, Via
from tidegate.ledger import Owner, Upload, queries
from tidegate.objects import ObjectVersion
from tidegate.operations.liveness import this_process
from tidegate.operations.project import Project, open_project
from tidegate.prefect import dispatch
from tidegate.prefect.dispatch import Dispatcher

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONTRACTS = """
import pandera.polars as pa
from tidegate.contracts import Append, Contract, Lookup, Replace

class Row(pa.DataFrameModel):
    a: int

def contract(name, **more):
    return Contract(name=name, version="1.0.0", owner="o", description="d", keys=[f"{name}/*.csv"],
                    schema=Row, **more)

shops = contract("shops", load=Replace())
orders = contract("orders", enrich=[Lookup(dataset="shops", on={"a": "a"}, take={"b": "a"}, hold_seconds=60)])
"""


@dataclass
class Run:
    id: uuid.UUID
    name: str
    parameters: dict[str, Any]
    state: Any
    start_time: datetime | None = None


@dataclass
class Prefect:
    """Flow runs by idempotency key, as the server keeps them."""

    deployed: bool = True
    runs: dict[str, Run] = field(default_factory=dict)

    def read_deployment_by_name(self, name: str) -> Any:
        if not self.deployed:
            raise ObjectNotFound(http_exc=Exception(name))
        return Run(uuid.uuid4(), name, {}, None)

    def create_flow_run_from_deployment(self, _id: Any, *, idempotency_key: str, **values: Any) -> Run:
        values.pop("tags")
        return self.runs.setdefault(idempotency_key, Run(uuid.uuid4(), state=Scheduled(), **values))

    def read_flow_run(self, run_id: uuid.UUID) -> Run:
        for run in self.runs.values():
            if run.id == run_id:
                return run
        raise ObjectNotFound(http_exc=Exception(str(run_id)))

    def set_flow_run_state(self, run_id: uuid.UUID, state: Any, *, force: bool) -> None:
        assert force
        self.read_flow_run(run_id).state = state

    @property
    def made(self) -> list[Run]:
        return list(self.runs.values())


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    package = f"contracts_{uuid.uuid4().hex}"
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text("")
    (tmp_path / package / "all.py").write_text(CONTRACTS)
    (tmp_path / "tidegate.toml").write_text(f'contracts = "{package}"\n')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(dispatch, "_LOOK_SECONDS", 0.0)
    project = open_project(tmp_path)
    yield project
    project.close()


def upload(project: Project, dataset: str, *names: str, size: int = 1) -> None:
    project.ledger.record(
        [
            Upload(
                notice=ObjectUploaded(
                    object=ObjectVersion(
                        store="folder",
                        bucket="/l",
                        key=f"{dataset}/{name}.csv",
                        version="1-1",
                        size=size,
                        uploaded_at=clock.now(),
                    ),
                    via=Via.WATCH,
                ),
                dataset=dataset,
            )
            for name in names
        ]
    )


def claim(project: Project, run: Run, owner: Owner | None = None) -> int:
    dataset = run.parameters["dataset"]
    run.start_time = datetime(2026, 1, 1, tzinfo=UTC)
    batch = project.ledger.claim(
        dataset, str(run.id), owner or this_process(), max_objects=100, max_bytes=100
    )
    return len(batch.objects)


DEAD = Owner(host=this_process().host, pid=2**22 + 1, pid_started=0.0)


def test_a_burst_makes_one_run_that_a_person_finds_by_its_name(project: Project) -> None:
    server = Prefect()
    dispatcher = Dispatcher(project, server)  # type: ignore[arg-type]
    upload(project, "shops", "a", "b", "c")
    for _ in range(3):
        dispatcher.step()
        upload(project, "shops", "d")
    assert [(run.name, run.parameters) for run in server.made] == [
        ("shops · 3 objects", {"dataset": "shops"})
    ]


def test_a_dispatcher_killed_after_it_made_a_run_gets_the_same_run_again(project: Project) -> None:
    server = Prefect()
    upload(project, "shops", "a")
    Dispatcher(project, server).step()  # type: ignore[arg-type]
    Dispatcher(project, server).step()  # type: ignore[arg-type]
    assert len(server.made) == 1


def test_while_a_batch_runs_the_next_one_gathers(project: Project) -> None:
    server = Prefect()
    dispatcher = Dispatcher(project, server)  # type: ignore[arg-type]
    upload(project, "shops", "a")
    dispatcher.step()
    claim(project, server.made[0])
    upload(project, "shops", "b", "c")
    dispatcher.step()
    assert len(server.made) == 1
    project.ledger.end_claim(str(server.made[0].id), "trouble")
    dispatcher.step()
    assert [run.name for run in server.made] == ["shops · 1 object", "shops · 2 objects"]


def test_what_a_run_left_over_goes_to_another_run(project: Project) -> None:
    server = Prefect()
    dispatcher = Dispatcher(project, server)  # type: ignore[arg-type]
    upload(project, "shops", "a", "b", "c")
    for left in (2, 1, 0):
        dispatcher.step()
        run = server.made[-1]
        project.ledger.claim("shops", str(run.id), this_process(), max_objects=1, max_bytes=100)
        project.ledger.end_claim(str(run.id), "trouble")
        assert [one.pending for one in project.ledger.ask(queries.backlogs)] == ([left] if left else [])
    assert len(server.made) == 3


def test_what_is_passed_by_others_and_left_over_goes_to_another_run(project: Project) -> None:
    """Then the queue is as it was before the others came."""
    server = Prefect()
    dispatcher = Dispatcher(project, server)  # type: ignore[arg-type]
    upload(project, "shops", "large", size=2**30)
    for passed in range(3):
        dispatcher.step()
        upload(project, "shops", f"small-{passed}")
        assert claim(project, server.made[-1]) == 1
        project.ledger.end_claim(str(server.made[-1].id), "trouble")
    assert [one.pending for one in project.ledger.ask(queries.backlogs)] == [1]
    for again in (dispatcher, Dispatcher(project, server)):  # type: ignore[arg-type]
        again.step()
        assert len(server.made) == 4
    assert claim(project, server.made[-1]) == 1
    assert project.ledger.ask(queries.by_name, "shops/large.csv")[0].state == "running"


def test_a_dead_runs_objects_go_to_a_new_run_and_it_is_marked_crashed(project: Project) -> None:
    server = Prefect()
    dispatcher = Dispatcher(project, server)  # type: ignore[arg-type]
    upload(project, "shops", "a")
    dispatcher.step()
    server.made[0].state = Running()
    claim(project, server.made[0], DEAD)
    dispatcher.step()
    assert server.made[0].state.type is StateType.CRASHED
    assert "pending again" in server.made[0].state.message
    assert len(server.made) == 2
    assert claim(project, server.made[1]) == 1


def test_a_cancelled_runs_objects_wait_for_a_person(project: Project) -> None:
    server = Prefect()
    dispatcher = Dispatcher(project, server)  # type: ignore[arg-type]
    upload(project, "shops", "a")
    dispatcher.step()
    claim(project, server.made[0], DEAD)
    server.made[0].state = Cancelled()
    dispatcher.step()
    (entry,) = project.ledger.ask(queries.find)
    assert entry.state == "failed"
    assert "cancelled" in entry.reason
    assert len(server.made) == 1


@pytest.mark.parametrize("end", [Crashed(), Cancelled(), Completed()])
def test_a_run_that_ends_without_claiming_is_followed_by_another_with_a_pause(
    project: Project, end: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr("tidegate.prefect.dispatch.time.monotonic", lambda: now[0])
    server = Prefect()
    dispatcher = Dispatcher(project, server)  # type: ignore[arg-type]
    upload(project, "shops", "a")
    for expected in (1, 2, 3):
        dispatcher.step()
        assert len(server.made) == expected
        server.made[-1].state = end
        dispatcher.step()
        assert len(server.made) == expected, "no pause"
        now[0] += 10


def test_a_run_that_starts_and_claims_nothing_for_long_is_given_up(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr("tidegate.prefect.dispatch.time.monotonic", lambda: now[0])
    server = Prefect()
    dispatcher = Dispatcher(project, server)  # type: ignore[arg-type]
    upload(project, "shops", "a")
    dispatcher.step()
    server.made[0].state = Running()
    dispatcher.step()
    now[0] += project.settings.ingest.lease_seconds + 1
    dispatcher.step()
    assert server.made[0].state.type is StateType.CRASHED
    now[0] += 10
    dispatcher.step()
    assert len(server.made) == 2


def test_a_dataset_waits_for_a_reference_that_was_never_loaded_but_not_for_ever(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Prefect()
    dispatcher = Dispatcher(project, server)  # type: ignore[arg-type]
    upload(project, "orders", "a")
    dispatcher.step()
    assert server.made == []
    (entry,) = project.ledger.ask(queries.find)
    later = entry.recorded_at.replace(year=entry.recorded_at.year + 1)
    monkeypatch.setattr("tidegate.prefect.dispatch.clock.now", lambda: later)
    dispatcher.step()
    assert [run.name for run in server.made] == ["orders · 1 object"]


def test_a_dataset_waits_while_its_reference_is_being_loaded(project: Project) -> None:
    server = Prefect()
    dispatcher = Dispatcher(project, server)  # type: ignore[arg-type]
    upload(project, "orders", "a")
    upload(project, "shops", "a")
    dispatcher.step()
    assert [run.name for run in server.made] == ["shops · 1 object"]


def test_a_dataset_without_contract_holds_only_itself(project: Project) -> None:
    server = Prefect()
    dispatcher = Dispatcher(project, server)  # type: ignore[arg-type]
    upload(project, "gone", "a")
    upload(project, "shops", "a")
    dispatcher.step()
    dispatcher.step()
    assert [run.name for run in server.made] == ["shops · 1 object"]


def test_objects_that_nobody_works_on_are_not_left_running(project: Project) -> None:
    server = Prefect()
    dispatcher = Dispatcher(project, server)  # type: ignore[arg-type]
    upload(project, "shops", "a")
    dispatcher.step()
    claim(project, server.made[0])
    with project.ledger.writing() as connection:
        connection.exec_driver_sql("DELETE FROM leases")
    dispatcher.step()
    assert [entry.state for entry in project.ledger.ask(queries.find)] == ["failed"]


def test_without_the_deployment_nothing_is_lost_and_it_is_looked_for_again(project: Project) -> None:
    server = Prefect(deployed=False)
    dispatcher = Dispatcher(project, server)  # type: ignore[arg-type]
    upload(project, "shops", "a")
    dispatcher.step()
    assert server.made == []
    server.deployed = True
    dispatcher.step()
    assert len(server.made) == 1
