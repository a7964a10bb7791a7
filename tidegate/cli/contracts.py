"""contracts: what the project has agreed to."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidegate.cli.output import (
    FAILED,
    Output,
    OutputOption,
    console,
    explained,
    print_json,
    print_table,
)

if TYPE_CHECKING:
    from tidegate.contracts.registry import Registry
    from tidegate.contracts.snapshots import Snapshots

contracts = typer.Typer(no_args_is_help=True, help="Write, check, compare and show the data contracts.")


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


@contracts.command("check")
@explained
def check(
    write: Annotated[
        bool, typer.Option("--write", help="Record the versions that have no record yet.")
    ] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Check that every contract can work, and is what was recorded of its version.

    [dim]Example:[/dim]  tidegate contracts check --write && git add data_contracts

    Records lie in the contracts' folder, in _versions; a recorded version is never written again.
    Exit code 1 when a contract has a problem.
    """
    from tidegate.operations.contract_check import check as operation

    registry, snapshots = _opened()
    found = operation(registry, snapshots, write=write)
    if output is Output.JSON:
        print_json(
            [
                {
                    "dataset": one.dataset,
                    "version": one.version,
                    "ok": not one.problems,
                    "recorded": one.recorded,
                    "problems": one.problems,
                }
                for one in found
            ]
        )
    else:
        print_table(
            ("dataset", "version", "is"),
            [(one.dataset, one.version, _verdict(one)) for one in found],
            "There is no data contract yet.",
        )
        for one in found:
            for problem in one.problems:
                typer.echo(problem, err=True)
    if any(one.problems for one in found):
        raise typer.Exit(FAILED)


class FailOn(StrEnum):
    """When `contracts diff` exits with 1."""

    NEVER = "never"
    BREAKING = "breaking"


@contracts.command("diff")
@explained
def diff(
    before: Annotated[
        str, typer.Argument(metavar="A", help="DATASET@VERSION, DATASET as it is now, or a file.")
    ],
    after: Annotated[str, typer.Argument(metavar="B", help="What A is compared with.")],
    fail_on: Annotated[
        FailOn, typer.Option(help="breaking: exit code 1 for a breaking change.")
    ] = FailOn.NEVER,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show what changed between two versions of a contract, whom it breaks, and the version that follows.

    [dim]Example:[/dim]  tidegate contracts diff flights@1.0.0 flights --fail-on breaking
    """
    from tidegate.contracts.changes import changes, next_version

    was, now = (_description(name) for name in (before, after))
    found = changes(was, now)
    least = next_version(was["version"], found)
    if output is Output.JSON:
        print_json(
            {
                "from": {"dataset": was["name"], "version": was["version"]},
                "to": {"dataset": now["name"], "version": now["version"]},
                "changes": [
                    {"what": one.what, "was": one.was, "now": one.now, "effect": one.effect.value}
                    for one in found
                ],
                "breaking": any(one.breaking for one in found),
                "least_version": least,
            }
        )
    else:
        print_table(
            ("what", "was", "is", "effect"),
            [(one.what, _value(one.was), _value(one.now), one.effect.value) for one in found],
            "Nothing changed.",
        )
        if found:
            console().print(f"The version after {was['version']} is at least {least}.")
    if fail_on is FailOn.BREAKING and any(one.breaking for one in found):
        raise typer.Exit(FAILED)


def _opened() -> tuple[Registry, Snapshots]:
    from tidegate.contracts.registry import load_registry
    from tidegate.contracts.snapshots import Snapshots
    from tidegate.settings import load_settings

    settings = load_settings()
    return load_registry(settings.contracts, settings.root), Snapshots.of_package(settings.contracts)


def _description(name: str) -> dict[str, Any]:
    """What a person means by DATASET, DATASET@VERSION or the path of a recorded contract."""
    from pathlib import Path

    from tidegate.contracts.snapshots import read_file
    from tidegate.operations.contract_check import current

    if name.endswith(".json"):
        return read_file(Path(name))
    registry, snapshots = _opened()
    dataset, _, version = name.partition("@")
    if version:
        return snapshots.read(dataset, version)
    return current(registry[dataset], registry)


def _verdict(one: Any) -> str:
    if one.problems:
        return "not right"
    return "recorded now" if one.recorded else "as recorded"


def _value(value: Any) -> str:
    import json

    return "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
