"""How commands speak: tables for people, one JSON document for programs, errors on stderr."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import StrEnum
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec, TypeVar

import typer

from tidegate import clock
from tidegate.errors import SettingsError, TidegateError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from rich.console import Console
    from rich.table import Table

#: Characters of a rule that a table shows.
_RULE = 40
#: Characters in a line that no terminal shows.
_WIDE = 10_000

P = ParamSpec("P")
R = TypeVar("R")

#: Set, an error is raised with its traceback instead of being explained.
DEBUG_VARIABLE = "TIDEGATE_DEBUG"

#: Exit codes: done, failed, called the wrong way, done but something is quarantined.
DONE, FAILED, USAGE, QUARANTINED = 0, 1, 2, 3


class Output(StrEnum):
    """What a command prints."""

    TABLE = "table"
    JSON = "json"


OutputOption = Annotated[
    Output,
    typer.Option("--output", "-o", help="table for people, json for programs (one document on stdout)."),
]


def console(*, stderr: bool = False) -> Console:
    """A console that prints what it is given literally: keys and reasons hold any text."""
    from rich.console import Console

    out = Console(stderr=stderr, markup=False, highlight=False, emoji=False)
    if not out.is_terminal and "COLUMNS" not in os.environ:
        # In a file or a pipe nobody needs lines of 80 characters, and one object should be one line.
        out.width = _WIDE
    return out


def print_json(document: Any) -> None:
    """One document, snake_case, times as ISO 8601 UTC."""
    sys.stdout.write(json.dumps(document, default=json_value, ensure_ascii=False, indent=2) + "\n")


def json_value(value: object) -> Any:
    """What JSON has no type for, as text; dataclasses as objects."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, datetime):
        from tidegate.events.model import iso

        return iso(value) if value.tzinfo else value.isoformat()
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, bytes):
        return value.hex()
    return str(value)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], empty: str = "") -> None:
    """A table, its cells literally; `empty` when there are no rows."""
    listed = list(rows)
    console().print(make_table(columns, listed) if listed or not empty else empty)


def make_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """A table whose cells stand literally, whatever text they hold."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    cells = [[(cell(value), _side(value)) for value in row] for row in rows]
    for index, name in enumerate(columns):
        # Texts and headings may break; a number over two lines would be read as another one.
        widest = max((len(row[index][0]) for row in cells if row[index][1] == "right"), default=None)
        table.add_column(Text(name), overflow="fold", min_width=widest)
    for row in cells:
        table.add_row(*(Text(text, justify=side) for text, side in row))
    return table


def _side(value: object) -> Any:
    return "right" if isinstance(value, (int, float, Decimal)) else "left"


def cell(value: object) -> str:
    """A value for people; nothing for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S") if value.tzinfo else str(value)
    return str(value)


def shortened(rule: str) -> str:
    """A rule for a table: its values cut, its parentheses closed. Programs get it whole."""
    if len(rule) <= _RULE:
        return rule
    name, parenthesis, values = rule.partition("(")
    end = "…])" if values.startswith("[") else "…)"
    room = _RULE - len(f"{name}(…)")
    if not parenthesis or room <= 0:
        return f"{rule[:_RULE]}…"
    whole, comma, _ = values[:room].rpartition(", ")
    return f"{name}({whole + comma if comma else values[:room]}{end}"


def ago(moment: datetime | None, now: datetime) -> str:
    """How long ago, in the largest unit that tells something."""
    return "" if moment is None else clock.in_words((now - moment).total_seconds())


def explained(command: Callable[P, R]) -> Callable[P, R]:
    """Turn our errors into a message on stderr and an exit code; no traceback for a user's mistake."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except TidegateError as error:
            if os.environ.get(DEBUG_VARIABLE):
                raise
            typer.echo(f"Error: {error}", err=True)
            code = USAGE if isinstance(error, (SettingsError, UsageError)) else FAILED
            raise typer.Exit(code) from error

    return run


def moment(text: str | None) -> datetime | None:
    """A time given on the command line: ISO 8601, UTC unless it says otherwise."""
    if text is None:
        return None
    try:
        value = datetime.fromisoformat(text)
    except ValueError as error:
        msg = f"{text!r} is not a time. Write it as 2026-01-31 or 2026-01-31T13:45:00Z."
        raise UsageError(msg) from error
    return value if value.tzinfo else value.replace(tzinfo=UTC)
