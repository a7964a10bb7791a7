"""A contract as plain data: what is recorded of each version, compared, and shown.

What stands at its default is left out, so that a new option changes no recorded description.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from datetime import date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tidegate.contracts.fingerprint import fingerprint, name_of
from tidegate.contracts.policies import Lookup
from tidegate.contracts.validity import column_type

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl

    from tidegate.contracts.model import Contract

#: Form of the description; a reader of files refuses a newer one.
FORMAT = 1


def describe(contract: Contract, table: Mapping[str, pl.DataType] | None = None) -> dict[str, Any]:
    """The whole declaration in JSON's types, the same for equal declarations.

    `table` is what the steps make of the columns, for what readers rely on.
    """
    schema = contract.schema.to_schema()
    whole: dict[str, Any] = {
        "format": FORMAT,
        "name": contract.name,
        "version": contract.version,
        "owner": contract.owner,
        "description": contract.description,
        "keys": sorted(contract.keys),
        "dialect": declared(contract.dialect),
        "columns": [_column(name, column, contract.schema) for name, column in schema.columns.items()],
        "unique_together": list(schema.unique or []),
        "row_checks": [_check(check, contract.schema) for check in schema.checks],
        "column_policy": declared(contract.columns),
        "null_tokens": sorted(contract.null_tokens),
        "trim": contract.trim,
        "parse": {name: declared(rules) for name, rules in sorted(contract.parse.items())},
        "normalize": [_step(step) for step in contract.normalize],
        "enrich": [_step(step) for step in contract.enrich],
        "load": {"policy": type(contract.load).__name__.lower(), **declared(contract.load)},
        "budget": declared(contract.budget),
        "totals": declared(contract.totals) if contract.totals else None,
    }
    if table is not None:
        whole["table"] = {name: type_name(kind) for name, kind in table.items()}
    return whole


def declared(one: Any) -> dict[str, Any]:
    """The fields of a declaration that are not at their default."""
    return {
        field.name: plain(getattr(one, field.name))
        for field in dataclasses.fields(one)
        if _required(field) or plain(getattr(one, field.name)) != plain(default_of(field))
    }


def full(kind: type[Any], told: Mapping[str, Any]) -> dict[str, Any]:
    """What `declared` left out put back, for each field of `kind`."""
    return {
        field.name: told.get(field.name, None if _required(field) else plain(default_of(field)))
        for field in dataclasses.fields(kind)
    }


def _required(field: dataclasses.Field[Any]) -> bool:
    return default_of(field) is dataclasses.MISSING


def default_of(field: dataclasses.Field[Any]) -> Any:
    """What a field holds when nothing is said; MISSING when something must be."""
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def plain(value: Any) -> Any:
    """The value in JSON's types; what has no order of its own comes sorted."""
    if isinstance(value, (str, int, float, bool)) or value is None:
        return value
    if isinstance(value, dict):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, (set, frozenset)):
        return sorted((plain(one) for one in value), key=repr)
    if isinstance(value, re.Pattern):
        return value.pattern
    return str(value) if isinstance(value, (Decimal, date, time, datetime)) else repr(value)


def type_name(kind: Any) -> str:
    """``Int64``, ``Decimal[10, 2]``, ``Datetime[us, UTC]``, ``Datetime[us]``."""
    import polars as pl

    name = type(kind).__name__
    if isinstance(kind, pl.Decimal):
        return f"{name}[{kind.precision}, {kind.scale}]"
    if isinstance(kind, pl.Datetime):
        return f"{name}[{kind.time_unit}{f', {kind.time_zone}' if kind.time_zone else ''}]"
    return str(kind) if kind.is_nested() else name


def _column(name: str, column: Any, schema: type[Any]) -> dict[str, Any]:
    told = {
        "name": name,
        "type": type_name(column_type(column)),
        "nullable": bool(column.nullable),
        "unique": bool(column.unique),
        "title": column.title,
        "description": column.description,
        "checks": [_check(check, schema) for check in column.checks],
    }
    return {field: value for field, value in told.items() if value not in (None, [])}


def _check(check: Any, schema: type[Any]) -> dict[str, Any]:
    """A check by its name: the built-in ones with what they compare with, the author's with their code."""
    found = inspect.getattr_static(schema, str(check.name), None)
    function = getattr(found, "__func__", found)
    told: dict[str, Any] = {"check": str(check.name)}
    if inspect.isfunction(function):
        told["code"] = fingerprint(function)
        about = check.description or inspect.getdoc(function)
    else:
        told |= {name: plain(value) for name, value in check.statistics.items() if value is not None}
        about = check.description
    if told["check"] in ("isin", "notin"):
        told = {
            name: sorted(value, key=repr) if isinstance(value, list) else value
            for name, value in told.items()
        }
    if about:
        told["description"] = about
    return told


def _step(step: Any) -> dict[str, Any]:
    if isinstance(step, Lookup):
        return {"lookup": step.dataset, **{k: v for k, v in declared(step).items() if k != "dataset"}}
    return {"step": name_of(step), "code": fingerprint(step)}
