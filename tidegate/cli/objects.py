"""status, objects, why: what became of what was dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidegate import clock
from tidegate.cli.output import (
    DONE,
    FAILED,
    QUARANTINED,
    Output,
    OutputOption,
    ago,
    console,
    explained,
    json_value,
    moment,
    print_json,
    print_table,
)

if TYPE_CHECKING:
    from tidegate.ledger import DatasetStatus, ObjectEntry
    from tidegate.operations.why import Story

PrefixOption = Annotated[str, typer.Option(help="Only keys that begin with this.")]
DatasetOption = Annotated[str | None, typer.Option(help="Only this dataset.")]
SinceOption = Annotated[
    str | None, typer.Option(help="Uploaded at or after, such as 2026-01-31 or 2026-01-31T13:45:00Z.")
]
UntilOption = Annotated[str | None, typer.Option(help="Uploaded before.")]


@explained
def status(output: OutputOption = Output.TABLE) -> None:
    """Show each dataset: what waits, runs, is loaded and is quarantined.

    [dim]Example:[/dim]  tidegate status

    Exit code 3 when something is quarantined, 1 when something failed.
    """
    from tidegate.ledger import open_ledger, queries
    from tidegate.operations.running import running
    from tidegate.settings import load_settings

    settings = load_settings()
    ledger = open_ledger(settings)
    datasets = ledger.ask(queries.status)
    system = running(settings)
    if output is Output.JSON:
        print_json([json_value(one) for one in datasets])
    else:
        _print_status(datasets)
        where = f"Prefect UI: {system.ui_url}" if system else "Not running. Start it with: tidegate up"
        console().print(where)
    raise typer.Exit(_verdict(datasets))


def _verdict(datasets: list[DatasetStatus]) -> int:
    if any(one.failed for one in datasets):
        return FAILED
    return QUARANTINED if any(one.quarantined for one in datasets) else DONE


STATUS_COLUMNS = (
    *("dataset", "pending", "running", "failed", "loaded", "quarantined"),
    *("superseded", "duplicate", "unmatched", "rows", "rejected", "oldest waiting", "last load"),
)


def status_rows(datasets: list[DatasetStatus]) -> list[tuple[object, ...]]:
    """One row a dataset, as `STATUS_COLUMNS`."""
    now = clock.now()
    return [
        (
            one.dataset or "(no contract)",
            one.pending,
            one.running,
            one.failed,
            one.loaded,
            one.quarantined,
            one.superseded,
            one.duplicate,
            one.unmatched,
            one.rows_loaded,
            one.rows_rejected,
            ago(one.oldest_waiting_at, now),
            f"{ago(one.last_loaded_at, now)} ago" if one.last_loaded_at else "",
        )
        for one in datasets
    ]


def _print_status(datasets: list[DatasetStatus]) -> None:
    print_table(STATUS_COLUMNS, status_rows(datasets), "Nothing was uploaded yet.")


@explained
def objects(
    dataset: DatasetOption = None,
    state: Annotated[list[str] | None, typer.Option(help="Only this state; may be repeated.")] = None,
    prefix: PrefixOption = "",
    since: SinceOption = None,
    until: UntilOption = None,
    limit: Annotated[int, typer.Option(min=1, help="At most this many, oldest upload first.")] = 1_000,
    output: OutputOption = Output.TABLE,
) -> None:
    """List objects: every version of every file that was uploaded, with its state.

    [dim]Example:[/dim]  tidegate objects --dataset flights --state quarantined
    """
    from tidegate.ledger import open_ledger, queries
    from tidegate.settings import load_settings

    found = open_ledger(load_settings()).ask(
        queries.find,
        dataset=dataset,
        states=tuple(state or ()),
        prefix=prefix,
        since=moment(since),
        until=moment(until),
        limit=limit,
    )
    if output is Output.JSON:
        print_json([entry_document(entry) for entry in found])
        return
    print_table(
        ("key", "dataset", "state", "uploaded", "read", "loaded", "rejected", "reason"),
        [
            (
                *(entry.key, entry.dataset, entry.state, entry.uploaded_at),
                *(entry.rows_read, entry.rows_loaded, entry.rows_rejected, entry.reason),
            )
            for entry in found
        ],
        "No such objects.",
    )


def entry_document(entry: ObjectEntry) -> dict[str, Any]:
    """An object as JSON has it."""
    document: dict[str, Any] = json_value(entry)
    obj = document.pop("object")
    return {**document, "store": obj.store, "bucket": obj.bucket, "etag": obj.etag}


@explained
def why(
    key: Annotated[str, typer.Argument(help="A key, a URL, an object id, or the end of a key.")],
    output: OutputOption = Output.TABLE,
) -> None:
    """Tell the whole story of a file: every event, decision, count and run.

    [dim]Example:[/dim]  tidegate why flights/flights-2013-01-09.csv

    When several versions of the key were uploaded, all are told, the oldest first.
    """
    from tidegate.operations.why import tell_why
    from tidegate.settings import load_settings

    stories = tell_why(load_settings(), key)
    if output is Output.JSON:
        print_json([_story_document(story) for story in stories])
        return
    for story in stories:
        _print_story(story)


def _story_document(story: Story) -> dict[str, Any]:
    return {
        **entry_document(story.entry),
        "flow_run_url": story.flow_run_url,
        "seconds": story.seconds,
        "events": [event.to_cloudevent() for event in story.events],
    }


def _print_story(story: Story) -> None:
    entry, out = story.entry, console()
    out.print(entry.url)
    facts: list[tuple[str, object]] = [
        ("state", entry.state),
        ("reason", entry.reason),
        ("dataset", entry.dataset),
        ("contract", entry.contract_version),
        ("version", entry.version),
        ("size", entry.size),
        ("rows read", entry.rows_read),
        ("rows loaded", entry.rows_loaded),
        ("rows rejected", entry.rows_rejected),
        ("rows duplicate", entry.rows_duplicate),
        ("run", story.flow_run_url or entry.flow_run_id),
        ("object id", entry.object_id),
    ]
    print_table(("", ""), [fact for fact in facts if fact[1] not in (None, "")])
    if story.seconds:
        spent = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in story.seconds.items())
        out.print(f"Time: {spent}")
    print_table(
        ("time", "event", "what"),
        [
            (event.time.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3], event.type.verb, _told(event.data))
            for event in story.events
        ],
    )
    out.print()


def _told(data: dict[str, Any]) -> str:
    hidden = {"store", "bucket", "key", "etag", "sequencer", "at", "table"}
    parts = [
        f"{name}={value}"
        for name, value in data.items()
        if name not in hidden and value not in (None, "", [], {})
    ]
    return " ".join(parts)
