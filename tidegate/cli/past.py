"""reconcile and backfill: uploads whose event never came, and objects to process again."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from tidegate.cli.objects import DatasetOption, PrefixOption, SinceOption, UntilOption, entry_document
from tidegate.cli.output import (
    Output,
    OutputOption,
    console,
    explained,
    json_value,
    moment,
    print_json,
    print_table,
)

backfill = typer.Typer(no_args_is_help=True, help="Process past objects again, without doubling a row.")


@explained
def reconcile(
    prefix: Annotated[str, typer.Option(help="Only keys below the landing that begin with this.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be recorded.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Record uploads whose event never came: compare the landing with the ledger.

    [dim]Example:[/dim]  tidegate reconcile --dry-run
    """
    from tidegate.operations.project import open_project
    from tidegate.operations.reconcile import reconcile as operation
    from tidegate.operations.summary import count_of

    project = open_project()
    found = operation(
        project.settings,
        project.ledger,
        project.registry,
        prefix=prefix,
        dry_run=dry_run,
        store=project.store,
    )
    if output is Output.JSON:
        listed: dict[str, Any] = json_value(found)
        listed["objects"] = [{"url": obj.url, "version": obj.version} for obj in found.objects]
        print_json({**listed, "dry_run": dry_run})
        return
    print_table(
        ("found", "version"), [(obj.url, obj.version) for obj in found.objects], "Nothing was missed."
    )
    verb = "would be recorded" if dry_run else "recorded"
    console().print(f"{count_of(found.listed)} listed: {found.recorded} {verb}, {found.known} known.")


StateOption = Annotated[
    list[str] | None,
    typer.Option(help="loaded (the default), quarantined, unmatched or failed; may be repeated."),
]
OutdatedOption = Annotated[
    bool, typer.Option("--outdated", help="Only objects loaded under an older contract version.")
]


@backfill.command("plan")
@explained
def backfill_plan(
    dataset: DatasetOption = None,
    prefix: PrefixOption = "",
    since: SinceOption = None,
    until: UntilOption = None,
    state: StateOption = None,
    outdated: OutdatedOption = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show what a backfill would process again. Changes nothing.

    [dim]Example:[/dim]  tidegate backfill plan --dataset flights --since 2013-01-01
    """
    _backfill(_selection(dataset, prefix, since, until, state, outdated), output, run=False)


@backfill.command("run")
@explained
def backfill_run(
    dataset: DatasetOption = None,
    prefix: PrefixOption = "",
    since: SinceOption = None,
    until: UntilOption = None,
    state: StateOption = None,
    outdated: OutdatedOption = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Send past objects through the pipeline again, by the way live ones go.

    [dim]Example:[/dim]  tidegate backfill run --dataset flights --outdated && tidegate wait

    Rows loaded before stand until the new load takes their place, in one transaction.
    """
    _backfill(_selection(dataset, prefix, since, until, state, outdated), output, run=True)


def _selection(
    dataset: str | None,
    prefix: str,
    since: str | None,
    until: str | None,
    state: list[str] | None,
    outdated: bool,
) -> Any:
    from tidegate.operations.backfill import Selection

    return Selection(
        dataset=dataset,
        prefix=prefix,
        since=moment(since),
        until=moment(until),
        states=tuple(state or ("loaded",)),
        outdated_only=outdated,
    )


def _backfill(selection: Any, output: Output, *, run: bool) -> None:
    from tidegate.operations import backfill as operation
    from tidegate.operations.project import open_project
    from tidegate.operations.summary import count_of

    project = open_project()
    if run:
        chosen = operation.run(
            project.ledger, project.registry, selection, "tidegate backfill run", project.store
        )
    else:
        chosen = operation.plan(project.ledger, project.registry, selection, project.store)
    if output is Output.JSON:
        entries = [entry_document(entry) for entry in chosen.objects]
        print_json({"objects": entries, "skipped": chosen.skipped, "changed": run})
        return
    if not run:
        print_table(
            ("key", "dataset", "state", "uploaded", "contract"),
            [(e.key, e.dataset, e.state, e.uploaded_at, e.contract_version) for e in chosen.objects],
        )
    count = len(chosen.objects)
    pending = "is pending again" if count == 1 else "are pending again"
    console().print(f"{count_of(count)} {pending if run else 'would be processed again'}.")
    for reason, count in chosen.skipped.items():
        console().print(f"{count} skipped: {reason}.")
