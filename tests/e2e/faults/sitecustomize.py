"""Stop a process of the system at a named place, so that a test can kill it right there.

Python imports `sitecustomize` by itself when this folder is on its path. While the file that
TIDEGATE_TEST_FAULT names holds ``{"at": "module:Class.function", "when": "before"}``, the first
call of that function writes ``<file>.stopped`` with its process id and stops itself (SIGSTOP).
The system knows nothing of this, and a name that is not there fails the import of its module.
"""

from __future__ import annotations

import functools
import importlib.abc
import importlib.machinery
import json
import os
import signal
import sys
from pathlib import Path
from traceback import walk_stack
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType

PLACES = (
    "tidegate.operations.ingest:claim",
    "tidegate.operations.ingest:validate_batch",
    "tidegate.operations.outcomes:tell",
    "tidegate.operations.record:record_uploads",
    "tidegate.warehouse.connection:commit",
)


def stop_here(place: str, when: str) -> None:
    """Stop the process if the test asks for this place, once."""
    fault = Path(os.environ["TIDEGATE_TEST_FAULT"])
    if not fault.exists() or json.loads(fault.read_text()) != {"at": place, "when": when}:
        return
    if any(frame.f_code.co_filename.endswith("operations/rehearse.py") for frame, _ in walk_stack(None)):
        return  # a child that gets ready has no run to lose
    fault.unlink()
    part = fault.with_suffix(".part")
    part.write_text(str(os.getpid()))
    part.replace(fault.with_suffix(".stopped"))
    os.kill(os.getpid(), signal.SIGSTOP)


def wrap(module: ModuleType, path: str, place: str) -> None:
    owner: Any = module
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    original = getattr(owner, name)

    @functools.wraps(original)
    def stopping(*args: Any, **kwargs: Any) -> Any:
        stop_here(place, "before")
        result = original(*args, **kwargs)
        stop_here(place, "after")
        return result

    setattr(owner, name, stopping)


class Finder(importlib.abc.MetaPathFinder):
    """Wraps the places of a module once it is imported."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        places = [place for place in PLACES if place.partition(":")[0] == name]
        if not places:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None:
            raise ImportError(name)
        run = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            run(module)
            for place in places:
                wrap(module, place.partition(":")[2], place)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


if "TIDEGATE_TEST_FAULT" in os.environ:
    sys.meta_path.insert(0, Finder())
