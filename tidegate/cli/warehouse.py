"""query: read the warehouse while the pipeline runs."""

from __future__ import annotations

from typing import Annotated

import typer

from tidegate.cli.output import Output, OutputOption, explained, print_json, print_table


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
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        print_table(columns, rows)
