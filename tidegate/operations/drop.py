"""Drop files into the landing, and remember which, so that `wait` knows what to wait for."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from tidegate.errors import UsageError
from tidegate.events.model import iso
from tidegate.objects import ObjectStore, ObjectVersion

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from tidegate.settings import Settings


@dataclass(frozen=True, slots=True)
class ToDrop:
    """One file and the key it will have below the landing."""

    source: Path
    key: str
    size: int


def plan_drop(paths: Sequence[Path], to: str = "") -> list[ToDrop]:
    """What would be uploaded: files by name, folders with everything in them by relative path.

    Hidden files in folders are left out. UsageError names each path that is no readable file, and
    each key that two files would have; then nothing is to be uploaded.
    """
    prefix = to.strip("/") + "/" if to.strip("/") else ""
    found: list[ToDrop] = []
    problems: list[str] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(_files_in(path))
            found += [_to_drop(file, prefix + file.relative_to(path).as_posix()) for file in inside]
            problems += [] if inside else [f"{path} is a folder without files."]
        elif not path.exists():
            problems.append(f"{path} does not exist.")
        elif not path.is_file():
            problems.append(f"{path} is not a file.")
        else:
            found.append(_to_drop(path, prefix + path.name))
    problems += [f"{one.source} can't be read." for one in found if not os.access(one.source, os.R_OK)]
    keys = [one.key for one in found]
    problems += [
        f"Two files would have the key {key}." for key in sorted({k for k in keys if keys.count(k) > 1})
    ]
    if problems:
        raise UsageError(" ".join([*problems, "Nothing was uploaded."]))
    return found


def _files_in(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.is_file() and not hidden:
            yield path


def _to_drop(source: Path, key: str) -> ToDrop:
    return ToDrop(source, key, source.stat().st_size)


def drop(settings: Settings, store: ObjectStore, files: Iterable[ToDrop]) -> Iterator[ObjectVersion]:
    """Upload each file, whole or not at all, and give the object it became."""
    for file in files:
        obj = store.put(file.source, store.prefix + file.key)
        _remember(settings, obj)
        yield obj


def _file(settings: Settings) -> Path:
    return settings.state_dir / "run" / "dropped.jsonl"


def _remember(settings: Settings, obj: ObjectVersion) -> None:
    path = _file(settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps({**asdict(obj), "uploaded_at": iso(obj.uploaded_at)}) + "\n"
    with path.open("a", encoding="utf-8") as file:
        file.write(line)


def dropped(settings: Settings) -> list[ObjectVersion]:
    """What was dropped since `forget_dropped` was called last."""
    try:
        lines = _file(settings).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    objects = []
    for line in lines:
        values = json.loads(line)
        values["uploaded_at"] = datetime.fromisoformat(values["uploaded_at"])
        objects.append(ObjectVersion(**values))
    return objects


def forget_dropped(settings: Settings) -> None:
    """What was dropped has been waited for."""
    _file(settings).unlink(missing_ok=True)
