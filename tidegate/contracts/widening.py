"""Whether everything that one type or check took, another takes too."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_WHOLE = re.compile(r"(U?)Int(\d+)")
_DECIMAL = re.compile(r"Decimal\[(\d+), (\d+)\]")


def is_wider_type(was: str, now: str) -> bool:
    """Whether each text that is a value of the type `was` is one of the type `now`."""
    if now in (was, "String"):
        return True
    whole, other = _WHOLE.fullmatch(was), _WHOLE.fullmatch(now)
    if whole and other:
        signed, bits = not whole[1], int(whole[2])
        if signed and other[1]:
            return False
        return int(other[2]) > bits or (int(other[2]) == bits and signed == (not other[1]))
    if now in ("Float32", "Float64"):
        return bool(whole) or was == "Float32" or _DECIMAL.fullmatch(was) is not None
    decimals, more = _DECIMAL.fullmatch(was), _DECIMAL.fullmatch(now)
    if decimals and more:
        places = int(more[2]) - int(decimals[2])
        return places >= 0 and int(more[1]) - int(decimals[1]) >= places
    return False


def accepts_all(was: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether the check `now` passes each value that `was` (of the same name) passes.

    False where that can't be told: of patterns, and of what an author wrote.
    """
    judge = _JUDGES.get(now["check"])
    if was == now or judge is None:
        return was == now
    try:
        return judge(was, now)
    except (KeyError, TypeError):  # limits of different kinds, or a check that was written otherwise
        return False


def _wider_range(was: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    low = now["min_value"] < was["min_value"] or (
        now["min_value"] == was["min_value"] and now["include_min"] >= was["include_min"]
    )
    high = now["max_value"] > was["max_value"] or (
        now["max_value"] == was["max_value"] and now["include_max"] >= was["include_max"]
    )
    return bool(low and high)


def _longer(was: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    shortest, longest = (was.get("exact_value", was.get(name)) for name in ("min_value", "max_value"))
    if now.get("exact_value") is not None:
        return False
    low, high = now.get("min_value"), now.get("max_value")
    fits_low = low is None or (shortest is not None and low <= shortest)
    fits_high = high is None or (longest is not None and high >= longest)
    return fits_low and fits_high


#: Pandera's built-in checks with an order among their parameters.
_JUDGES: dict[str, Callable[[Mapping[str, Any], Mapping[str, Any]], bool]] = {
    "greater_than": lambda was, now: bool(now["min_value"] <= was["min_value"]),
    "greater_than_or_equal_to": lambda was, now: bool(now["min_value"] <= was["min_value"]),
    "less_than": lambda was, now: bool(now["max_value"] >= was["max_value"]),
    "less_than_or_equal_to": lambda was, now: bool(now["max_value"] >= was["max_value"]),
    "in_range": _wider_range,
    "isin": lambda was, now: set(was["allowed_values"]) <= set(now["allowed_values"]),
    "notin": lambda was, now: set(now["forbidden_values"]) <= set(was["forbidden_values"]),
    "str_length": _longer,
}
