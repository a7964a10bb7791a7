"""Upload files to the landing, and remember what was uploaded until the ledger knows it."""

from __future__ import annotations

import json
import os
import re
import time
import uuid
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from tidegate.errors import ContractError, ObjectRejectedError, UsageError
from tidegate.events.model import iso
from tidegate.objects.filenames import is_in_progress, key_of
from tidegate.objects.model import ObjectVersion

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from tidegate.objects import ObjectStore
    from tidegate.settings import Settings

#: What stands in quotes on one line of Python.
_QUOTED = re.compile(r"""["']([^"'\n]+)["']""")
_PLACE = re.compile(r"\{\w+\}")
#: Seconds after which nobody waits any more for what was dropped.
_FORGET_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class Upload:
    """One file, and the full key it gets."""

    source: Path
    key: str
    size: int


@dataclass(slots=True)
class DropPlan:
    """What a drop would upload, and the files it passes over: hidden, or not finished."""

    uploads: list[Upload]
    passed_over: list[Path]


def plan_drop(paths: Sequence[Path], to: str, store: ObjectStore) -> DropPlan:
    """The uploads for these files and folders, in order; nothing is uploaded yet.

    A file keeps its name, a folder's files keep their paths below it, all under `to` below the
    landing. UsageError names everything that is missing, can't be read or would get one key twice.
    """
    plan, problems = DropPlan([], []), list[str]()
    prefix = store.prefix + _folder(to)
    for path in paths:
        if path.is_dir():
            _plan_folder(path, prefix, plan, problems)
        else:
            _plan_file(path, prefix + key_of(path.name), plan, problems)
    problems.extend(_clashes(plan.uploads))
    for upload in plan.uploads:
        try:
            store.relative_key(upload.key)
        except ObjectRejectedError as error:
            problems.append(str(error))
    if problems:
        msg = "Nothing was uploaded:\n" + "\n".join(f"  {problem}" for problem in problems)
        raise UsageError(msg)
    if not plan.uploads:
        msg = "There is no file to upload in what was named; hidden files are passed over."
        raise UsageError(msg)
    return plan


def drop(settings: Settings, store: ObjectStore, uploads: Iterable[Upload]) -> Iterator[ObjectVersion]:
    """Upload one after the other, each whole or not at all; what was created.

    Each is remembered for `tidegate wait` before the next one begins.
    """
    memory = _Memory(settings)
    memory.forget_old()
    for upload in uploads:
        obj = store.put(upload.source, upload.key)
        memory.add(obj)
        yield obj


def doubts(settings: Settings, store: ObjectStore, plan: DropPlan) -> str:
    """Which keys of the plan no contract matches or several do, as far as that is told cheaply; else empty.

    Contracts are imported only when not just one text in their files is a pattern for a key, so a `--to`
    or a name that is mistyped is noticed, and a usual drop does not wait for Pandera.
    """
    from tidegate.contracts.keys import KeyPattern
    from tidegate.contracts.registry import load_registry, source_files

    texts = [file.read_text(errors="replace") for file in source_files(settings.contracts, settings.root)]
    quoted = {found for text in texts for found in _QUOTED.findall(text)}
    # A manifest's pattern has {key} or {stem} for that of its object.
    patterns = [KeyPattern(_PLACE.sub("**", found)) for found in quoted]
    keys = [store.relative_key(upload.key) for upload in plan.uploads]
    odd = [key for key in keys if sum(pattern.matches(key) for pattern in patterns) != 1]
    if not odd or not texts:
        return ""
    try:
        registry = load_registry(settings.contracts, settings.root)
    except ContractError as error:
        return f"the data contracts can't be loaded: {str(error).splitlines()[0]}"
    matching = {key: [contract.name for contract in registry.match(key)] for key in odd}
    left = [key for key in odd if not matching[key] and registry.manifest_of(key) is None]
    if left:
        return f"no data contract matches {_first(left)}; nothing takes it up before one does."
    if shared := [key for key in odd if len(matching[key]) > 1]:
        names = ", ".join(matching[shared[0]])
        what = f"several data contracts match {_first(shared)}: {names}"
        return f"{what}; nothing takes it up before one alone does."
    return ""


def _first(keys: Sequence[str]) -> str:
    return keys[0] + (f" (and {len(keys) - 1:,} more)" if keys[1:] else "")


def dropped(settings: Settings) -> dict[Path, list[ObjectVersion]]:
    """What was dropped, by the file that remembers it. The caller deletes a file when all is known."""
    return _Memory(settings).read()


def _folder(to: str) -> str:
    inside = to.strip("/")
    return f"{inside}/" if inside else ""


def _plan_file(path: Path, key: str, plan: DropPlan, problems: list[str]) -> None:
    if not path.exists():
        problems.append(f"{path} does not exist.")
    elif not path.is_file():
        problems.append(f"{path} is not a file.")
    elif not os.access(path, os.R_OK):
        problems.append(f"{path} can't be read; you lack the right to.")
    elif is_in_progress(path.name):
        problems.append(f"{path} has the name of an upload in progress, which nobody takes up; rename it.")
    else:
        plan.uploads.append(Upload(path, key, path.stat().st_size))


def _plan_folder(folder: Path, prefix: str, plan: DropPlan, problems: list[str]) -> None:
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if path.is_dir():
            continue
        if any(is_in_progress(part) for part in relative.parts):
            plan.passed_over.append(path)
        else:
            _plan_file(path, prefix + key_of(relative.as_posix()), plan, problems)


def _clashes(uploads: Sequence[Upload]) -> Iterator[str]:
    taken: dict[str, Path] = {}
    for upload in uploads:
        other = taken.setdefault(upload.key, upload.source)
        if other is not upload.source:
            yield f"{upload.source} and {other} would both become {upload.key}; drop them one by one."


class _Memory:
    """One file a drop, one line an object."""

    def __init__(self, settings: Settings) -> None:
        self._folder = settings.state_dir / "run" / "dropped"
        self._file = self._folder / f"{uuid.uuid4()}.jsonl"

    def add(self, obj: ObjectVersion) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        document = asdict(obj) | {"uploaded_at": iso(obj.uploaded_at)}
        with self._file.open("a") as file:
            file.write(json.dumps(document) + "\n")

    def read(self) -> dict[Path, list[ObjectVersion]]:
        found: dict[Path, list[ObjectVersion]] = {}
        for path in sorted(self._folder.glob("*.jsonl")):
            try:
                # The last line may be half written by a drop at work; it is there the next time.
                lines = path.read_text().splitlines(keepends=True)
            except FileNotFoundError:
                continue
            found[path] = [_object(line) for line in lines if line.endswith("\n")]
        return found

    def forget_old(self) -> None:
        for path in self._folder.glob("*.jsonl"):
            if path.stat().st_mtime < time.time() - _FORGET_SECONDS:
                path.unlink(missing_ok=True)


def _object(line: str) -> ObjectVersion:
    document = json.loads(line)
    document["uploaded_at"] = datetime.fromisoformat(document["uploaded_at"])
    return ObjectVersion(**document)
