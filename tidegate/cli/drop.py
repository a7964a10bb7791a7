"""drop and wait: put files into the landing, and wait until they are done."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidegate.cli.objects import entry_document
from tidegate.cli.output import (
    DONE,
    FAILED,
    QUARANTINED,
    Output,
    OutputOption,
    console,
    explained,
    print_json,
    print_table,
)

if TYPE_CHECKING:
    from tidegate.objects import ObjectVersion
    from tidegate.operations.drop import ToDrop
    from tidegate.operations.wait import Waited


@explained
def drop(
    files: Annotated[list[Path], typer.Argument(help="Files, or folders with all files in them.")],
    to: Annotated[str, typer.Option("--to", help="Folder below the landing, such as flights.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be uploaded.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Upload files to the landing. A watcher sees each only when it is whole.

    [dim]Example:[/dim]  tidegate drop january.csv february.csv --to flights
    [dim]Example:[/dim]  tidegate drop examples/nycflights   (keys keep the folder's layout)
    """
    from tidegate.operations.drop import plan_drop
    from tidegate.settings import load_settings

    settings = load_settings()
    planned = plan_drop(files, to)
    if dry_run:
        documents = [{"file": str(one.source), "key": one.key, "size": one.size} for one in planned]
        if output is Output.JSON:
            print_json(documents)
        else:
            print_table(("file", "key", "bytes"), [tuple(one.values()) for one in documents])
        return
    objects = _upload(settings, planned)
    if output is Output.JSON:
        print_json(
            [
                {"url": obj.url, "key": obj.key, "version": obj.version, "size": obj.size}
                | {"object_id": obj.object_id}
                for obj in objects
            ]
        )
    else:
        total = sum(one.size for one in planned)
        noun = "file" if len(objects) == 1 else "files"
        console().print(f"Dropped {len(objects):,} {noun}, {total:,} bytes.")


def _upload(settings: Any, planned: list[ToDrop]) -> list[ObjectVersion]:
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    from tidegate.objects import open_store
    from tidegate.operations.drop import drop as operation

    store = open_store(settings)
    objects = []
    with Progress(
        *(
            TextColumn("{task.fields[key]}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TimeRemainingColumn(),
        ),
        console=console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    ) as progress:
        task = progress.add_task("", total=sum(one.size for one in planned), key="")
        for one in planned:
            progress.update(task, key=one.key[-60:])
            objects += operation(settings, store, [one])
            progress.advance(task, one.size)
    return objects


@explained
def wait(
    timeout: Annotated[float | None, typer.Option(min=0, help="Give up after this many seconds.")] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Return when nothing is pending or running, and all that was dropped is done.

    [dim]Example:[/dim]  tidegate drop orders.csv --to orders && tidegate wait --timeout 60

    Exit code 3 when something of it is quarantined; 1 when something failed or time ran out.
    """
    from tidegate.ledger import open_ledger
    from tidegate.objects import open_store
    from tidegate.operations.wait import Waiter
    from tidegate.settings import load_settings

    settings = load_settings()
    waiter = Waiter(settings, open_ledger(settings), open_store(settings))
    with console(stderr=True).status("Waiting") as status:
        waited = waiter.wait(timeout, lambda progress: status.update(f"Waiting: {progress.sentence()}"))
    if output is Output.JSON:
        print_json(_waited_document(waited))
    else:
        _print_waited(waited)
    raise typer.Exit(_code(waited))


def _code(waited: Waited) -> int:
    if not waited.progress.done or waited.count("failed"):
        return FAILED
    return QUARANTINED if waited.count("quarantined") else DONE


def _waited_document(waited: Waited) -> dict[str, Any]:
    states = sorted({entry.state for entry in waited.objects})
    return {
        "done": waited.progress.done,
        "seconds": round(waited.seconds, 3),
        "states": {state: waited.count(state) for state in states},
        "left": {
            "unrecorded": waited.progress.unrecorded,
            "pending": waited.progress.pending,
            "running": waited.progress.running,
        },
        "objects": [entry_document(entry) for entry in waited.objects],
    }


def _print_waited(waited: Waited) -> None:
    out = console()
    if not waited.progress.done:
        out.print(f"Time ran out after {waited.seconds:.0f} s: {waited.progress.sentence()}.")
    states = sorted({entry.state for entry in waited.objects})
    told = ", ".join(f"{waited.count(state):,} {state}" for state in states)
    if waited.progress.done:
        out.print(f"Done in {waited.seconds:.1f} s: {told or 'nothing to do'}.")
    for entry in waited.objects:
        if entry.state in ("failed", "quarantined", "unmatched"):
            out.print(f"{entry.state}: {entry.key}: {entry.reason}", soft_wrap=True)
