"""Snapshots of reference datasets on disk, and which of each is the newest committed one.

A snapshot's file is written before the commit that makes it true; the pointer ``latest.json``
moves after it. So a file without a pointer was never committed, and is not used.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from tidegate import clock
from tidegate.events.model import iso

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tidegate.warehouse import Snapshot

_POINTER = "latest.json"
#: Snapshots that stay for runs still using them: the newest, and all that are not old.
_KEEP = 3
_KEEP_SECONDS = 86_400.0


class References:
    """The references folder: ``<dataset>/<sequence>-<batch>.parquet`` and the pointers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, snapshot: str) -> Path:
        """The file of a snapshot named as in `latest`."""
        return self.folder / snapshot

    def latest(self, dataset: str) -> str | None:
        """The newest committed snapshot, relative to the folder; None before the first load."""
        pointer = self._read(dataset)
        return None if pointer is None else str(pointer["path"])

    def publish(self, snapshot: Snapshot) -> None:
        """Make a committed snapshot the newest, unless a newer one is already."""
        pointer = self._read(snapshot.dataset)
        made = iso(snapshot.created_at)
        if pointer is not None and not _is_older(pointer, snapshot.sequence, made):
            return
        target = self.folder / snapshot.dataset / _POINTER
        part = target.with_name(f"{_POINTER}.{os.getpid()}.part")
        told = {"sequence": snapshot.sequence, "path": snapshot.path, "created_at": made}
        part.write_text(json.dumps(told))
        part.replace(target)
        self._prune(snapshot)

    def _read(self, dataset: str) -> dict[str, Any] | None:
        try:
            text = (self.folder / dataset / _POINTER).read_text()
        except FileNotFoundError:
            return None
        pointer: dict[str, Any] = json.loads(text)
        return pointer

    def _prune(self, newest: Snapshot) -> None:
        def sequence(file: Path) -> int:
            return int(file.name.partition("-")[0])

        files = sorted((self.folder / newest.dataset).glob("*-*.parquet"), key=sequence, reverse=True)
        oldest = clock.now().timestamp() - _KEEP_SECONDS
        for file in [file for file in files if sequence(file) <= newest.sequence][_KEEP:]:
            if file.stat().st_mtime < oldest:
                file.unlink()


def _is_older(pointer: Mapping[str, Any], sequence: int, created_at: str) -> bool:
    """Whether a pointer leads to a snapshot made before this one.

    A warehouse that was begun anew counts its commits from one, so that the time decides. Pointers of
    earlier releases do not tell it.
    """
    if "created_at" in pointer:
        return str(pointer["created_at"]) < created_at
    return int(pointer["sequence"]) < sequence
