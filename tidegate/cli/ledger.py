"""ledger: look after the log itself."""

from __future__ import annotations

import typer

from tidegate.cli.output import Output, OutputOption, console, explained, print_json, print_table

ledger = typer.Typer(no_args_is_help=True, help="Look after the ledger itself.")


@ledger.command("rebuild")
@explained
def rebuild(output: OutputOption = Output.TABLE) -> None:
    """Make the ledger's tables anew from its log. Gives the same tables."""
    from tidegate.ledger import open_ledger
    from tidegate.settings import load_settings

    read = open_ledger(load_settings()).rebuild()
    if output is Output.JSON:
        print_json({"events": read})
    else:
        console().print(f"Rebuilt from {read:,} events.")


@ledger.command("dead-letters")
@explained
def dead_letters(output: OutputOption = Output.TABLE) -> None:
    """Show messages that could not be read, newest first."""
    from tidegate.ledger import open_ledger, queries
    from tidegate.settings import load_settings

    letters = open_ledger(load_settings()).ask(queries.dead_letters)
    if output is Output.JSON:
        print_json([{"time": one.time, "origin": one.subject, **one.data} for one in letters])
        return
    print_table(
        ("time", "origin", "error", "text"),
        [(one.time, one.subject, one.data["error"], one.data["text"][:200]) for one in letters],
        "No dead letters.",
    )
