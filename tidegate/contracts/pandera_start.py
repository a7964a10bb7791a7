"""Import Pandera without the packages that it takes along and Polars contracts never use."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from importlib.machinery import ModuleSpec
    from pathlib import Path
    from types import ModuleType

#: Pandera imports these when they happen to be installed; together a third of the time of a check.
OPTIONAL = ("pandas", "hypothesis")


class _NotInstalled:
    """A finder to which the optional packages are not there."""

    def find_spec(
        self, name: str, _path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name in OPTIONAL:
            # Pandera knows a package that is not installed by the words of this message.
            msg = f"No module named {name!r}"
            raise ModuleNotFoundError(msg, name=name)
        return None


def import_pandera_alone(sources: Iterable[Path]) -> bool:
    """Import ``pandera.polars`` as in an environment without pandas and Hypothesis; whether it was done.

    For a short-lived process of our own, never for one that belongs to a user: Pandera's pandas half
    does not work in it any more, while pandas itself does. Therefore nothing is done when one of
    `sources`, the Python files of the contracts, as much as names one of these packages.
    """
    if "pandera" in sys.modules or any(_names_one(source) for source in sources):
        return False
    finder = _NotInstalled()
    sys.meta_path.insert(0, finder)
    try:
        import pandera.polars
        import polars as pl

        # Pandera asks for pandas a second time when it runs its first check, and remembers.
        pandera.polars.Check.get_backend(pl.LazyFrame())
    finally:
        sys.meta_path.remove(finder)
    return True


def _names_one(source: Path) -> bool:
    try:
        text = source.read_bytes()
    except OSError:
        return True
    return any(package.encode() in text for package in OPTIONAL)
