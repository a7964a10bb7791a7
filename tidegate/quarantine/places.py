"""Where the files of one object lie below the quarantine."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tidegate.objects.filenames import is_in_progress

if TYPE_CHECKING:
    from tidegate.ledger import ObjectEntry

#: Bytes that every file system allows in a name, with room for what is put beside it.
_LONGEST = 200
_CONTROL = re.compile(r"[\x00-\x1f\x7f\\]")


def folder_of(entry: ObjectEntry) -> str:
    """``<dataset>/<key>/<version>/``, the same in a bucket and in a folder.

    A key that no folder could hold (with ``..``, a hidden name, a very long one) gives
    ``<dataset>/<object id>/`` instead.
    """
    parts = [*entry.key.split("/"), entry.version]
    inside = "/".join(parts) if all(map(_is_plain, parts)) else entry.object_id
    return f"{entry.dataset}/{inside}/"


def _is_plain(part: str) -> bool:
    if not part or is_in_progress(part) or _CONTROL.search(part):
        return False
    try:
        return len(part.encode()) <= _LONGEST
    except UnicodeEncodeError:
        return False
