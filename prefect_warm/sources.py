"""Whether code or files that a process has read have changed on disk since."""

from __future__ import annotations

import glob
import os
import site
import sys
import sysconfig
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Mark = tuple[int, int]


class Sources:
    """The source files of imported modules, and files that match `patterns`.

    Installed packages are left out: nobody edits them under a running process, and they are many.
    """

    def __init__(self, patterns: Sequence[str] = ()) -> None:
        self._began = time.time_ns()
        self._patterns = [os.path.abspath(pattern) for pattern in patterns]  # noqa: PTH100 - a glob is no path
        self._modules: set[str] = set()
        self._marks: dict[str, Mark | None] = {}
        self._stale = False
        self._watched = self._matching()

    def changed(self) -> bool:
        """True from the first call on that finds a change.

        A module that was imported between two calls is taken for changed when its file is younger
        than this object: nobody can say which version was read.
        """
        if not self._stale:
            self._stale = self._look()
        return self._stale

    def _look(self) -> bool:
        if self._matching() != self._watched:
            return True
        if any(_mark(path) != mark for path, mark in self._marks.items()):
            return True
        new = [name for name in list(sys.modules) if name not in self._modules]
        self._modules.update(new)
        for path in _files_of(new):
            mark = self._marks[path] = _mark(path)
            if mark is None or mark[0] > self._began:
                return True
        return False

    def _matching(self) -> dict[str, Mark | None]:
        found = (path for pattern in self._patterns for path in glob.iglob(pattern, recursive=True))  # noqa: PTH207
        return {path: _mark(path) for path in found if os.path.isfile(path)}  # noqa: PTH113


def _files_of(names: Iterable[str]) -> Iterable[str]:
    installed = _installed_folders()
    for name in names:
        path = getattr(sys.modules.get(name), "__file__", None)
        if path and path.endswith(".py") and not os.path.abspath(path).startswith(installed):  # noqa: PTH100
            yield os.path.abspath(path)  # noqa: PTH100


def _installed_folders() -> tuple[str, ...]:
    folders = {*sysconfig.get_paths().values(), *site.getsitepackages(), site.getusersitepackages()}
    return tuple(str(Path(folder)) + os.sep for folder in folders if "python" in folder.lower())


def _mark(path: str) -> Mark | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - a hundred of these a run
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
