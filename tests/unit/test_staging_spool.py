from __future__ import annotations

import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import polars as pl
import pytest

from tidegate.stages import staging as module
from tidegate.stages.staging import Staging

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def staging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Staging:
    monkeypatch.setattr(module, "_SPOOL_BYTES", 1_000)
    (tmp_path / "b").mkdir()
    return Staging(tmp_path / "b")


def frames(count: int) -> list[pl.DataFrame]:
    return [
        pl.DataFrame({"n": range(at * 100, at * 100 + 100)}).with_columns(text=pl.col("n").cast(pl.String))
        for at in range(count)
    ]


@pytest.mark.parametrize("count", [1, 2, 3, 50])
def test_a_spooled_file_holds_all_frames_in_order(staging: Staging, count: int) -> None:
    with staging.spool("a.parquet") as spool:
        for frame in frames(count):
            spool.add(frame)
        assert spool.close() == "a.parquet"
    assert pl.read_parquet(staging.path("a.parquet"))["n"].to_list() == list(range(count * 100))
    assert [file.name for file in staging.folder.iterdir()] == ["a.parquet"]


@pytest.mark.parametrize("count", [1, 50])
def test_nothing_is_left_of_a_file_that_was_not_closed(staging: Staging, count: int) -> None:
    before = threading.active_count()
    with staging.spool("a.parquet") as spool:
        for frame in frames(count):
            spool.add(frame)
    assert list(staging.folder.iterdir()) == []
    assert threading.active_count() == before


def test_an_error_of_the_writing_thread_reaches_who_gives_the_frames(staging: Staging) -> None:
    staging.folder.rmdir()
    with staging.spool("a.parquet") as spool, pytest.raises(FileNotFoundError):  # noqa: PT012
        for frame in frames(500):
            spool.add(frame)
        spool.close()


def in_a_process(program: str, folder: Path) -> str:
    """What a program prints that may write files of 100,000 bytes at most, as if the disk were full."""
    setup = (
        "import os, resource, signal, sys; from pathlib import Path; import polars as pl\n"
        "from tidegate.stages import staging; from tidegate.stages.model import Verdict, VerdictState\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))\n"
        "staging._SPOOL_BYTES = 1_000; folder = staging.Staging(Path(sys.argv[1]))\n"
        "frame = pl.DataFrame({'text': [os.urandom(8).hex() for _ in range(40_000)]})\n"
    )
    command = [sys.executable, "-c", setup + program, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.mark.parametrize(
    "write",
    [
        "    folder.write(frame, 'a.parquet')",
        "    folder.write(frame.lazy().with_columns(more=pl.col('text') + '1'), 'a.parquet')",
        (
            "    with folder.spool('a.parquet') as spool:\n"
            "        for _ in range(9):\n"
            "            spool.add(frame)\n"
            "        spool.close()"
        ),
    ],
    ids=["frame", "plan", "spool"],
)
def test_a_full_disk_is_told_as_such_and_leaves_nothing(tmp_path: Path, write: str) -> None:
    report = "except Exception as error:\n    print(type(error).__name__, error)"
    said = in_a_process(f"try:\n{write}\n{report}", tmp_path)
    assert said == (
        f"StagingUnavailableError {tmp_path / 'a.parquet'} could not be written: "
        "File too large (os error 27). Free space on its disk or mend it, then retry.\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["File too large (os error 27)", "parquet: IO error: (os error 28)"])
def test_an_error_of_a_plan_is_no_error_of_the_disk(staging: Staging, text: str) -> None:
    rows = pl.LazyFrame({"text": [text]})
    for plan in (
        rows.with_columns(n=pl.col("text").cast(pl.Int64)),
        rows.with_columns(n=pl.col("text").str.to_date()),
        rows.select(pl.col(text)),
    ):
        with pytest.raises(pl.exceptions.PolarsError):
            staging.write(plan, "a.parquet")


def test_a_note_that_finds_the_disk_full_leaves_no_half_line(tmp_path: Path) -> None:
    said = in_a_process(
        "def verdict(name, reason):\n"
        "    return Verdict(object_id=name, attempt=1, state=VerdictState.HELD, reason=reason)\n"
        "with folder.noting('validated', '1') as note:\n"
        "    note([verdict('a', '')])\n"
        "    try:\n"
        "        note([verdict('b', 'x' * 200_000)])\n"
        "    except OSError as error:\n"
        "        print(type(error).__name__, error.errno)\n"
        "    note([verdict('c', '')])\n"
        "print([name for name, _ in folder.notes('validated', '1')])",
        tmp_path,
    )
    assert said == "OSError 27\n['a', 'c']\n"


def test_a_process_forked_off_while_a_file_is_written_lets_go_of_it(tmp_path: Path) -> None:
    said = in_a_process(
        "with folder.spool('a.parquet') as spool:\n"
        "    spool.add(frame.head(100))\n"
        "    child = os.fork()\n"
        "    if not child:\n"
        "        signal.alarm(5)\n"
        "        spool._writer._queue = staging.Queue(1)  # as full as it may be at that moment\n"
        "        spool._writer._queue.put(frame)\n"
        "        spool.discard()\n"
        "        os._exit(0)\n"
        "    _, status = os.waitpid(child, 0)\n"
        "    spool.close()\n"
        "print(status, pl.read_parquet(folder.path('a.parquet')).height)",
        tmp_path,
    )
    assert said == "0 100\n"
