"""Rules in plain words, for people who send files."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tidegate.contracts.columns import Columns, Parse
from tidegate.contracts.describe import full
from tidegate.contracts.dialect import DETECT, Dialect
from tidegate.contracts.policies import Budget, ControlTotals, Lookup

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars", " ": "blanks"}
_PHRASES = {
    "greater_than_or_equal_to": ("min_value", "at least {}"),
    "greater_than": ("min_value", "more than {}"),
    "less_than_or_equal_to": ("max_value", "at most {}"),
    "less_than": ("max_value", "less than {}"),
    "equal_to": ("value", "exactly {}"),
    "not_equal_to": ("value", "not {}"),
    "str_matches": ("pattern", "begins with a match of `{}`"),
    "str_contains": ("pattern", "holds a match of `{}`"),
    "str_startswith": ("string", "begins with {}"),
    "str_endswith": ("string", "ends with {}"),
}


def rules(column: Mapping[str, Any]) -> list[str]:
    """What a column's values have to be, one phrase a check."""
    found = [sentence(one) for one in column.get("checks", [])]
    return [*found, "no value twice"] if column["unique"] else found


def sentence(check: Mapping[str, Any]) -> str:
    """One check as a phrase that goes after "must be" or stands alone."""
    name = check["check"]
    if name in _PHRASES:
        field, words = _PHRASES[name]
        if name == "str_matches" and re.fullmatch(r"\^.*\$", check[field]):
            words = "matches `{}`"
        return words.format(shown(check[field]))
    values = check.get("allowed_values" if name == "isin" else "forbidden_values")
    if isinstance(values, list):
        return f"{'one' if name == 'isin' else 'none'} of {listed(values)}"
    if name == "in_range":
        low = "" if check["include_min"] else " (itself not)"
        high = "" if check["include_max"] else " (itself not)"
        return f"from {shown(check['min_value'])}{low} to {shown(check['max_value'])}{high}"
    if name == "str_length":
        return _length(check)
    about = str(check.get("description") or name.replace("_", " "))
    return " ".join(about.split()).rstrip(".")


def _length(check: Mapping[str, Any]) -> str:
    if check.get("exact_value") is not None:
        return f"{check['exact_value']} characters long"
    low, high = check.get("min_value"), check.get("max_value")
    if low is None or high is None:
        return f"at most {high} characters long" if low is None else f"at least {low} characters long"
    return f"{low} to {high} characters long"


