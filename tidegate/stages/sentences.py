"""Sentences that tell a supplier what is wrong with a value; each is one line."""

from __future__ import annotations

from datetime import date
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
    return pl.format("{} is {}, {}.", pl.lit(one_line(name)), shown(value), rest)


def shown(value: pl.Expr) -> pl.Expr:
    """A text in quotes, cut and on one line; "empty" where it is null or has no letters."""
    cut = pl.when(value.str.len_chars() > _SHOWN).then(value.str.head(_SHOWN) + "…").otherwise(value)
    escaped = cut.str.replace_many(list(_CONTROLS), list(_CONTROLS.values()))
    return (
        pl.when(value.is_null() | (value == "")).then(pl.lit("empty")).otherwise(pl.format("'{}'", escaped))
    )


def one_line(text: str) -> str:
    """The text with what would break a line, or can't be seen, written out."""
    return text.translate({ord(char): name for char, name in _CONTROLS.items()})


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
    return sentence(name, value, pl.lit(f"which breaks {_rule(check, author)}"))


def row_sentence(check: Any) -> str:
    """For a row that fails a check of several columns."""
    wording = builtin_wording(check)
    words = authors_words(check) or (f"each value must {wording}" if wording else None)
    return f"The row breaks {_rule(check, words)}."


def choice(values: Iterable[object]) -> str:
    """``'a', 'b' or 'c'``; what is too much for a sentence is left out."""
    texts = [_value(value) for value in values] or ["nothing"]
    if len(texts) > _LISTED:
        return f"{', '.join(texts[:_LISTED])}, …"
    *most, last = texts
    return f"{', '.join(most)} or {last}" if most else last


def builtin_name(check: Any) -> str | None:
    """The name of the Pandera check, if it is one of Pandera's own for Polars."""
    # The check's name is the author's; its function's is Pandera's.
    name = getattr(vars(check)["_check_fn"], "__name__", None)
    return name if name in _WORDINGS else None


def builtin_wording(check: Any) -> str | None:
    """What a value must do to pass one of Pandera's own checks: the end of "it must …"."""
    name = builtin_name(check)
    return one_line(_WORDINGS[name](check.statistics)) if name else None


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
    told = {key: value for key, value in check.statistics.items() if value is not None}
    given = [
        f"{key}=False" if value is False and key.startswith("include_") else str(value)
        for key, value in told.items()
        if not (value is True and key.startswith("include_"))
    ]
    return f"{name}({', '.join(given)})"[:_SHOWN]


def _rule(check: Any, words: str | None) -> str:
    return f"a rule: {words}" if words else f"the rule {one_line(str(check.name))!r}"


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"'{value}'" if value else "empty"
    return str(value)


def _more(bound: object) -> str:
    return f"after {bound}" if isinstance(bound, date) else f"more than {_value(bound)}"


def _least(bound: object) -> str:
    return f"{bound} or later" if isinstance(bound, date) else f"at least {_value(bound)}"


def _less(bound: object) -> str:
    return f"before {bound}" if isinstance(bound, date) else f"less than {_value(bound)}"


def _most(bound: object) -> str:
    return f"{bound} or earlier" if isinstance(bound, date) else f"at most {_value(bound)}"


def _range(given: Mapping[str, Any]) -> str:
    low, high = given["min_value"], given["max_value"]
    closed_low, closed_high = given.get("include_min", True), given.get("include_max", True)
    if closed_low and closed_high:
        return f"be from {_value(low)} to {_value(high)}"
    return f"be {_least(low) if closed_low else _more(low)} and {_most(high) if closed_high else _less(high)}"


def _none_of(given: Mapping[str, Any]) -> str:
    values = list(given["forbidden_values"])
    return f"not be {choice(values)}"


def _one_of(given: Mapping[str, Any]) -> str:
    values = list(given["allowed_values"])
    return f"be {'one of ' * (len(values) > 2)}{choice(values)}"  # noqa: PLR2004


def _length(given: Mapping[str, Any]) -> str:
    low, high, exact = (given.get(name) for name in ("min_value", "max_value", "exact_value"))
    if exact is not None or low == high:
        return f"be exactly {_letters(low if exact is None else exact)} long"
    if low is not None and high is not None:
        return f"be {low} to {_letters(high)} long"
    return f"be at least {_letters(low)} long" if high is None else f"be at most {_letters(high)} long"


def _letters(count: Any) -> str:
    return f"{count} character{'' if count == 1 else 's'}"


def _pattern(verb: str, given: Mapping[str, Any]) -> str:
    pattern = str(getattr(given["pattern"], "pattern", given["pattern"]))
    if not _SIGNS & set(pattern):
        return f"{verb} '{pattern}'"
    whole = verb == _BEGIN and pattern.startswith("^") and pattern.endswith("$")
    return f"match the pattern '{pattern}'" if whole else f"{verb} a match of the pattern '{pattern}'"


#: What has a meaning of its own in a regular expression.
_SIGNS = set("\\.^$*+?{}[]|()")
_BEGIN = "begin with"

_WORDINGS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "equal_to": lambda given: f"be {_value(given['value'])}",
    "not_equal_to": lambda given: f"not be {_value(given['value'])}",
    "greater_than": lambda given: f"be {_more(given['min_value'])}",
    "greater_than_or_equal_to": lambda given: f"be {_least(given['min_value'])}",
    "less_than": lambda given: f"be {_less(given['max_value'])}",
    "less_than_or_equal_to": lambda given: f"be {_most(given['max_value'])}",
    "in_range": _range,
    "isin": _one_of,
    "notin": _none_of,
    "str_matches": lambda given: _pattern(_BEGIN, given),
    "str_contains": lambda given: _pattern("contain", given),
    "str_startswith": lambda given: f"begin with '{given['string']}'",
    "str_endswith": lambda given: f"end with '{given['string']}'",
    "str_length": _length,
    "unique_values_eq": lambda given: (
        f"hold each of {', '.join(map(_value, sorted(given['values'], key=str)[:_LISTED]))}, and nothing else"
    ),
}
