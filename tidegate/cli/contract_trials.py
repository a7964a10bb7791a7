"""contracts infer and contracts test: contracts and the files they are for."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - Typer reads it at run time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidegate.cli.output import QUARANTINED, Output, OutputOption, console, explained, print_json, print_table

if TYPE_CHECKING:
    from tidegate.operations.first_contract import FirstContract


@explained
def infer(
    files: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, help="CSV files of one kind.")],
    name: Annotated[str | None, typer.Option(help="The dataset's name; else from the first file's.")] = None,
    write: Annotated[
        bool, typer.Option("--write", help="Write the module into the contracts' folder.")
    ] = False,
) -> None:
    """Write a first data contract from sample files, one that accepts all their sound rows.

    [dim]Example:[/dim]  tidegate contracts infer orders-*.csv --name orders --write

    Without --write the module goes to stdout. What the sample can't decide stays text, with a comment.
    """
    from tidegate.operations.first_contract import infer as operation
    from tidegate.operations.first_contract import write_module

    first = operation(files, name)
    if write:
        typer.echo(f"{write_module(first, _contracts_folder())} written; go through it line by line.")
    else:
        typer.echo(first.text, nl=False)
    if first.damaged:
        typer.echo("\n".join(_about_damage(first)), err=True)


def _about_damage(first: FirstContract) -> list[str]:
    left = first.damaged - len(first.examples)
    return [
        f"{first.damaged} of {first.read} records are damaged; this contract refuses them:",
        *first.examples,
        *([f"and {left} more"] if left else []),
        (
            "Mend the file; or, for lines that are no rows, write Dialect(footer=…) with a regular "
            "expression for those at its end, or Dialect(comment=…) with the text that begins the others."
        ),
    ]


def _contracts_folder() -> Path:
    from tidegate.settings import load_settings

    settings = load_settings()
    return settings.root.joinpath(*settings.contracts.split("."))


@explained
def try_out(
    dataset: Annotated[str, typer.Argument(help="The dataset's name.")],
    last: Annotated[int, typer.Option(min=0, help="How many of the newest loaded objects.")] = 20,
    quarantine: Annotated[
        bool, typer.Option("--quarantine/--no-quarantine", help="Objects with something in quarantine, too.")
    ] = True,
    limit: Annotated[int | None, typer.Option(min=1, help="No more objects than this, newest first.")] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Try today's contract on files that came before. Changes nothing.

    [dim]Example:[/dim]  tidegate contracts test flights --last 50

    Reading and checking are run, steps and lookups are not. Exit code 3 when something that was
    accepted before would be refused now.
    """
    from tidegate.operations.contract_test import try_contract
    from tidegate.operations.project import open_project

    project = open_project()
    try:
        outcome = try_contract(project, dataset, last=last, quarantine=quarantine, limit=limit)
    finally:
        project.close()
    if output is Output.JSON:
        print_json(_document(outcome))
    else:
        _print(outcome)
    if outcome.newly_refused:
        raise typer.Exit(QUARANTINED)


def _document(outcome: Any) -> dict[str, Any]:
    return {
        "dataset": outcome.dataset,
        "version": outcome.version,
        "newly_accepted": outcome.newly_accepted,
        "newly_refused": outcome.newly_refused,
        "reasons": [
            {"column": column, "rule": rule, "rows": rows}
            for (column, rule), rows in outcome.reasons.most_common()
        ],
        "objects": outcome.objects,
        "examples": outcome.examples,
    }


def _print(outcome: Any) -> None:
    print_table(
        ("key", "state", "contract", "accepted", "refused", "accepted now", "refused now", "problem"),
        [
            (
                *(one.key, one.state, one.contract_version, one.accepted_before, one.refused_before),
                *(one.accepted_now, one.refused_now, one.problem),
            )
            for one in outcome.objects
        ],
    )
    console().print(
        f"\nUnder {outcome.dataset} {outcome.version}, {outcome.newly_accepted} rows would be newly "
        f"accepted, {outcome.newly_refused} newly refused."
    )
    if not outcome.newly_refused:
        return
    console().print("\nThe commonest reasons:")
    print_table(
        ("column", "rule", "rows"),
        [(column, rule, rows) for (column, rule), rows in outcome.reasons.most_common(10)],
    )
    if outcome.examples:
        console().print("\nFor example:")
        print_table(
            ("key", "record", "message"),
            [(row["key"], row["record"], row["message"]) for row in outcome.examples],
        )
