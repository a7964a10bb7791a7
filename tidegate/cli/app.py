"""The command line. Each module holds the commands of one noun and imports what it needs inside."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from tidegate import __version__
from tidegate.cli import (
    check,
    contract_trials,
    contracts,
    doctor,
    drop,
    ledger,
    objects,
    past,
    quarantine,
    system,
    warehouse,
)
from tidegate.cli.output import DEBUG_VARIABLE

app = typer.Typer(
    name="tidegate",
    no_args_is_help=True,
    rich_markup_mode="rich",
    # Ours are told in a sentence (see `explained`); of others the plain traceback says most.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"tidegate {__version__}")
        raise typer.Exit


@app.callback()
def tidegate(
    version: Annotated[  # noqa: ARG001 - its callback has done the work
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version."),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error; TIDEGATE_DEBUG=1 does too.")
    ] = False,
) -> None:
    """Get CSV files from a bucket or folder into a warehouse, exactly once.

    [dim]Example:[/dim]  tidegate up --detach
    [dim]        [/dim]  tidegate drop orders.csv --to orders && tidegate wait
    [dim]        [/dim]  tidegate query "SELECT count(*) FROM orders"
    [dim]        [/dim]  tidegate why orders/orders.csv

    A command works on the project whose tidegate.toml lies in this folder or above.

    Exit codes: 0 done, 1 failed, 2 called the wrong way, 3 done, but something is quarantined.
    """
    if debug:
        os.environ[DEBUG_VARIABLE] = "1"


app.command()(system.up)
app.command()(system.down)
app.command()(check.check)
app.command()(drop.drop)
app.command()(drop.wait)
app.command()(objects.status)
app.command()(objects.objects)
app.command()(objects.why)
app.command()(warehouse.query)
app.command()(doctor.doctor)
app.command()(past.reconcile)
app.add_typer(quarantine.quarantine, name="quarantine")
app.add_typer(past.backfill, name="backfill")
contracts.contracts.command("infer")(contract_trials.infer)
contracts.contracts.command("test")(contract_trials.try_out)
app.add_typer(contracts.contracts, name="contracts")
app.add_typer(ledger.ledger, name="ledger")


def main() -> None:
    """The entry point ``tidegate``."""
    app(prog_name="tidegate")


if __name__ == "__main__":
    main()
