"""A DuckDB file between processes: killed with -9, held by another, all at once, disk full."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.warehouse_kit import Stage, version
from tidegate.contracts import Merge
from tidegate.errors import WarehouseLockedError
from tidegate.warehouse import Outcome
from tidegate.warehouse.connection import opened
from tidegate.warehouse.duckdb import DuckDBWarehouse

ROOT = Path(__file__).parents[2]

PRELUDE = """
import sys
from pathlib import Path
from tests.conformance.warehouse_kit import Stage, version
from tidegate.contracts import Merge
from tidegate.warehouse import connection, layout, load, rejections, snapshots
from tidegate.warehouse.duckdb import DuckDBWarehouse

folder = Path(sys.argv[1])

def stop_here():
    print("here", flush=True)
    sys.stdin.read()

def before(module, name):
    real = getattr(module, name)
    setattr(module, name, lambda *args: (stop_here(), real(*args))[1])

def after(module, name):
    real = getattr(module, name)
    setattr(module, name, lambda *args: (real(*args), stop_here())[0])

def stage(name="child"):
    warehouse = DuckDBWarehouse(folder / "warehouse.duckdb", lock_timeout=60.0)
    return Stage(folder / name, warehouse, Merge(key=["id"]))

def rows(count, value):
    return [(number, value, 0) for number in range(count)]

def load_with_snapshot(count):
    one = stage()
    request = one.request(version("a.csv", 1), rows(count, "x"), rejected=[(0, "r")])
    one.load_with_snapshot(folder / "references", request)
"""

Start = Callable[[str], subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a program in a process of its own; it ends with the test."""
    running: list[subprocess.Popen[str]] = []

    def run(program: str) -> subprocess.Popen[str]:
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        command = [sys.executable, "-c", PRELUDE + program, str(tmp_path)]
        child: subprocess.Popen[str] = subprocess.Popen(command, cwd=ROOT, **pipes)
        running.append(child)
        return child

    yield run
    for child in running:
        with child:
            child.kill()


def arrived(child: subprocess.Popen[str]) -> None:
    assert child.stdout is not None
    assert child.stdout.readline() == "here\n"


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    warehouse = DuckDBWarehouse(tmp_path / "warehouse.duckdb", lock_timeout=30.0)
    return Stage(tmp_path / "staging", warehouse, Merge(key=["id"]))


def rows(count: int, value: str) -> list[tuple[int, str, int]]:
    return [(number, value, 0) for number in range(count)]


# kill -9


@pytest.mark.parametrize("count", [3, 300_000], ids=["small", "large"])
@pytest.mark.parametrize(
    ("where", "committed"),
    [
        ("before(connection.os, 'link')", False),
        ("before(layout, 'commit')", False),
        ("before(rejections, 'insert')", False),
        ("after(snapshots, 'write')", False),
        ("before(load, 'commit')", False),
        ("after(load, 'commit')", True),
    ],
)
def test_after_a_kill_all_of_the_batch_is_there_or_nothing(
    start: Start, stage: Stage, tmp_path: Path, where: str, committed: bool, count: int
) -> None:
    one = version("a.csv", 1)
    child = start(f"""
{where}
load_with_snapshot({count})
""")
    arrived(child)
    child.kill()
    child.wait()

    commits = stage.warehouse.commits([one.object_id])
    snapshot = stage.warehouse.latest_snapshot("orders")
    assert list(commits) == ([one.object_id] if committed else [])
    assert (snapshot is not None) is committed

    request = stage.request(one, rows(count, "x"), rejected=[(0, "r")])
    [outcome], again = stage.load_with_snapshot(tmp_path / "references", request)
    if committed:
        assert outcome == replace(commits[one.object_id], already=True)
        assert again is None
    assert (outcome.outcome, outcome.rows_loaded, outcome.rows_rejected) == (Outcome.LOADED, count, 1)
    assert stage.ask("SELECT count(*), count(DISTINCT id) FROM orders") == [(count, count)]
    assert stage.ask("SELECT count(*) FROM tidegate.rejected_rows") == [(1,)]
    newest = stage.warehouse.latest_snapshot("orders")
    assert newest is not None
    assert (newest.rows, (tmp_path / "references" / newest.path).exists()) == (count, True)


def test_a_kill_in_the_middle_of_a_correction_leaves_the_old_rows(start: Start, stage: Stage) -> None:
    stage.drop("a.csv", 1, rows(1000, "old"))
    child = start("""
before(load, 'commit')
stage().drop("a.csv", 2, rows(500, "new"))
""")
    arrived(child)
    child.kill()
    child.wait()
    assert stage.ask("SELECT value, count(*) FROM orders GROUP BY 1") == [("old", 1000)]
    stage.drop("a.csv", 2, rows(500, "new"))
    assert stage.ask("SELECT value, count(*) FROM orders GROUP BY 1") == [("new", 500)]


