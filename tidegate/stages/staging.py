"""Where the stages of one batch keep their files: written whole or not at all."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidegate.stages.model import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import polars as pl


@dataclass(frozen=True)
class Staging:
    """The staging folder of one batch."""

    folder: Path

    @classmethod
    def of_batch(cls, staging_dir: Path, batch_id: str) -> Staging:
        return cls(staging_dir / batch_id)

    def path(self, relative: str) -> Path:
        return self.folder / relative

    def name(self, object_id: str, attempt: int, what: str) -> str:
        """Relative path of a staged file of one object; its folder exists afterwards."""
        relative = f"{object_id}-{attempt}/{what}"
        self.path(relative).parent.mkdir(parents=True, exist_ok=True)
        return relative

    def write(self, frame: pl.DataFrame | pl.LazyFrame, relative: str) -> str:
        """Write a frame as Parquet under its final name only when it is whole."""
        import polars as pl

        target = self.path(relative)
        part = target.with_name(target.name + ".part")
        if isinstance(frame, pl.LazyFrame):
            frame.sink_parquet(part, compression="zstd", compression_level=1)
        else:
            frame.write_parquet(part, compression="zstd", compression_level=1)
        part.replace(target)
        return relative

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
        found: dict[tuple[str, int], Verdict] = {}
        for line in file.read_bytes().splitlines(keepends=True):
            if not line.endswith(b"\n"):
                break
            verdict = Verdict.model_validate_json(line)
            files = (verdict.rows, verdict.rejected)
            if all(self.path(name).exists() for name in files if name is not None):
                found[verdict.object_id, verdict.attempt] = verdict
        return found

    @contextmanager
    def noting(self, stage: str, contract_version: str) -> Iterator[Callable[[Verdict], object]]:
        """Give a function that notes one verdict; what it noted survives a kill of this process."""
        self.folder.mkdir(parents=True, exist_ok=True)
        target = self._notes_file(stage, contract_version)
        _cut_torn_line(target)
        with target.open("ab", buffering=0) as file:
            yield lambda verdict: file.write(verdict.model_dump_json().encode() + b"\n")

    def _notes_file(self, stage: str, contract_version: str) -> Path:
        return self.folder / f"{stage}-{contract_version}.jsonl"

    def remove(self) -> None:
        """Remove everything of this batch; nothing staged is needed once all is final."""
        if self.folder.exists():
            shutil.rmtree(self.folder)


class Spool:
    """Frames on their way into one Parquet file; what does not fit in memory waits on disk."""

    def __init__(self, staging: Staging, relative: str) -> None:
        self._staging = staging
        self._relative = relative
        self._frames: list[pl.DataFrame] = []
        self._size = 0
        self._parts: list[Path] = []

    def add(self, frame: pl.DataFrame) -> None:
        self._frames.append(frame)
        self._size += int(frame.estimated_size())
        if self._size > _SPOOL_BYTES:
            self._spill()

    def close(self) -> str:
        """Write the file whole; its relative path. At least one frame must have been added."""
        import polars as pl

        if not self._parts:
            return self._staging.write(pl.concat(self._frames), self._relative)
        if self._frames:
            self._spill()
        return self._staging.write(pl.scan_parquet(self._parts, glob=False), self._relative)

    def discard(self) -> None:
        for part in self._parts:
            part.unlink(missing_ok=True)

    def _spill(self) -> None:
        import polars as pl

        name = f"{self._relative}.{len(self._parts)}"
        self._parts.append(self._staging.path(self._staging.write(pl.concat(self._frames), name)))
        self._frames, self._size = [], 0


#: How much of a spooled file is kept in memory.
_SPOOL_BYTES = 128 * 1024 * 1024


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
