"""How the objects of a feed are written, and in what a new one differs from those before it.

A dialect here is plain data, as it stands in the event ``validated``: what the reader found, and
``assumed``, the fields that nothing in the object tells.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tidegate.stages.model import Verdict

#: Fields that are found in an object; the others are declared by the contract alone.
_FOUND = {
    "encoding": "encoding",
    "byte_order_mark": "byte order mark",
    "compression": "compression",
    "delimiter": "delimiter",
    "quote": "quote",
    "escape": "escape",
    "line_end": "line end",
    "preamble_lines": "preamble lines",
    "header_lines": "header lines",
    "header": "header",
}
#: A header longer than this as JSON is left out of what is recorded: an event has to stay small.
_HEADER_CHARACTERS = 8_000
_NAMED_COLUMNS = 5
_NAME_CHARACTERS = 60
_SHOWN = {
    None: "none",
    "\t": "tab",
    " ": "blank",
    "\n": "LF",
    "\r\n": "CRLF",
    "\r": "CR",
}


class Feed:
    """What a feed has used up to an object: for each field what was found last.

    What an object was only assumed to use counts until another shows something.
    """

    def __init__(self) -> None:
        self._used: dict[str, Any] = {}
        self._assumed: set[str] = set()

    def add(self, dialect: dict[str, Any]) -> None:
        """Take the next object of the feed into account."""
        for name in _FOUND:
            value = dialect.get(name)
            if _says_nothing(name, value):
                continue
            known = name in self._used and name not in self._assumed
            if name not in dialect["assumed"]:
                self._used[name] = value
                self._assumed.discard(name)
            elif not known:
                self._used[name] = value
                self._assumed.add(name)

    def differences(self, dialect: dict[str, Any]) -> list[str]:
        """In what an object differs, such as ``delimiter: , → ;``; what it only assumes never does."""
        return [
            f"{label}: {_change(name, self._used[name], dialect[name])}"
            for name, label in _FOUND.items()
            if name in self._used
            and name not in dialect["assumed"]
            and not _says_nothing(name, dialect.get(name))
            and self._used[name] != dialect[name]
        ]


def recorded(verdict: Verdict) -> dict[str, Any]:
    """The dialect that an object was read in, as its event tells it."""
    return {**_told(verdict.dialect), "assumed": verdict.dialect_assumed}


@lru_cache(maxsize=64)
def _told(text: str) -> dict[str, Any]:
    dialect: dict[str, Any] = json.loads(text)
    if len(json.dumps(dialect["header"])) > _HEADER_CHARACTERS:
        dialect["header"] = None
    return dialect


def _says_nothing(name: str, value: object) -> bool:
    return not value if name == "header" else value is None and name not in {"quote", "escape"}


def _change(name: str, before: Any, after: Any) -> str:
    if name == "header":
        return _header_change(before, after)
    return f"{_shown(before)} → {_shown(after)}"


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(_SHOWN.get(value, value))


def _header_change(before: Sequence[str], after: Sequence[str]) -> str:
    new = [column for column in after if column not in before]
    gone = [column for column in before if column not in after]
    if not new and not gone:
        return "other order of columns"
    return ", ".join([*_columns("with", new), *_columns("without", gone)])


def _columns(word: str, names: list[str]) -> list[str]:
    if not names:
        return []
    shown = " ".join(repr(name[:_NAME_CHARACTERS]) for name in names[:_NAMED_COLUMNS])
    more = len(names) - _NAMED_COLUMNS
    return [f"{word} {shown}" + (f" and {more} more" if more > 0 else "")]