def shown(value: Any) -> str:
    """A value as one writes it in a file."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def listed(values: list[Any]) -> str:
    """Values in a row, each as text in code."""
    return ", ".join(f"`{shown(value) or ' '}`" if value != "" else "an empty text" for value in values)


def writing(told: Mapping[str, Any]) -> Iterator[str]:
    """How the files are written."""
    one = full(Dialect, told["dialect"])
    encoding = "in any usual encoding" if one["encoding"] == DETECT else f"in {one['encoding'].upper()}"
    mark = one["delimiter"]
    divided = "a mark that is found out" if mark == DETECT else _NAMES.get(mark, f"`{mark}`")
    yield f"Text {encoding}, fields divided by {divided}."
    if one["quote"] is None:
        yield "Quotes mean nothing: they are part of the text."
    elif one["quote"] != DETECT:
        double = f", a `{one['quote']}` inside doubled" if one["escape"] is None else ""
        yield f"A field that holds the dividing mark or a line end is put in `{one['quote']}`{double}."
    if one["header_lines"] == 0:
        yield "No header: the fields stand in the order below."
    else:
        yield (
            "The first line names the columns."
            if one["preamble_lines"] == 0
            else (
                "The column names may stand further down, below lines that are passed over."
                if one["preamble_lines"] == DETECT
                else f"The column names stand below {one['preamble_lines']} lines that are passed over."
            )
        )
    if one["comment"]:
        yield f"Lines that begin with `{one['comment']}` are passed over."
    if one["footer"]:
        yield f"Lines at the end that match `{one['footer']}` are no rows."
    yield from _packing(one["compression"])


def _packing(compression: str) -> Iterator[str]:
    if compression == DETECT:
        yield "The file may be packed with gzip, zstd, bz2 or zip (one file in it)."
    elif compression != "none":
        yield f"The file is packed with {compression}."


def header_policy(told: Mapping[str, Any]) -> Iterator[str]:
    """What becomes of a header that is not the list of columns."""
    policy = full(Columns, told["column_policy"])
    yield (
        "A column that is missing is read as empty, where it may be empty; else the whole file is held."
        if policy["missing"] == "null"
        else "A file that lacks a column is held as a whole."
    )
    yield (
        "Columns that are not listed here are left out."
        if policy["extra"] == "ignore"
        else "A file with a column that is not listed here is held as a whole."
    )
    if full(Dialect, told["dialect"])["header_lines"]:
        accepts = policy["reordered"] == "accept"
        yield "The order of the columns is free." if accepts else "The columns stand in the order below."
    if policy["ignore_case"]:
        yield "Capitals in the names make no difference."
    for alias, name in policy["aliases"].items():
        yield f"`{alias}` is taken for `{name}`."


def form(column: Mapping[str, Any], told: Mapping[str, Any]) -> str:
    """How the values of a column are written."""
    how = full(Parse, told["parse"].get(column["name"], {}))
    kind = column["type"]
    if kind == "String":
        return "text"
    if kind == "Boolean":
        return f"{listed(how['true'])} or {listed(how['false'])}"
    if re.match("U?Int", kind) or kind.startswith(("Float", "Decimal")):
        places = re.match(r"Decimal\[\d+, (\d+)\]", kind)
        name = "whole number" if "Int" in kind else "number"
        told_places = f" with up to {places[1]} places" if places else ""
        marks = f", `{how['decimal']}` before the fraction" if how["decimal"] != "." else ""
        groups = f", `{how['thousands']}` between thousands" if how["thousands"] else ""
        return f"{name}{told_places}{marks}{groups}"
    if how["formats"]:
        return f"written as {listed([spelled(one) for one in how['formats']])}"
    zoned = "zone" if "," in kind else ""
    return {"Date": "date", "Time": "time of day"}.get(kind, "moment with its offset" if zoned else "moment")


def spelled(format_: str) -> str:
    """A format in the letters that people know: ``%d.%m.%Y`` is ``DD.MM.YYYY``."""
    letters = {
        "%Y": "YYYY",
        "%y": "YY",
        "%m": "MM",
        "%d": "DD",
        "%H": "hh",
        "%M": "mm",
        "%S": "ss",
        "%z": "+hhmm",
    }
    return re.sub(r"%[A-Za-z]", lambda found: letters.get(found[0], found[0]), format_)


def bad_rows(told: Mapping[str, Any]) -> Iterator[str]:
    """What happens to rows and files that break a rule."""
    yield (
        "A row that breaks a rule is set aside with the reason, its line and its text; the other rows of "
        "the file are loaded."
    )
    budget = full(Budget, told["budget"])
    limits = []
    if budget["max_rows"] is not None:
        limits.append(f"more than {budget['max_rows']} rows")
    if budget["max_share"] is not None:
        limits.append(f"more than {budget['max_share'] * 100:.10g} % of the rows")
    what = " or ".join([*limits, "all rows"])
    yield f"When {what} of a file break a rule, the whole file is held and none of its rows is loaded."
    yield from _lookups(told)
    if told["totals"]:
        totals = full(ControlTotals, told["totals"])
        where = "its last lines" if totals["trailer"] else f"the file `{totals['manifest']}` beside it"
        yield f"A file whose rows are not what {where} says they are is held as a whole."
    yield _again(told["load"])


def _lookups(told: Mapping[str, Any]) -> Iterator[str]:
    for step in told["enrich"]:
        if "lookup" not in step:
            continue
        lookup = full(Lookup, {name: value for name, value in step.items() if name != "lookup"})
        own = ", ".join(f"`{name}`" for name in lookup["on"])
        others = ", ".join(f"`{name}`" for name in lookup["on"].values())
        if lookup["unmatched"] == "reject":
            yield f"A row whose {own} is not in {others} of the dataset {step['lookup']} breaks a rule."
        elif lookup["unmatched"] == "hold":
            yield (
                f"A file with a row whose {own} is not in {others} of the dataset {step['lookup']} is held "
                "until it is there."
            )


def _again(load: Mapping[str, Any]) -> str:
    if load["policy"] == "replace":
        return "The newest file is the whole table: send all rows each time."
    if load["policy"] == "merge":
        key = listed(load["key"])
        return f"Rows are told apart by {key}: a newer row takes the place of an older one."
    return "To correct a file, send it again under the same name: its rows take the place of the former ones."
