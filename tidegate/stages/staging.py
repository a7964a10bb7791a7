"""Where the stages of one batch keep their files: written whole or not at all."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
        os.replace(part, target)
        return relative

    def write_text(self, text: str, relative: str) -> None:
        target = self.path(relative)
        part = target.with_name(target.name + ".part")
        part.write_text(text, encoding="utf-8")
        os.replace(part, target)

    def remove(self) -> None:
        """Remove everything of this batch; nothing staged is needed once all is final."""
        if self.folder.exists():
            shutil.rmtree(self.folder)


def remove_abandoned(staging_dir: Path, *, keep: set[str], older_than: float) -> list[str]:
    """Remove staging folders of batches not in `keep` last changed before `older_than` (epoch s)."""
    removed = []
    if not staging_dir.is_dir():
        return removed
    for folder in staging_dir.iterdir():
        if folder.is_dir() and folder.name not in keep and folder.stat().st_mtime < older_than:
            shutil.rmtree(folder)
            removed.append(folder.name)
    return removed
