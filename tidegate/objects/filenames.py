r"""Keys for the files of a folder, whatever bytes their names are made of.

A key is text, a file's name on Linux is bytes. A name that is valid UTF-8 is its own key. Any other
byte stands in the key as ``\xNN``, so that the file is listed, recorded and told about like all
others; a name that holds such a text itself gets its backslash written as ``\x5c``. Each name has
one key and each key one name.
"""

from __future__ import annotations

import re

#: Endings that browsers and copying tools give to what they have not finished.
IN_PROGRESS = (".tmp", ".part", ".partial", ".crdownload")

_ESCAPED = re.compile(rb"\\x([89a-f][0-9a-f]|5c)")
_WOULD_READ_AS_ESCAPED = re.compile(rb"\\(?=x(?:[89a-f][0-9a-f]|5c))")


def is_in_progress(name: str) -> bool:
    """Whether a file or folder of this name is hidden or not finished yet, and so no upload."""
    return name.startswith(".") or name.lower().endswith(IN_PROGRESS)


def key_of(relative: str) -> str:
    """The key of a path below the landing, as the ``os`` module spells it."""
    raw = relative.encode(errors="surrogateescape")
    return _WOULD_READ_AS_ESCAPED.sub(rb"\\x5c", raw).decode(errors="backslashreplace")


def relative_of(key: str) -> str | None:
    """The path below the landing, as the ``os`` module spells it; None when no file can have `key`."""
    parts = key.split("/")
    if "\0" in key or any(part in {"", ".", ".."} for part in parts):
        return None
    try:
        raw = key.encode()
    except UnicodeEncodeError:
        return None
    raw = _ESCAPED.sub(lambda match: bytes([int(match[1], 16)]), raw)
    relative = raw.decode(errors="surrogateescape")
    return relative if key_of(relative) == key else None
