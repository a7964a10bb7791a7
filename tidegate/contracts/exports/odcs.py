"""The contract as an Open Data Contract Standard document, for catalogues and other tools."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from tidegate.contracts.exports import sentences
from tidegate.contracts.exports.json_schema import json_schema, whole_range

if TYPE_CHECKING:
    from collections.abc import Mapping

API_VERSION = "v3.1.0"
#: words of JSON Schema that the standard's `logicalTypeOptions` know, by logical type
_OPTIONS = {
    "string": ("minLength", "maxLength", "pattern"),
    "integer": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
}


def odcs(told: Mapping[str, Any], physical: Mapping[str, str]) -> dict[str, Any]:
    """Two schema objects: the file that is sent, and the table that is read.

    `physical` is column of the table -> its type in the warehouse.
    """
    return {
        "apiVersion": API_VERSION,
        "kind": "DataContract",
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"tidegate/{told['name']}")),
        "name": told["name"],
        "version": told["version"],
        "status": "active",
        "description": {"purpose": told["description"], "limitations": " ".join(sentences.bad_rows(told))},
        "team": {"name": told["owner"]},
        "schema": [_file(told), _table(told, physical)],
        "customProperties": [
            {"property": "keyPatterns", "value": list(told["keys"])},
            {"property": "loadPolicy", "value": told["load"]["policy"]},
            {"property": "nullTokens", "value": list(told["null_tokens"])},
        ],
    }


def _file(told: Mapping[str, Any]) -> dict[str, Any]:
    row = json_schema(told)["properties"]
    quality = [_text(one["check"], sentences.sentence(one)) for one in told["row_checks"]]
    if told["unique_together"]:
        quality.append(_text("unique_together", f"no two rows alike in {', '.join(told['unique_together'])}"))
    one: dict[str, Any] = {
        "name": f"{told['name']}_file",
        "logicalType": "object",
        "physicalType": "file",
        "description": " ".join(sentences.writing(told)),
        "properties": [_property(column, row[column["name"]]) for column in told["columns"]],
    }
    return {**one, "quality": quality} if quality else one


def _property(column: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, Any]:
    logical = logical_type(column["type"])
    told: dict[str, Any] = {"name": column["name"], "logicalType": logical}
    if "title" in column:
        told["businessName"] = column["title"]
    if "description" in column:
        told["description"] = column["description"]
    told["required"] = not column["nullable"]
    told["unique"] = column["unique"]
    options = {word: row[word] for word in _OPTIONS.get(logical, ()) if word in row}
    if logical == "integer":
        low, high = whole_range(column["type"])
        options = {word: value for word, value in options.items() if value not in (low, high)}
        options["format"] = column["type"].replace("UInt", "u").replace("Int", "i")
    elif column["type"] in ("Float32", "Float64"):
        options["format"] = column["type"].replace("Float", "f")
    elif logical == "timestamp":
        options["timezone"] = "," in column["type"]
    if options:
        told["logicalTypeOptions"] = options
    quality = [_quality(one) for one in column.get("checks", []) if not _in_options(one, options)]
    return {**told, "quality": quality} if quality else told


def _in_options(check: Mapping[str, Any], options: Mapping[str, Any]) -> bool:
    limits = ("greater_than", "less_than", "in_range")
    if check["check"].startswith(limits):
        return any(word in options for word in _OPTIONS["number"])
    return check["check"] in ("str_length", "str_matches") and bool(options)


def _quality(check: Mapping[str, Any]) -> dict[str, Any]:
    if check["check"] == "isin":
        return {
            "name": "isin",
            "type": "library",
            "metric": "invalidValues",
            "arguments": {"validValues": list(check["allowed_values"])},
            "mustBe": 0,
            "unit": "rows",
        }
    return _text(check["check"], sentences.sentence(check))


def _text(name: str, words: str) -> dict[str, Any]:
    return {"name": name, "type": "text", "description": words}


def _table(told: Mapping[str, Any], physical: Mapping[str, str]) -> dict[str, Any]:
    sent = {column["name"]: column for column in told["columns"]}
    key = list(told["load"].get("key", []))
    properties = []
    for name, kind in told.get("table", {}).items():
        one: dict[str, Any] = {"name": name, "logicalType": logical_type(kind)}
        if name in physical:
            one["physicalType"] = physical[name]
        # What a step made of a column is not known; the file's own columns are as promised.
        same = name in sent and sent[name]["type"] == kind and not told["normalize"] and not told["enrich"]
        one["required"] = name in key or (same and not sent[name]["nullable"])
        if name in key:
            one |= {"primaryKey": True, "primaryKeyPosition": key.index(name) + 1}
        if name not in sent:
            one["transformDescription"] = "Made when the file is loaded."
        properties.append(one)
    return {
        "name": told["name"],
        "logicalType": "object",
        "physicalType": "table",
        "physicalName": told["name"],
        "properties": properties,
    }


def logical_type(kind: str) -> str:
    """The standard's name of a type."""
    if kind.startswith(("Int", "UInt")):
        return "integer"
    if kind.startswith(("Float", "Decimal")):
        return "number"
    if kind.startswith("Datetime"):
        return "timestamp"
    return {"Boolean": "boolean", "Date": "date", "Time": "time"}.get(kind, "string")
