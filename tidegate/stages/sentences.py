"""Sentences that tell a supplier what is wrong with a value; each is one line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

#: Characters of a value, or of a list of values, that a sentence shows.
_SHOWN = 100
_LISTED = 20
_CONTROLS = {
    chr(code): {9: "\\t", 10: "\\n", 13: "\\r"}.get(code, f"\\x{code:02x}")
    for code in (*range(0x20), *range(0x7F, 0xA0))
} | {chr(code): f"\\u{code:04x}" for code in (0x2028, 0x2029)}


def sentence(name: str, value: pl.Expr, rest: pl.Expr) -> pl.Expr:
    """``name is 'value', rest.``"""
    return pl.format("{} is {}, {}.", pl.lit(name), shown(value), rest)


def shown(value: pl.Expr) -> pl.Expr:
    """A text in quotes, cut and on one line; "empty" where it is null or has no letters."""
    cut = pl.when(value.str.len_chars() > _SHOWN).then(value.str.head(_SHOWN) + "…").otherwise(value)
    escaped = cut.str.replace_many(list(_CONTROLS), list(_CONTROLS.values()))
    return (
        pl.when(value.is_null() | (value == "")).then(pl.lit("empty")).otherwise(pl.format("'{}'", escaped))
    )


def missing_sentence(name: str, value: pl.Expr) -> pl.Expr:
    """For a required value that is missing; `value` is null or the text that means "no value"."""
    needed = "but a value is required"
    bare = value.is_null() | (value == "")
    rest = pl.when(bare).then(pl.lit(needed)).otherwise(pl.lit(f"which means no value, {needed}"))
    return sentence(name, value, rest)


def check_sentence(name: str, value: pl.Expr, check: Any) -> pl.Expr:
    """For a value that fails a Pandera check."""
    wording = builtin_wording(check)
    author = authors_words(check)
    if wording is not None and author is None:
        return sentence(name, value, pl.lit(f"but must {wording}"))
    return sentence(name, value, pl.lit(f"which breaks a rule: {author or check.name}"))


def row_sentence(check: Any) -> str:
    """For a row that fails a check of several columns."""
    wording = builtin_wording(check)
    rule = authors_words(check) or (f"each value must {wording}" if wording else check.name)
    return f"The row breaks a rule: {rule}."


def choice(texts: Iterable[object]) -> str:
    """``a, b or c``."""
    *most, last = [str(text) for text in texts] or ["nothing"]
    return f"{', '.join(most)} or {last}" if most else last


def builtin_name(check: Any) -> str | None:
    """The name of the Pandera check, if it is one of Pandera's own for Polars."""
    # The check's name is the author's; its function's is Pandera's.
    name = getattr(vars(check)["_check_fn"], "__name__", None)
    return name if name in _WORDINGS else None


def builtin_wording(check: Any) -> str | None:
    """What a value must do to pass one of Pandera's own checks: the end of "it must …"."""
    name = builtin_name(check)
    return _WORDINGS[name](check.statistics) if name else None


def authors_words(check: Any) -> str | None:
    """The error text or description that the author gave the check, without its full stop."""
    name = builtin_name(check)
    given = check.error
    if given is not None and name is not None and given.startswith(f"{name}("):
        given = None
    words = given or check.description
    return " ".join(str(words).split()).rstrip(".") if words else None


def rule_name(check: Any) -> str:
    """The check's name in rejections: Pandera's with its bounds, or the author's."""
    name = builtin_name(check)
    if name is None:
        return str(check.name)
    given = [str(value) for value in check.statistics.values() if value is not None]
    return f"{name}({', '.join(given)})"[:_SHOWN]


def _listed(values: Iterable[object]) -> str:
    texts = [str(value) for value in values]
    return ", ".join(texts[:_LISTED]) + (", …" if len(texts) > _LISTED else "")


def _range(given: Mapping[str, Any]) -> str:
    low = "at least" if given.get("include_min", True) else "more than"
    high = "at most" if given.get("include_max", True) else "less than"
    return f"be {low} {given['min_value']} and {high} {given['max_value']}"


def _length(given: Mapping[str, Any]) -> str:
    low, high, exact = (given.get(name) for name in ("min_value", "max_value", "exact_value"))
    if exact is not None or low == high:
        return f"be exactly {_letters(low if exact is None else exact)} long"
    if low is not None and high is not None:
        return f"be {low} to {_letters(high)} long"
    return f"be at least {_letters(low)} long" if high is None else f"be at most {_letters(high)} long"


def _letters(count: Any) -> str:
    return f"{count} character{'' if count == 1 else 's'}"


def _pattern(given: Mapping[str, Any]) -> str:
    pattern = given["pattern"]
    return str(getattr(pattern, "pattern", pattern))


_WORDINGS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "equal_to": lambda given: f"be {given['value']}",
    "not_equal_to": lambda given: f"not be {given['value']}",
    "greater_than": lambda given: f"be more than {given['min_value']}",
    "greater_than_or_equal_to": lambda given: f"be at least {given['min_value']}",
    "less_than": lambda given: f"be less than {given['max_value']}",
    "less_than_or_equal_to": lambda given: f"be at most {given['max_value']}",
    "in_range": _range,
    "isin": lambda given: f"be one of {_listed(given['allowed_values'])}",
    "notin": lambda given: f"not be one of {_listed(given['forbidden_values'])}",
    "str_matches": lambda given: f"begin with a match of the pattern {_pattern(given)}",
    "str_contains": lambda given: f"hold a match of the pattern {_pattern(given)}",
    "str_startswith": lambda given: f"begin with '{given['string']}'",
    "str_endswith": lambda given: f"end with '{given['string']}'",
    "str_length": _length,
    "unique_values_eq": lambda given: (
        f"hold each of {_listed(sorted(map(str, given['values'])))}, and nothing else"
    ),
}
