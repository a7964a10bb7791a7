"""Whether two globs can match one key.

Both are walked side by side as automata (the product construction for the intersection of regular
languages): a place is where in a glob the walk stands, and the first pair of ends that is reached
makes a shortest shared key.
"""

from __future__ import annotations

from collections import deque
from itertools import product
from typing import TYPE_CHECKING

from tidegate.contracts.keys import WILD

if TYPE_CHECKING:
    from collections.abc import Iterator


def shared_key(one: str, two: str) -> str | None:
    """A shortest key that both globs match; None when there is none."""
    # Where any letter will do, it is an x.
    letters = ["x", *sorted({*one, *two, "/"} - {"*", "?", "x"})]
    first, second = _Glob(one), _Glob(two)
    reached = dict.fromkeys(product(first.skips(0), second.skips(0)), "")
    waiting = deque(reached)
    while waiting:
        places = waiting.popleft()
        if places == (first.end, second.end):
            return reached[places]
        for letter in letters:
            for following in product(first.after(places[0], letter), second.after(places[1], letter)):
                if following not in reached:
                    reached[following] = reached[places] + letter
                    waiting.append(following)
    return None


class _Glob:
    """A glob's places: before part n is 2 n, within the folders that a ``**/`` spans 2 n + 1."""

    def __init__(self, glob: str) -> None:
        found = WILD.split(glob)
        self.parts = [part for text in found for part in ([text] if WILD.fullmatch(text) else text)]
        self.end = 2 * len(self.parts)

    def skips(self, place: int) -> Iterator[int]:
        """This place, and those behind parts that may be empty."""
        yield place
        while place < self.end and not place % 2 and self.parts[place // 2] in {"**/", "**", "*"}:
            place += 2
            yield place

    def after(self, place: int, letter: str) -> Iterator[int]:
        """The places after one more letter."""
        for following in self._moves(place, letter):
            yield from self.skips(following)

    def _moves(self, place: int, letter: str) -> Iterator[int]:
        if place == self.end:
            return
        part, behind = self.parts[place // 2], place // 2 * 2 + 2
        if part == "**/":
            yield behind - 1
            if letter == "/":
                yield behind
        elif part == "**" or (part == "*" and letter != "/"):
            yield place
        elif part == letter or (part == "?" and letter != "/"):
            yield behind
