"""contracts: what the project has agreed to."""

from __future__ import annotations

import typer

from tidegate.cli.output import Output, OutputOption, explained, print_json, print_table

contracts = typer.Typer(no_args_is_help=True, help="Look at the data contracts.")


@contracts.command("ls")
@explained
def ls(output: OutputOption = Output.TABLE) -> None:
    """List the data contracts of this project."""
    from tidegate.contracts.registry import load_registry
    from tidegate.settings import load_settings

    settings = load_settings()
    found = sorted(load_registry(settings.contracts, settings.root), key=lambda one: one.name)
    if output is Output.JSON:
        print_json(
            [
                {
                    "dataset": one.name,
                    "version": one.version,
                    "owner": one.owner,
                    "description": one.description,
                    "keys": list(one.keys),
                    "load": type(one.load).__name__.lower(),
                    "lookups": sorted({lookup.dataset for lookup in one.lookups}),
                }
                for one in found
            ]
        )
        return
    print_table(
        ("dataset", "version", "load", "keys", "owner", "description"),
        [
            (
                *(one.name, one.version, type(one.load).__name__.lower(), " ".join(one.keys)),
                *(one.owner, one.description),
            )
            for one in found
        ],
    )
