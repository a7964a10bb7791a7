from __future__ import annotations

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
