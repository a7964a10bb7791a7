"""Globs over object keys, and which of many may match a key."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


#: What a glob is made of: these, and plain text between them.
WILD = re.compile(r"(\*\*/|\*\*|\*|\?)")


@dataclass(frozen=True)
class KeyPattern:
    """A glob: ``*`` and ``?`` stay within one folder, ``**/`` spans any number of them.

    Everything else stands for itself, case included; ``[`` is not special, as keys may hold it.
    """

    glob: str

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        parts = WILD.split(self.glob)
        wild = {"**/": r"(?:.*/)?", "**": r".*", "*": r"[^/]*", "?": r"[^/]"}
        return re.compile("".join(wild.get(part) or re.escape(part) for part in parts), re.DOTALL)

    @property
    def beginning(self) -> str:
        """The text that every key begins with that it matches."""
        return re.split(r"[*?]", self.glob, maxsplit=1)[0]

    def matches(self, key: str) -> bool:
        return self._regex.fullmatch(key) is not None


class Beginnings:
    """Names by how their keys begin: with thousands of feeds, a key is tried against a few patterns."""

    def __init__(self, named: Iterable[tuple[str, str]]) -> None:
        """`named` has pairs of a beginning and a name; a name may have several beginnings."""
        self._names: dict[str, list[tuple[int, str]]] = {}
        numbers: dict[str, int] = {}
        for beginning, name in named:
            number = numbers.setdefault(name, len(numbers))
            self._names.setdefault(beginning, []).append((number, name))
        self._lengths = sorted({len(beginning) for beginning in self._names})

    def of(self, key: str) -> list[str]:
        """Those whose keys may begin as this one does, each once, in the order they were given."""
        found: set[tuple[int, str]] = set()
        for length in self._lengths:
            found.update(self._names.get(key[:length], ()))
        return [name for _, name in sorted(found)]
