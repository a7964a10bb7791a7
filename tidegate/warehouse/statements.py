"""SQL in files, and the only ways to put something into it.

``sql/<file>.sql`` holds statements under ``-- name: <statement>``.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


@cache
def _file(name: str) -> dict[str, str]:
    _, *parts = _NAME.split(text(name))
    return dict(zip(parts[::2], parts[1::2], strict=True))


def text(name: str) -> str:
    """All of ``sql/<name>.sql``."""
    return files("tidegate.warehouse").joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")


def statement(file: str, name: str, **parts: object) -> str:
    """One named statement; `parts` fill its ``{placeholders}`` and must be safe SQL already."""
    return _file(file)[name].format(**parts)


def quoted(name: str) -> str:
    """`name` as an identifier, whatever it contains."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """`text` as a string literal, whatever it contains."""
    return "'" + text.replace("'", "''") + "'"


def listed(names: Iterable[str]) -> str:
    """Identifiers with commas between them."""
    return ", ".join(quoted(name) for name in names)
