"""query: read the warehouse while the pipeline runs."""

from __future__ import annotations

from typing import Annotated

import typer

from tidegate.cli.output import Output, OutputOption, explained, print_json, print_table
from tidegate.errors import UsageError

#: More than anybody reads; laying out a table takes a millisecond a row.
_TABLE_ROWS = 1_000


@explained
def query(
    sql: Annotated[str, typer.Argument(help="One SQL statement that reads.")],
    output: OutputOption = Output.TABLE,
) -> None:
    """Read the warehouse with SQL, safely, while the pipeline runs.

    [dim]Example:[/dim]  tidegate query "SELECT carrier, count(*) FROM flights GROUP BY ALL"

    Each dataset is a table. Schema tidegate holds commits (one row an object) and rejected_rows.
    """
    from tidegate.settings import load_settings
    from tidegate.warehouse import open_warehouse

    columns, rows = open_warehouse(load_settings()).query(sql)
    if output is Output.JSON:
        twice = sorted({name for name in columns if columns.count(name) > 1})
        if twice:
            raise UsageError(f"Several columns are called {', '.join(twice)}; name them apart with AS.")
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
        return
    # Numbers as they are: a year is no 2,013.
    shown = [[str(value) if type(value) is int else value for value in row] for row in rows[:_TABLE_ROWS]]
    print_table(columns, shown)
    if len(rows) > _TABLE_ROWS:
        typer.echo(
            f"The first {_TABLE_ROWS:,} of {len(rows):,} rows. Use LIMIT, or --output json for all.",
            err=True,
        )
