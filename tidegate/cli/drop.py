"""drop and wait: put files into the landing, and wait until they are done."""

from __future__ import annotations

import time
from contextlib import contextmanager
from pathlib import Path  # noqa: TC003 - Typer reads the annotations
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
    from collections.abc import Callable, Iterator

    from tidegate.objects.model import ObjectVersion
    from tidegate.operations.drop import DropPlan
    from tidegate.operations.wait import Waited

#: Objects that `wait` tells of one by one.
_SHOWN = 20
_KILO = 1_000


@explained
def drop(
    files: Annotated[list[Path], typer.Argument(help="Files, or folders with all that lies in them.")],
    to: Annotated[str, typer.Option(help="Folder below the landing to put them in.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be uploaded.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Upload files to the landing, each whole or not at all.

    [dim]Example:[/dim]  tidegate drop 2013-01-*.csv --to flights && tidegate wait

    A file keeps its name, so the first one above becomes flights/2013-01-01.csv. A folder's files
    keep their paths below it. Nothing is uploaded when any file is missing or can't be read.
    """
    from tidegate.objects import open_store
    from tidegate.operations.drop import doubts, plan_drop
    from tidegate.operations.drop import drop as operation
    from tidegate.operations.running import running
    from tidegate.settings import load_settings

    settings = load_settings()
    store = open_store(settings)
    plan = plan_drop(files, to, store)
    created: list[ObjectVersion] = []
    began = time.monotonic()
    if not dry_run:
        with _progress(plan) as advance:
            for obj in operation(settings, store, plan.uploads):
                created.append(obj)
                advance(obj.size or 0)
    if doubt := doubts(settings, store, plan):
        console(stderr=True).print(f"Warning: {doubt}", soft_wrap=True)
    if output is Output.JSON:
        print_json(_planned(plan) if dry_run else _created(plan, created))
        return
    out = console()
    if dry_run:
        print_table(("file", "key", "bytes"), [tuple(one.values()) for one in _planned(plan)])
        out.print(f"{_count(len(plan.uploads))} would be uploaded to {store.url}")
    else:
        size = _size(sum(one.size for one in plan.uploads))
        seconds = time.monotonic() - began
        told = f"Uploaded {_count(len(created))} ({size}) to {store.url} in {seconds:.1f} s."
        out.print(told, soft_wrap=True)
        if settings.landing_dir is not None and running(settings) is None:
            out.print(
                "Tidegate does not run here: what was uploaded is taken up once it does.", soft_wrap=True
            )
    if plan.passed_over:
        out.print(f"{_count(len(plan.passed_over))} passed over: hidden, or named like an unfinished upload.")


def _planned(plan: DropPlan) -> list[dict[str, Any]]:
    return [{"file": str(one.source), "key": one.key, "size": one.size} for one in plan.uploads]


def _created(plan: DropPlan, created: list[ObjectVersion]) -> list[dict[str, Any]]:
    return [
        {
            "file": str(one.source),
            "url": obj.url,
            "key": obj.key,
            "version": obj.version,
            "size": obj.size,
            "object_id": obj.object_id,
            "uploaded_at": obj.uploaded_at,
        }
        for one, obj in zip(plan.uploads, created, strict=True)
    ]


@contextmanager
def _progress(plan: DropPlan) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, nothing elsewhere; to be called with the bytes of each file that is up."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

    out = console(stderr=True)
    columns = (BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as bar:
        task = bar.add_task("", total=sum(one.size for one in plan.uploads))
        yield lambda size: bar.advance(task, size)


@explained
def wait(
    timeout: Annotated[
        float | None, typer.Option(min=0, help="Seconds to wait at most; without it, as long as it takes.")
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Wait until nothing is pending or running and all that was dropped is recorded.

    [dim]Example:[/dim]  tidegate drop orders.csv --to orders && tidegate wait --timeout 60

    Exit code 0: all that came since the last wait is loaded. 3: some of it is quarantined,
    or no contract matches it. 1: something failed, the time was over, or the system does not run.
    """
    from tidegate.cli.progress import waiting_for
    from tidegate.ledger import open_ledger
    from tidegate.ledger.progress import at_work as told
    from tidegate.operations.wait import wait as operation
    from tidegate.settings import load_settings

    settings = load_settings()
    ledger = open_ledger(settings)
    try:
        out = console(stderr=True)
        with out.status("Waiting") as status:

            def progress(work: dict[str, int], unrecorded: int) -> None:
                at_work = ledger.ask(told) if out.is_terminal and work.get("running") else []
                status.update(waiting_for(work, unrecorded, at_work))

            waited = operation(settings, ledger, timeout=timeout, progress=progress)
    finally:
        ledger.close()
    if output is Output.JSON:
        print_json(_wait_document(waited))
    else:
        _print_waited(waited)
    raise typer.Exit(_wait_code(waited))


def _wait_code(waited: Waited) -> int:
    if not waited.done or waited.failed:
        return FAILED
    return QUARANTINED if waited.held else DONE


def _wait_document(waited: Waited) -> dict[str, Any]:
    return {
        "done": waited.done,
        "problem": waited.problem or None,
        "held_up": waited.held_up or None,
        "seconds": round(waited.seconds, 3),
        "states": waited.states,
        "left": {
            "unrecorded": waited.unrecorded,
            "pending": waited.states.get("pending", 0),
            "running": waited.states.get("running", 0),
        },
        "objects": [entry_document(entry) for entry in waited.objects],
    }


def _print_waited(waited: Waited) -> None:
    told = [f"{count:,} {state}" for state, count in waited.states.items()]
    told += [f"{waited.unrecorded:,} not yet recorded"] if waited.unrecorded else []
    if waited.done:
        what = ", ".join(told) or "nothing came since the last wait"
        console().print(f"Done: {what} ({waited.seconds:.1f} s).", soft_wrap=True)
    else:
        said = f"{waited.problem} Now: {', '.join(told)}. {waited.held_up}"
        console(stderr=True).print(said.rstrip(), soft_wrap=True)
    out = console()
    for entry in waited.objects[:_SHOWN]:
        out.print(f"{entry.state}: {entry.key}: {entry.reason}", soft_wrap=True)
    if len(waited.objects) > _SHOWN:
        out.print(f"… and {len(waited.objects) - _SHOWN:,} more; `tidegate objects` lists them.")


def _count(files: int) -> str:
    return f"{files:,} file" + ("" if files == 1 else "s")


def _size(size: float) -> str:
    unit = "B"
    for larger in ("kB", "MB", "GB"):
        if size >= _KILO:
            size, unit = size / _KILO, larger
    return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
