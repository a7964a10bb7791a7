"""Pandera's options that would make a file's rows other than they are, or that mean nothing here."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tidegate.errors import ContractError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tidegate.contracts import Contract

_COERCE = "texts are read by the column's type; say how they are written with Contract(parse={…})"
_DROP = "it lets rows vanish, or pass, without a reason; Tidegate sets bad rows aside by itself"
_REGEX_PARTS = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|[()|]", re.DOTALL)


def check_options(contract: Contract, schema: Any) -> None:
    """ContractError, which says what to use instead, when the schema has an option that can't hold."""
    for option, advice in (*_of_schema(contract, schema), *_of_columns(contract, schema)):
        msg = f"Contract {contract.name!r}: remove {option} from {contract.schema.__name__}: {advice}."
        raise ContractError(msg)


def _of_schema(contract: Contract, schema: Any) -> Iterator[tuple[str, str]]:
    for holds, option, advice in (
        (schema.drop_invalid_rows, "drop_invalid_rows", _DROP),
        (schema.coerce, "coerce", _COERCE),
        (schema.dtype is not None, "dtype", "it overrides the columns' types; give each column its own"),
        (schema.strict == "filter", "strict='filter'", "use Contract(columns=Columns(extra='ignore'))"),
        (
            schema.strict and contract.columns.extra != "hold",
            "strict",
            "the contract says Columns(extra='ignore'); keep one of the two",
        ),
        (
            schema.ordered and contract.columns.reordered != "hold",
            "ordered",
            "use Contract(columns=Columns(reordered='hold')), which looks at the file's header",
        ),
        (
            schema.unique_column_names,
            "unique_column_names",
            "a file that names a column twice is always held",
        ),
        (schema.add_missing_columns, "add_missing_columns", "use Contract(columns=Columns(missing='null'))"),
    ):
        if holds:
            yield option, advice
    for group in schema.unique or []:
        for name in [group] if isinstance(group, str) else group:
            if name not in schema.columns:
                yield f"{name!r} from unique", "the schema has no such column"
    yield from _of_checks(schema.checks, "")


def _of_columns(contract: Contract, schema: Any) -> Iterator[tuple[str, str]]:
    for name, column in schema.columns.items():
        of = f" of column {name!r}"
        if column.regex:
            yield f"regex{of}", "name each column of the file"
        if not column.required and (contract.columns.missing != "null" or not column.nullable):
            yield (
                f"Optional{of}",
                "where files may lack it, say Contract(columns=Columns(missing='null')) and nullable=True",
            )
        if column.coerce:
            yield f"coerce{of}", _COERCE
        if column.default is not None:
            yield f"default{of}", "fill missing values in a step of Contract(normalize=[…])"
        if column.drop_invalid_rows:
            yield f"drop_invalid_rows{of}", _DROP
        yield from _of_checks(column.checks, of)


def _of_checks(checks: list[Any], of: str) -> Iterator[tuple[str, str]]:
    for check in checks:
        if check.raise_warning:
            advice = "a row passes or is set aside; there is no warning between"
            yield f"raise_warning of check {check.name!r}{of}", advice
        if check.groupby:
            yield f"groupby of check {check.name!r}{of}", "Pandera has none for Polars; use a dataframe_check"
        pattern = check.statistics.get("pattern")
        pattern = getattr(pattern, "pattern", pattern)
        if isinstance(pattern, str) and check.name == "str_matches" and _has_open_choice(pattern):
            yield (
                f"str_matches={pattern!r}{of}",
                "only its first alternative would be held to the text's beginning; write '^(…|…)$'",
            )


def _has_open_choice(pattern: str) -> bool:
    """Whether the pattern has a | outside all brackets."""
    depth = 0
    for part in _REGEX_PARTS.findall(pattern):
        depth += {"(": 1, ")": -1}.get(part, 0)
        if part == "|" and not depth:
            return True
    return False
