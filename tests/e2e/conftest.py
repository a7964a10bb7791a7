"""Systems that tests of one module share: starting one takes longer than most of what is tested."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.e2e.prefect_home import prefect_home
from tests.e2e.system import EXAMPLES, System, drop_examples

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.timeout(300))


@pytest.fixture(scope="session")
def used_prefect(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prefect's folder after a first start, one for all processes of the test run."""
    base = tmp_path_factory.getbasetemp()
    return prefect_home(base.parent if "PYTEST_XDIST_WORKER" in os.environ else base)


@pytest.fixture(scope="module")
def make_system(
    tmp_path_factory: pytest.TempPathFactory, used_prefect: Path
) -> Iterator[Callable[..., System]]:
    """Make systems, and see at the end that `down` leaves no process of theirs behind."""
    made: list[System] = []

    def make(settings: str = "", *, first_start: bool = False, **environment: str) -> System:
        home = None if first_start else used_prefect
        system = System.make(tmp_path_factory.mktemp("project"), settings, home, **environment)
        made.append(system)
        return system

    yield make
    for system in made:
        system.down()
        assert processes_of(system) == []


@pytest.fixture(scope="module")
def system(make_system: Callable[..., System]) -> System:
    """A running system with a folder as its landing."""
    system = make_system()
    system.up()
    return system


def processes_of(system: System) -> list[str]:
    """Command lines of the processes that work in the project's folder."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        try:
            if process.environ().get("TIDEGATE_TEST_FAULT") == str(system.fault_file):
                found.append(" ".join(process.info["cmdline"] or []))
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return found


@pytest.fixture(scope="module")
def loaded(system: System) -> System:
    """The running system with the reference data and a week of flights loaded."""
    files = [str(file) for file in sorted(EXAMPLES.glob("*/*.csv")) if "wrong" not in file.name]
    drop_examples(system, [file for file in files if "bad" not in file])
    system.wait()
    return system
