"""The schemas of events: made from the code, and changed only in ways that consumers survive."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from tidegate.events import EventType
from tidegate.events.payloads import SCHEMAS, schema_of

#: The schemas as of the last release.
RELEASED = Path(__file__).parents[1] / "golden" / "event_schemas"


def breaking_changes(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What a consumer of `old` could not survive in `new`."""
    changes = []
    for name, was in old["properties"].items():
        if name not in new["properties"]:
            changes.append(f"{name} is gone")
        elif shape(was) != shape(new["properties"][name]):
            changes.append(f"{name} has another type")
    gone = set(old.get("required", [])) - set(new.get("required", []))
    changes += [f"{name} is not certain any more" for name in sorted(gone)]
    return changes


def shape(schema: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in schema.items() if name not in ("description", "title")}


@pytest.mark.parametrize("kind", EventType)
def test_the_schema_in_the_repository_is_made_from_the_code(kind: EventType) -> None:
    committed = json.loads((SCHEMAS / f"{kind.value}.json").read_text())
    assert committed == schema_of(kind), "run python -m tidegate.events.payloads"


@pytest.mark.parametrize("file", sorted(RELEASED.glob("*.json")), ids=lambda file: file.stem)
def test_a_released_schema_only_grows(file: Path) -> None:
    now = json.loads((SCHEMAS / file.name).read_text())
    assert breaking_changes(json.loads(file.read_text()), now) == []


def test_breaking_changes_are_seen() -> None:
    old = schema_of(EventType.LOADED)
    new = copy.deepcopy(old)
    del new["properties"]["table"]
    new["properties"]["rows_read"]["type"] = "string"
    new["required"].remove("rows_loaded")
    new["properties"]["added"] = {"type": "string"}
    assert breaking_changes(old, new) == [
        "table is gone",
        "rows_read has another type",
        "rows_loaded is not certain any more",
    ]
