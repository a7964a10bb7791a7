"""A value for each column that the column's own rules accept, as one writes it in a file."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tidegate.contracts.columns import Parse
from tidegate.contracts.describe import full

if TYPE_CHECKING:
    from collections.abc import Mapping

_MOMENT = datetime(2026, 1, 31, 13, 45, tzinfo=UTC)
_PART = re.compile(r"(\\.|\[[^\]]+\]|[^\\\[\](){}|*+?^$])(\{(\d+)(?:,\d*)?\}|[*+?])?")
_CLASSES = {r"\d": "1", r"\w": "a", r"\s": " ", ".": "a"}


def example(column: Mapping[str, Any], told: Mapping[str, Any]) -> str | None:
    """A text for the column; None when its rules are no help in finding one."""
    how = full(Parse, told["parse"].get(column["name"], {}))
    checks = {one["check"]: one for one in column.get("checks", [])}
    if "isin" in checks:
        return str(checks["isin"]["allowed_values"][0])
    kind = column["type"]
    if kind == "String":
        return _text(checks, column["name"])
    if kind == "Boolean":
        return str(how["true"][0])
    if kind in ("Date", "Time") or kind.startswith("Datetime"):
        return _moment(kind, how["formats"])
    return _number(kind, checks, how)


def _number(kind: str, checks: Mapping[str, Any], how: Mapping[str, Any]) -> str | None:
    low, high = _limits(checks)
    whole = "Int" in kind
    value = 1 if low is None and high is None else low if low is not None else high
    if not isinstance(value, (int, float)):
        return None
    step = 1 if whole else 0.5
    over = checks.get("greater_than", {}).get("min_value")
    under = checks.get("less_than", {}).get("max_value")
    if value == over:
        value += step
    elif value == under:
        value -= step
    if (over is not None and value <= over) or (under is not None and value >= under):
        return None
    if (low is not None and value < low) or (high is not None and value > high):
        return None
    text = str(int(value)) if whole else f"{float(value)}"
    return text.replace(".", how["decimal"])


def _limits(checks: Mapping[str, Any]) -> tuple[Any, Any]:
    lows = [one["min_value"] for name, one in checks.items() if name.startswith(("greater", "in_range"))]
    highs = [one["max_value"] for name, one in checks.items() if name.startswith(("less", "in_range"))]
    return max(lows, default=None), min(highs, default=None)


def _moment(kind: str, formats: list[str]) -> str:
    if formats:
        return _MOMENT.strftime(formats[0])
    if kind == "Date":
        return _MOMENT.date().isoformat()
    if kind == "Time":
        return _MOMENT.time().isoformat()
    naive = _MOMENT.replace(tzinfo=None).isoformat()
    return f"{naive}Z" if "," in kind else naive


def _text(checks: Mapping[str, Any], name: str) -> str | None:
    for check, field in (("str_startswith", "string"), ("str_endswith", "string"), ("equal_to", "value")):
        if check in checks:
            return str(checks[check][field])
    if "str_length" in checks:
        one = checks["str_length"]
        size = one.get("exact_value") or one.get("min_value") or one.get("max_value")
        return (name * int(size))[: int(size)]
    for check in ("str_matches", "str_contains"):
        if check in checks:
            return _matching(checks[check]["pattern"])
    return name if not checks else None


def _matching(pattern: str) -> str | None:
    """A text for patterns of plain parts in a row; None for those with groups and choices."""
    made = ""
    for found in _PART.finditer(pattern):
        part, times, least = found.group(1, 2, 3)
        inside = part[1:-1] if part.startswith("[") else ""
        one = _CLASSES.get(part) or _CLASSES.get(inside[:2]) or (inside[0] if inside else part[-1])
        made += one * (int(least) if least else 0 if times in ("*", "?") else 1)
    try:
        return made if made and re.match(pattern, made) else None
    except re.error:  # Polars' kind of pattern, not Python's
        return None
