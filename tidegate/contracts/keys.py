"""Globs over object keys."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class KeyPattern:
    """A glob: ``*`` and ``?`` stay within one folder, ``**/`` spans any number of them.

    Everything else stands for itself, case included; ``[`` is not special, as keys may hold it.
    """

    glob: str

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        parts = re.split(r"(\*\*/|\*\*|\*|\?)", self.glob)
        wild = {"**/": r"(?:.*/)?", "**": r".*", "*": r"[^/]*", "?": r"[^/]"}
        return re.compile("".join(wild.get(part) or re.escape(part) for part in parts), re.DOTALL)

    def matches(self, key: str) -> bool:
        return self._regex.fullmatch(key) is not None
