"""Objects that tell of other objects: where the manifest of a key lies, and whether a key is one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tidegate.contracts.keys import KeyPattern

if TYPE_CHECKING:
    from collections.abc import Sequence

_PLACE = re.compile(r"\{(key|stem)\}")


def manifest_key(pattern: str, key: str) -> str:
    """The key of the manifest of `key`; ``{stem}`` is the key without the last suffix of its name."""
    values = {"key": key, "stem": _stem(key)}
    return _PLACE.sub(lambda place: values[place[1]], pattern)


def manifest_beginnings(pattern: str, beginnings: Sequence[str]) -> list[str]:
    """Texts that manifests' keys begin with, given what the keys begin with that they tell of."""
    text = _PLACE.split(pattern, maxsplit=1)[0]
    # A stem may end before the beginning of its key does, but not before its name.
    return [text] if text else [one[: one.rfind("/") + 1] for one in beginnings]


def is_manifest(pattern: str, globs: Sequence[str], key: str) -> bool:
    """Whether `key` is the manifest of a key that one of `globs` matches."""
    # Odd parts are the names of places.
    parts = _PLACE.split(pattern)
    shape = "".join(
        re.escape(part)
        if not index % 2
        else f"(?P={part})"
        if part in parts[1:index:2]
        else f"(?P<{part}>.+)"
        for index, part in enumerate(parts)
    )
    found = re.fullmatch(shape, key, re.DOTALL)
    if found is None:
        return False
    told = found.groupdict()
    if "key" in told:
        data = told["key"]
        return any(KeyPattern(glob).matches(data) for glob in globs) and manifest_key(pattern, data) == key
    return "stem" not in told or any(KeyPattern(_stem_glob(glob)).matches(told["stem"]) for glob in globs)


def _stem(key: str) -> str:
    folder, slash, name = key.rpartition("/")
    return folder + slash + (name.rpartition(".")[0] or name)


def _stem_glob(glob: str) -> str:
    """What the stems of the keys that `glob` matches look like."""
    folder, slash, name = glob.rpartition("/")
    stem, _, suffix = name.rpartition(".")
    # Where the suffix may hold a dot of its own, or a name needs none, a stem is like a key.
    return folder + slash + (stem if stem and "*" not in suffix else name)
