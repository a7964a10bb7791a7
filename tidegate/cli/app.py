"""The command line. Each module holds the commands of one noun and imports what it needs inside."""

from __future__ import annotations

import typer

from tidegate.cli import contracts, drop, ledger, objects, past, system, warehouse

app = typer.Typer(
    name="tidegate",
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Get files from a bucket into a warehouse, exactly once.",
)

app.command()(system.up)
app.command()(system.down)
app.command()(drop.drop)
app.command()(drop.wait)
app.command()(objects.status)
app.command()(objects.objects)
app.command()(objects.why)
app.command()(warehouse.query)
app.command()(past.reconcile)
app.add_typer(past.backfill, name="backfill")
app.add_typer(contracts.contracts, name="contracts")
app.add_typer(ledger.ledger, name="ledger")


def main() -> None:
    """The entry point ``tidegate``."""
    app()


if __name__ == "__main__":
    main()