def test_a_log_cut_short_by_a_crash_is_read_up_to_the_last_commit(
    start: Start, stage: Stage, tmp_path: Path
) -> None:
    stage.drop("a.csv", 1, rows(10, "old"))
    child = start("""
after(load, 'commit')
stage().drop("b.csv", 2, rows(20, "new"))
""")
    arrived(child)
    child.kill()
    child.wait()
    log = tmp_path / "warehouse.duckdb.wal"
    log.write_bytes(log.read_bytes()[:-7])
    assert stage.ask("SELECT value, count(*) FROM orders GROUP BY 1") == [("old", 10)]
    stage.drop("b.csv", 2, rows(20, "new"))
    assert stage.ask("SELECT value, count(*) FROM orders GROUP BY 1") == [("new", 20)]


# Held by another process


@pytest.mark.parametrize("read_only", [True, False], ids=["a reader", "a writer"])
def test_the_holder_is_named(start: Start, stage: Stage, tmp_path: Path, read_only: bool) -> None:
    stage.drop("a.csv", 1, rows(1, "x"))
    child = start(f"""
with connection.opened(folder / "warehouse.duckdb", read_only={read_only}, lock_timeout=1.0):
    stop_here()
""")
    arrived(child)
    impatient = Stage(
        tmp_path / "other", DuckDBWarehouse(tmp_path / "warehouse.duckdb", 0.1), Merge(key=["id"])
    )
    with pytest.raises(
        WarehouseLockedError, match=rf"held by process {child.pid} \(.*python.*lock_timeout"
    ) as caught:
        impatient.drop("b.csv", 2, rows(1, "y"))
    assert caught.value.holder_pid == child.pid
    if read_only:
        assert impatient.table() == [(0, "x")]
    else:
        with pytest.raises(WarehouseLockedError, match=f"process {child.pid}"):
            impatient.table()


@pytest.mark.parametrize("read_only", [True, False], ids=["reading", "writing"])
def test_a_call_waits_for_its_turn(
    start: Start, stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read_only: bool
) -> None:
    stage.drop("a.csv", 1, rows(1, "x"))
    child = start("""
with connection.opened(folder / "warehouse.duckdb", read_only=False, lock_timeout=1.0):
    stop_here()
""")
    arrived(child)
    waiting = threading.Event()
    real = time.sleep

    def told(seconds: float) -> None:
        waiting.set()
        real(seconds)

    monkeypatch.setattr("tidegate.warehouse.connection.time.sleep", told)
    got_in = threading.Event()

    def wait() -> None:
        with opened(tmp_path / "warehouse.duckdb", read_only=read_only, lock_timeout=30.0):
            got_in.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert waiting.wait(10)
    assert not got_in.is_set()
    child.communicate("")
    thread.join(30)
    assert got_in.is_set()


def test_many_processes_load_the_same_objects_once(start: Start, stage: Stage) -> None:
    """Also the first: none of them finds a file."""
    children = [
        start(f"""
one = stage("child-{number}")
requests = [one.request(version(f"{{n}}.csv", n), [(n, "x", 0), (100 + n, "x", 0)]) for n in range(8)]
stop_here()
for request in requests[{number}:] + requests[:{number}]:
    one.load(request)
""")
        for number in range(4)
    ]
    for child in children:
        arrived(child)
    for child in children:
        assert child.stdin is not None
        child.stdin.close()
    assert [child.wait() for child in children] == [0] * 4
    assert stage.ask("SELECT count(*), count(DISTINCT id) FROM orders") == [(16, 16)]
    assert stage.ask("SELECT outcome, count(*) FROM tidegate.commits GROUP BY 1") == [("loaded", 8)]


# Disk full


def test_a_full_disk_can_be_tried_again(start: Start, stage: Stage) -> None:
    stage.drop("a.csv", 1, rows(10, "old"))
    child = start("""
import resource, signal
one = stage()
request = one.request(version("b.csv", 2), [(n, str(n * 7919 % 1000003), n) for n in range(300_000)])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, resource.RLIM_INFINITY))
try:
    one.load(request)
except Exception as error:
    print(type(error).__name__, error)
""")
    said, _ = child.communicate()
    assert said.startswith("WarehouseUnavailableError")
    assert "Make room on the disk" in said
    assert stage.table() == [(n, "old") for n in range(10)]
    assert stage.drop("b.csv", 2, rows(20, "new")).rows_loaded == 20
