"""contracts: what the project has agreed to."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from enum import StrEnum
from pathlib import Path
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
                    "warnings": one.warnings,
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
            for warning in one.warnings:
                typer.echo(f"Warning: {warning}", err=True)
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


class ShowFormat(StrEnum):
    """What `contracts show` prints."""

    TABLE = "table"
    MARKDOWN = "markdown"
    JSON = "json"
    JSON_SCHEMA = "json-schema"
    ODCS = "odcs"


@contracts.command("show")
@explained
def show(
    dataset: Annotated[str, typer.Argument(help="The dataset's name.")],
    form: Annotated[
        ShowFormat,
        typer.Option(
            "--format",
            "-f",
            help="json: as recorded; json-schema: of one row; odcs: Open Data Contract Standard.",
        ),
    ] = ShowFormat.TABLE,
) -> None:
    """Show one data contract: for people, or in a form that other programs read.

    [dim]Example:[/dim]  tidegate contracts show flights --format odcs > flights.odcs.yaml
    """
    from tidegate.operations.contract_show import Form
    from tidegate.operations.contract_show import show as operation

    registry, _ = _opened()
    contract = registry[dataset]
    if form is not ShowFormat.TABLE:
        typer.echo(operation(contract, registry, Form(form.value)), nl=False)
        return
    from tidegate.contracts.exports.sentences import form as written
    from tidegate.contracts.exports.sentences import rules
    from tidegate.operations.contract_check import current

    told = current(contract, registry)
    console().print(f"{told['name']} {told['version']}: {told['description']}")
    console().print(
        f"Owner: {told['owner']}. Load: {told['load']['policy']}. Keys: {', '.join(told['keys'])}\n"
    )
    print_table(
        ("column", "type", "written as", "may be empty", "rules"),
        [
            (one["name"], one["type"], written(one, told), one["nullable"], "; ".join(rules(one)))
            for one in told["columns"]
        ],
    )
    added = [name for name in told["table"] if name not in {one["name"] for one in told["columns"]}]
    if added:
        console().print(f"\nThe table has also: {', '.join(added)}.")


@contracts.command("docs")
@explained
def docs(
    to: Annotated[Path, typer.Option("--to", help="The folder to write into.")] = Path("docs/contracts"),
    output: OutputOption = Output.TABLE,
) -> None:
    """Write a Markdown page for each data contract: what to send, and what happens to bad rows.

    [dim]Example:[/dim]  tidegate contracts docs --to public/contracts

    A page that is there is written anew.
    """
    from tidegate.operations.contract_show import write_pages

    registry, _ = _opened()
    written = [str(path) for path in write_pages(registry, to)]
    if output is Output.JSON:
        print_json({"files": written})
        return
    for path in written:
        console().print(path)


def _opened() -> tuple[Registry, Snapshots]:
    from tidegate.contracts.registry import load_registry
    from tidegate.contracts.snapshots import Snapshots
    from tidegate.settings import load_settings

    settings = load_settings()
    # What a contract's module prints must not stand before a JSON document.
    with redirect_stdout(sys.stderr):
        registry = load_registry(settings.contracts, settings.root)
    return registry, Snapshots.of_package(settings.contracts)


def _description(name: str) -> dict[str, Any]:
    """What a person means by DATASET, DATASET@VERSION or the path of a recorded contract."""
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
        return "has a problem"
    return "recorded now" if one.recorded else "as recorded"


def _value(value: Any) -> str:
    import json

    return "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
