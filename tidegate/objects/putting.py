"""A file that is put into a folder: on the disk before it is seen, and later than the one it replaces."""

from __future__ import annotations

import os
import shutil
import time
from typing import TYPE_CHECKING

from tidegate.objects.copying import BLOCK, open_source

if TYPE_CHECKING:
    from pathlib import Path

#: nanoseconds by which the kernel's clock for files may lag, twice over
_COARSE = 20_000_000


def copy_durably(source: Path, part: Path) -> None:
    """Copy the file `source` to the new file `part`, onto the disk itself."""
    with open_source(source) as reader, part.open("xb") as writer:
        shutil.copyfileobj(reader, writer, BLOCK)
        writer.flush()
        os.fsync(writer.fileno())


def step_after(part: Path, path: Path) -> os.stat_result:
    """Give `part` a later time than the file at `path`, or equal sizes would make equal versions.

    And one that is a little past: the time of the renaming, which the kernel takes from a coarse
    clock, is then later, and that is how a watcher knows a file that was moved in.
    """
    try:
        before = path.lstat().st_mtime_ns
    except FileNotFoundError:
        before = 0
    status = part.stat()
    for step in (1, 1_000, 1_000_000, 2_000_000_000):  # disks keep times as coarsely as two seconds
        stamp = max(time.time_ns() - _COARSE, before + step)
        os.utime(part, ns=(stamp, stamp))
        status = part.stat()
        if status.st_mtime_ns > before:
            break
    return status
