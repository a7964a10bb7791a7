"""Which field of a file is which column of the contract."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tidegate.contracts import Columns

#: How many names, and how much of each, a message shows.
_NAMES, _NAME_LENGTH = 20, 60


@dataclass(frozen=True, slots=True)
class Match:
    """How a header fits the columns of a contract."""

    #: column of the contract -> index of its field; None: the file has none and need not
    layout: dict[str, int | None]
    #: what stands against it, in words; empty when it fits
    problems: list[str] = field(default_factory=list)
    #: how many columns of the contract it names
    found: int = 0

    @property
    def fits(self) -> bool:
        return not self.problems


class Matcher:
    """Matches headers with one contract's columns."""

    def __init__(self, columns: Sequence[str], policy: Columns) -> None:
        self.columns = list(columns)
        self.policy = policy
        self._names = {self._same(name): name for name in columns}
        self._names |= {self._same(alias): name for alias, name in policy.aliases.items()}

    def match(self, header: Sequence[str]) -> Match:
        """Which field is which column, and what is wrong with the header under the contract's policy."""
        places: dict[str, list[int]] = {}
        extra: list[str] = []
        for index, text in enumerate(header):
            name = self._names.get(self._same(text.strip()))
            if name is None:
                extra.append(text.strip() or f"column {index + 1}, which has no name")
            else:
                places.setdefault(name, []).append(index)
        missing = [name for name in self.columns if name not in places]
        twice = [name for name, indexes in places.items() if len(indexes) > 1]
        problems = [
            *(_told("missing", missing) if self.policy.missing == "hold" else ()),
            *(_told("not expected", extra) if self.policy.extra == "hold" else ()),
            *_told("more than once", twice),
        ]
        order = [name for name in sorted(places, key=lambda name: places[name][0]) if name not in twice]
        wanted = [name for name in self.columns if name in order]
        if self.policy.reordered == "hold" and order != wanted:
            problems += [f"in another order than {', '.join(map(_short, wanted[:_NAMES]))}"]
        if not places:
            problems = problems or ["none of the contract's columns is in it"]
        layout = {name: places[name][0] if name in places else None for name in self.columns}
        return Match(layout, problems, len(places))

    def positional(self) -> Match:
        """The match of a file without a header: the columns stand in the contract's order."""
        return Match({name: index for index, name in enumerate(self.columns)}, found=len(self.columns))

    def _same(self, name: str) -> str:
        return name.casefold() if self.policy.ignore_case else name


def _told(what: str, names: Iterable[str]) -> list[str]:
    shown = [_short(name) for name in names]
    if not shown:
        return []
    more = f" and {len(shown) - _NAMES} more" if len(shown) > _NAMES else ""
    return [f"{what}: {', '.join(shown[:_NAMES])}{more}"]


def _short(name: str) -> str:
    return repr(name[:_NAME_LENGTH])
