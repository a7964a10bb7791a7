"""One page a dataset, for the people who send its files and those who read its table."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from tidegate.contracts.describe import full
from tidegate.contracts.dialect import DETECT, Dialect
from tidegate.contracts.exports import sentences
from tidegate.contracts.exports.examples import example

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def markdown(told: Mapping[str, Any]) -> str:
    """The page, complete."""
    parts = [
        f"# {told['name']}",
        told["description"],
        f"Version {told['version']}. Questions: {told['owner']}.",
        "## What to send",
        _points([f"Files whose key matches {sentences.listed(told['keys'])}.", *sentences.writing(told)]),
        *_example_file(told),
        "## Columns",
        _table(("column", "written as", "may be empty", "rules", "example"), _columns(told)),
        _points(_column_notes(told)),
        *_row_rules(told),
        "## What happens to bad rows",
        _points(sentences.bad_rows(told)),
        *_table_section(told),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def index(pages: Iterable[Mapping[str, Any]]) -> str:
    """The page that leads to all others."""
    rows: list[tuple[str, ...]] = [
        (f"[{one['name']}]({one['name']}.md)", one["version"], one["owner"], one["description"])
        for one in pages
    ]
    return "# Data contracts\n\n" + _table(("dataset", "version", "owner", "description"), rows) + "\n"


def _columns(told: Mapping[str, Any]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for column in told["columns"]:
        about = [column[field].rstrip(".") for field in ("title", "description") if field in column]
        value = example(column, told)
        rows.append(
            (
                f"`{column['name']}`",
                sentences.form(column, told),
                "yes" if column["nullable"] else "no",
                "; ".join([*about, *sentences.rules(column)]),
                "" if value is None else f"`{value}`",
            )
        )
    return rows


def _column_notes(told: Mapping[str, Any]) -> list[str]:
    tokens = sentences.listed(told["null_tokens"])
    blanks = " Blanks around a value are taken off." if told["trim"] else ""
    notes = [f"Empty is {tokens}.{blanks}", *sentences.header_policy(told)]
    for name, rules in told["parse"].items():
        if "null_tokens" in rules:
            notes.append(f"In `{name}`, empty is {sentences.listed(rules['null_tokens'])}.")
        if "time_zone" in rules:
            notes.append(f"A moment in `{name}` without an offset is local time of {rules['time_zone']}.")
    return notes


def _row_rules(told: Mapping[str, Any]) -> list[str]:
    found = [f"{sentences.sentence(one)}." for one in told["row_checks"]]
    if told["unique_together"]:
        found.append(f"No two rows are alike in {sentences.listed(told['unique_together'])}.")
    found = [text[0].upper() + text[1:] for text in found]
    return ["Rules for whole rows:", _points(found)] if found else []


def _example_file(told: Mapping[str, Any]) -> list[str]:
    """A header and one row, where a value can be thought of for every column that needs one."""
    one = full(Dialect, told["dialect"])
    texts = [example(column, told) for column in told["columns"]]
    if any(text is None and not c["nullable"] for text, c in zip(texts, told["columns"], strict=True)):
        return []
    delimiter = "," if one["delimiter"] == DETECT else one["delimiter"]
    quote = '"' if one["quote"] in (None, DETECT) else one["quote"]
    file = io.StringIO()
    writer = csv.writer(file, delimiter=delimiter, quotechar=quote, lineterminator="\n")
    if one["header_lines"]:
        writer.writerow([column["name"] for column in told["columns"]])
    writer.writerow(["" if text is None else text for text in texts])
    return ["A file with one row:", f"```text\n{file.getvalue()}```"]


def _table_section(told: Mapping[str, Any]) -> list[str]:
    table = told.get("table")
    if table is None:
        return []
    named = {column["name"] for column in told["columns"]}
    rows: list[tuple[str, ...]] = [
        (f"`{name}`", kind, "the file" if name in named else "made when the file is loaded")
        for name, kind in table.items()
    ]
    return ["## What the table holds", _table(("column", "type", "from"), rows)]


def _points(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _table(names: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [names, tuple("---" for _ in names), *rows]
    return "\n".join(f"| {' | '.join(_cell(text) for text in line)} |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
