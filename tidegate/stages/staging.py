"""Where the stages of one batch keep their files: written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from queue import Queue
from threading import Thread
from typing import TYPE_CHECKING

from tidegate.errors import StagingUnavailableError
from tidegate.stages.model import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from io import FileIO
    from pathlib import Path

    import polars as pl


@dataclass(frozen=True)
class Staging:
    """The staging folder of one batch."""

    folder: Path

    @classmethod
    def of_batch(cls, staging_dir: Path, batch_id: str) -> Staging:
        return cls(staging_dir / batch_id)

    def mark(self) -> str:
        """A text that stays the same for as long as the folder is there; made with it when it is not."""
        file = self.folder / "mark"
        if not file.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            self.write_text(uuid.uuid4().hex, file.name)
        return file.read_text(encoding="utf-8")

    def path(self, relative: str) -> Path:
        """The file of a relative path, whether a part of it is meant or all of it."""
        relative, _ = file_and_part(relative)
        return self.folder / relative

    def name(self, object_id: str, attempt: int, what: str) -> str:
        """Relative path of a staged file of one object; its folder exists afterwards."""
        relative = f"{object_id}-{attempt}/{what}"
        self.path(relative).parent.mkdir(parents=True, exist_ok=True)
        return relative

    def group(self, members: Sequence[tuple[str, int]], contract_version: str) -> str:
        """Relative path of a folder for files that these objects share, always the same for them."""
        names = "\n".join(f"{object_id} {attempt}" for object_id, attempt in members)
        digest = hashlib.sha256(f"{contract_version}\n{names}".encode()).hexdigest()[:16]
        self.path(digest).mkdir(parents=True, exist_ok=True)
        return digest

    def rows(self, relative: str) -> pl.LazyFrame:
        """The rows of a relative path, also where their columns are spread over several files.

        Raises StagingUnavailableError when these files do not fit each other.
        """
        import polars as pl

        if not is_spread(relative):
            return pl.scan_parquet(self.path(relative))
        columns = self._noted_columns(relative)
        frames = {file: pl.scan_parquet(self.path(file)) for file in columns.values()}
        heights = {frame.select(pl.len()).collect().item() for frame in frames.values()}
        if len(heights) > 1:
            msg = (
                f"{self.path(relative)} names files that hold different numbers of rows, so they are not as "
                f"they were staged. Remove the folder {self.folder}, then retry the run."
            )
            raise StagingUnavailableError(msg)
        parts = [
            frame.select(name for name, one in columns.items() if one == file)
            for file, frame in frames.items()
        ]
        return pl.concat(parts, how="horizontal").select(*columns)

    def where(self, relative: str) -> dict[str, str]:
        """In which staged file each column of a relative path is."""
        import polars as pl

        if is_spread(relative):
            return self._noted_columns(relative)
        return dict.fromkeys(pl.read_parquet_schema(self.path(relative)), relative)

    def spread(self, columns: Mapping[str, str], relative: str) -> str:
        """Note in which staged file each column is, rows in the same order in each; its relative path."""
        self.write_text(json.dumps({"columns": columns}), relative)
        return relative

    def _noted_columns(self, relative: str) -> dict[str, str]:
        columns: dict[str, str] = json.loads(self.path(relative).read_text(encoding="utf-8"))["columns"]
        return columns

    def _is_there(self, relative: str) -> bool:
        if not self.path(relative).exists():
            return False
        return not is_spread(relative) or all(
            map(self._is_there, set(self._noted_columns(relative).values()))
        )

    def write(self, frame: pl.DataFrame | pl.LazyFrame, relative: str) -> str:
        """Write a frame as Parquet under its final name only when it is whole.

        Not compressed, as it is read once or twice and soon removed (docs/performance.md).
        Raises StagingUnavailableError when the disk is in the way, and what a lazy frame raises.
        """
        self.write_beside(frame.lazy(), relative, [])
        return relative

    def write_beside(
        self, frame: pl.LazyFrame, relative: str, others: Sequence[pl.LazyFrame]
    ) -> list[pl.DataFrame]:
        """`write` a frame, and give what other frames hold, each step that they share done once."""
        import polars as pl

        target = self.path(relative)
        part = target.with_name(target.name + ".part")
        try:
            sink = frame.sink_parquet(part, compression="uncompressed", statistics=False, lazy=True)
            os.environ.setdefault("POLARS_JOIN_SAMPLE_LIMIT", _SAMPLED_ROWS)
            with pl.Config(streaming_chunk_size=_ROWS_AT_ONCE):
                _, *found = pl.collect_all([sink, *others], engine="streaming")
            part.replace(target)
        except BaseException as error:
            part.unlink(missing_ok=True)
            if (said := _said_by_the_disk(error)) is not None:
                msg = f"{target} could not be written: {said}. Free space on its disk or mend it, then retry."
                raise StagingUnavailableError(msg) from error
            raise
        return found

    @contextmanager
    def spool(self, relative: str) -> Iterator[Spool]:
        """A Parquet file that is written frame by frame, in bounded memory."""
        spool = Spool(self, relative)
        try:
            yield spool
        finally:
            spool.discard()

    def write_text(self, text: str, relative: str) -> None:
        target = self.path(relative)
        part = target.with_name(target.name + ".part")
        part.write_text(text, encoding="utf-8")
        part.replace(target)

    def notes(self, stage: str, contract_version: str) -> dict[tuple[str, int], Verdict]:
        """Verdicts noted by `stage` under this contract version, by object id and attempt.

        Only those whose files are still there; a last line cut short by a kill does not count.
        """
        file = self._notes_file(stage, contract_version)
        if not file.exists():
            return {}
        there = cache(self._is_there)
        found: dict[tuple[str, int], Verdict] = {}
        for line in file.read_bytes().splitlines(keepends=True):
            if not line.endswith(b"\n"):
                break
            verdict = Verdict.model_validate_json(line)
            files = (verdict.rows, verdict.rejected, verdict.origins)
            if all(there(file_and_part(name)[0]) for name in files if name is not None):
                found[verdict.object_id, verdict.attempt] = verdict
        return found

    @contextmanager
    def noting(self, stage: str, contract_version: str) -> Iterator[Callable[[Iterable[Verdict]], object]]:
        """Give a function that notes verdicts, all or none; what it noted survives a kill of this process."""
        self.folder.mkdir(parents=True, exist_ok=True)
        target = self._notes_file(stage, contract_version)
        _cut_torn_line(target)
        with target.open("ab", buffering=0) as file:
            yield lambda verdicts: _append(
                file, b"".join(verdict.model_dump_json().encode() + b"\n" for verdict in verdicts)
            )

    def _notes_file(self, stage: str, contract_version: str) -> Path:
        return self.folder / f"{stage}-{contract_version}.jsonl"

    def remove(self) -> None:
        """Remove everything of this batch; nothing staged is needed once all is final."""
        if self.folder.exists():
            shutil.rmtree(self.folder)


#: Column of a file that several objects share: the number of the object that a row is of.
PART = "_object"


def part_of(relative: str, number: int) -> str:
    """The path of a shared file together with the number that one object has in it."""
    return f"{relative}#{number}"


def file_and_part(relative: str) -> tuple[str, int | None]:
    """The inverse of `part_of`; without a number the whole file is of one object."""
    file, _, number = relative.partition("#")
    return file, int(number) if number else None


def is_spread(relative: str) -> bool:
    """Whether a relative path names no Parquet file, but says in which ones the columns are."""
    return relative.endswith(".json")


def is_worth_spreading(rows: int) -> bool:
    """Whether it takes less time to find out which columns need not be written again than to write them."""
    return rows >= _MANY_ROWS


class Spool:
    """Frames on their way into one Parquet file, in bounded memory.

    A small file is written when it is closed, a larger one by a thread while the next frames are made.
    """

    def __init__(self, staging: Staging, relative: str) -> None:
        self._staging = staging
        self._relative = relative
        self._process = os.getpid()
        self._frames: list[pl.DataFrame] = []
        self._size = 0
        self._writer: _Writer | None = None

    def add(self, frame: pl.DataFrame) -> None:
        """Take a frame; an error of an earlier write is raised here, or by `close`."""
        if self._writer is not None:
            self._writer.put(frame)
            return
        self._frames.append(frame)
        self._size += int(frame.estimated_size())
        if self._size > _SPOOL_BYTES:
            self._writer = _Writer(self._frames, self._staging, self._relative)
            self._frames = []

    def close(self) -> str:
        """Write the file whole; its relative path. At least one frame must have been added."""
        import polars as pl

        if self._writer is None:
            return self._staging.write(pl.concat(self._frames), self._relative)
        self._writer.finish()
        self._writer = None
        return self._relative

    def discard(self) -> None:
        """Write no more; nothing is left of a file that was not closed."""
        # A process that was forked off has no such thread to wait for.
        if self._writer is not None and self._process == os.getpid():
            self._writer.abandon()


class _AbandonedError(Exception):
    """Nobody wants the rest."""


class _Writer:
    """A thread that writes the frames it is given."""

    def __init__(self, first: list[pl.DataFrame], staging: Staging, relative: str) -> None:
        from polars.io.plugins import register_io_source

        self._queue: Queue[pl.DataFrame | Exception | None] = Queue(_QUEUED_FRAMES)
        self._ended = False
        self._error: BaseException | None = None
        rows = register_io_source(partial(self._frames, first), schema=first[0].schema)
        self._thread = Thread(target=self._write, args=(rows, staging, relative), name="staging", daemon=True)
        self._thread.start()

    def put(self, frame: pl.DataFrame) -> None:
        if self._error is not None:
            raise self._error
        self._queue.put(frame)

    def finish(self) -> None:
        self._end(None)
        if self._error is not None:
            raise self._error

    def abandon(self) -> None:
        self._end(_AbandonedError())

    def _end(self, sign: Exception | None) -> None:
        self._queue.put(sign)
        self._thread.join()

    def _write(self, rows: pl.LazyFrame, staging: Staging, relative: str) -> None:
        try:
            staging.write(rows, relative)
        except BaseException as error:  # noqa: BLE001  raised by the thread that puts the frames
            self._error = error
        # After an error the other side must not wait for room in the queue.
        while not self._ended:
            self._take()

    def _frames(self, first: list[pl.DataFrame], *_pushed_down: object) -> Iterator[pl.DataFrame]:
        while first:
            yield first.pop(0)
        while (given := self._take()) is not None:
            if isinstance(given, Exception):
                raise given
            yield given

    def _take(self) -> pl.DataFrame | Exception | None:
        given = self._queue.get()
        self._ended = given is None or isinstance(given, Exception)
        return given


_MANY_ROWS = 50_000
#: Polars holds some pieces of this many rows for each step of a plan: with 100,000, as it would
#: choose itself, three lookups took 0.9 to 1.4 GB.
_ROWS_AT_ONCE = 20_000
#: Rows that Polars holds of both sides before it joins them; its own limit is in the millions.
_SAMPLED_ROWS = "20000"
#: How much of a spooled file is kept in memory before its writing begins.
_SPOOL_BYTES = 16 * 1024 * 1024
#: How many frames may wait to be written.
_QUEUED_FRAMES = 4


def _said_by_the_disk(error: BaseException) -> str | None:
    """What the system said of a failed write; None for another error.

    Polars raises a ComputeError for it, and an OSError only where the file can't be opened. Errors
    of data may hold any text, but go on after it: they tell the expression or end in a bracket.
    """
    import polars as pl

    if not isinstance(error, pl.exceptions.ComputeError):
        return None
    found = _OS_ERROR.fullmatch(str(error))
    return found[1] if found is not None else None


_OS_ERROR = re.compile(r"parquet: .*IO error: (.+ \(os error \d+\))")


def _append(file: FileIO, lines: bytes) -> None:
    """Write the lines whole or not at all: what is noted afterwards must begin a line of its own."""
    before = file.seek(0, os.SEEK_END)
    try:
        left = memoryview(lines)
        while left:
            left = left[file.write(left) :]
    except OSError:
        file.truncate(before)
        raise


def _cut_torn_line(file: Path) -> None:
    """Drop what a kill left of a line, so that the next note begins a line of its own."""
    if file.exists():
        text = file.read_bytes()
        if not text.endswith(b"\n"):
            os.truncate(file, text.rfind(b"\n") + 1)


def remove_abandoned(staging_dir: Path, *, keep: set[str], older_than: float) -> list[str]:
    """Remove staging folders of batches not in `keep` last changed before `older_than` (epoch s)."""
    removed: list[str] = []
    if not staging_dir.is_dir():
        return removed
    for folder in staging_dir.iterdir():
        if folder.is_dir() and folder.name not in keep and folder.stat().st_mtime < older_than:
            shutil.rmtree(folder)
            removed.append(folder.name)
    return removed
