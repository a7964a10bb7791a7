"""JSON Schema (draft 2020-12) of one row, its values in JSON's types."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tidegate.contracts.columns import Columns
from tidegate.contracts.describe import full
from tidegate.contracts.exports import sentences

if TYPE_CHECKING:
    from collections.abc import Mapping

DRAFT = "https://json-schema.org/draft/2020-12/schema"
_WHOLE = re.compile(r"U?Int\d+")
_TIME = r"^\d\d:\d\d:\d\d(\.\d+)?$"
_LOCAL = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?$"


def json_schema(told: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of a row as the file has it, before any step.

    Decimals are numbers. What the draft has no word for (unique values, checks by code) is told in
    the descriptions.
    """
    policy = full(Columns, told["column_policy"])
    rules = [sentences.sentence(one) for one in told["row_checks"]]
    return {
        "$schema": DRAFT,
        "title": told["name"],
        "description": "; ".join([told["description"].rstrip("."), *rules]) + ".",
        "$comment": f"Version {told['version']}",
        "type": "object",
        "properties": {column["name"]: _property(column) for column in told["columns"]},
        "required": [
            column["name"]
            for column in told["columns"]
            if not (column["nullable"] and policy["missing"] == "null")
        ],
        "additionalProperties": policy["extra"] == "ignore",
    }


def _property(column: Mapping[str, Any]) -> dict[str, Any]:
    kind = _kind(column["type"])
    words = [column[field] for field in ("description",) if field in column]
    own: dict[str, Any] = {}
    number = kind["type"] in ("integer", "number")
    for check in column.get("checks", []):
        found = _keyword(check, number=number)
        if found is None:
            words.append(sentences.sentence(check))
        elif "pattern" in found and "pattern" in own:
            own.setdefault("allOf", []).append(found)
        else:
            own |= {
                name: _narrower(name, value, own.get(name, kind.get(name))) for name, value in found.items()
            }
    if column["unique"]:
        words.append("no value twice")
    told: dict[str, Any] = {"title": column["title"]} if "title" in column else {}
    if words:
        told["description"] = "; ".join(word.rstrip(".") for word in words) + "."
    told |= {**kind, **own}
    return _nullable(told) if column["nullable"] else told


def _nullable(told: dict[str, Any]) -> dict[str, Any]:
    told["type"] = [told["type"], "null"]
    if "enum" in told:
        told["enum"] = [*told["enum"], None]
    if "const" in told:
        told["enum"] = [told.pop("const"), None]
    return told


def _kind(name: str) -> dict[str, Any]:
    whole = _WHOLE.fullmatch(name)
    if whole:
        low, high = whole_range(name)
        return {"type": "integer", "minimum": low, "maximum": high}
    if name.startswith(("Float", "Decimal")):
        return {"type": "number"}
    if name.startswith("Datetime"):
        # "date-time" is a moment with its offset; the draft has no name for one without.
        return {"type": "string", **({"format": "date-time"} if "," in name else {"pattern": _LOCAL})}
    others = {
        "Boolean": {"type": "boolean"},
        "Date": {"type": "string", "format": "date"},
        "Time": {"type": "string", "pattern": _TIME},
    }
    return others.get(name, {"type": "string"})


def whole_range(name: str) -> tuple[int, int]:
    """The least and the greatest whole number of a type."""
    signed, bits = not name.startswith("U"), int(name.partition("Int")[2])
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)


def _keyword(check: Mapping[str, Any], *, number: bool) -> dict[str, Any] | None:
    """The draft's word for a check; None when it has none for it."""
    name = check["check"]
    limits = {
        "greater_than_or_equal_to": ("minimum", "min_value"),
        "greater_than": ("exclusiveMinimum", "min_value"),
        "less_than_or_equal_to": ("maximum", "max_value"),
        "less_than": ("exclusiveMaximum", "max_value"),
    }
    if name in limits:
        word, field = limits[name]
        return {word: check[field]} if number else None
    if name == "in_range":
        low = "minimum" if check["include_min"] else "exclusiveMinimum"
        high = "maximum" if check["include_max"] else "exclusiveMaximum"
        return {low: check["min_value"], high: check["max_value"]} if number else None
    return _of_texts(check)


def _of_texts(check: Mapping[str, Any]) -> dict[str, Any] | None:
    name = check["check"]
    if name == "str_length":
        low, high = (check.get("exact_value", check.get(field)) for field in ("min_value", "max_value"))
        return {w: n for w, n in (("minLength", low), ("maxLength", high)) if n is not None}
    if name == "str_matches":
        pattern = check["pattern"]
        return {"pattern": pattern if pattern.startswith("^") else f"^{pattern}"}
    words = {
        "isin": ("enum", "allowed_values", None),
        "notin": ("not", "forbidden_values", "enum"),
        "equal_to": ("const", "value", None),
        "not_equal_to": ("not", "value", "const"),
        "str_contains": ("pattern", "pattern", None),
    }
    if name in words:
        word, field, inner = words[name]
        return {word: {inner: check[field]} if inner else check[field]}
    ends = {"str_startswith": "^{}", "str_endswith": "{}$"}
    return {"pattern": ends[name].format(re.escape(check["string"]))} if name in ends else None


def _narrower(word: str, value: Any, other: Any) -> Any:
    if other is None or word not in ("minimum", "maximum"):
        return value
    return max(value, other) if word == "minimum" else min(value, other)
