"""status, objects, why: what became of what was dropped."""

from __future__ import annotations

from datetime import timedelta
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
    cell,
    console,
    explained,
    json_value,
    moment,
    print_json,
    print_table,
)
from tidegate.cli.progress import print_progress

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tidegate.ledger import DatasetStatus, ObjectEntry
    from tidegate.ledger.dialects import DialectChange
    from tidegate.ledger.progress import Progress
    from tidegate.operations.why import Story
    from tidegate.warehouse import HeldRecord

PrefixOption = Annotated[str, typer.Option(help="Only keys that begin with this.")]
DatasetOption = Annotated[str | None, typer.Option(help="Only this dataset.")]
SinceOption = Annotated[
    str | None, typer.Option(help="Uploaded at or after, such as 2026-01-31 or 2026-01-31T13:45:00Z.")
]
UntilOption = Annotated[str | None, typer.Option(help="Uploaded before.")]


@explained
def status(output: OutputOption = Output.TABLE) -> None:
    """Show each dataset: what waits, runs, is loaded and is quarantined.

    A dataset whose files were written otherwise than before within the last week is warned of, and
    what holds the work up when nothing runs and something is pending for more than a minute.

    [dim]Example:[/dim]  tidegate status

    Exit code 3 when something is quarantined, 1 when something failed.
    """
    from tidegate.ledger import open_ledger, queries
    from tidegate.ledger.dialects import dialect_changes
    from tidegate.ledger.progress import at_work
    from tidegate.operations.running import running
    from tidegate.settings import load_settings

    settings = load_settings()
    ledger = open_ledger(settings)
    datasets = ledger.ask(queries.status)
    changes = {one.dataset: one for one in ledger.ask(dialect_changes)}
    runs = ledger.ask(at_work)
    system = running(settings)
    if output is Output.JSON:
        print_json([_status_document(one, changes, runs) for one in datasets])
    else:
        _print_status(datasets)
        print_progress(runs)
        _print_changes(changes.values())
        where = f"Prefect UI: {system.ui_url}" if system else "Not running. Start it with: tidegate up"
        console().print(where)
    for process in system.failing if system else []:
        # On stderr, so that a program that reads the JSON sees it too.
        told = f"Trouble: {process.name} {process.detail}, again and again. Log: {process.log}"
        console(stderr=True).print(told, soft_wrap=True)
    if system and (system.failing or _is_held_up(datasets)):
        from tidegate.operations.held_up import what_holds_up

        console(stderr=True).print(f"Held up: {what_holds_up(settings)}", soft_wrap=True)
    raise typer.Exit(_verdict(datasets))


def _is_held_up(datasets: list[DatasetStatus]) -> bool:
    """Something is pending for long, and nothing is at work that it could be waiting for."""
    from tidegate.operations.held_up import waits_long

    waiting = [one for one in datasets if one.pending and waits_long(one.oldest_waiting_at)]
    return bool(waiting) and not any(one.running for one in datasets)


def _status_document(
    one: DatasetStatus, changes: dict[str, DialectChange], told: list[Progress]
) -> dict[str, Any]:
    change = changes.get(one.dataset or "")
    return {
        **json_value(one),
        "dialect_changed": json_value(change) if change else None,
        "progress": [json_value(run) for run in told if run.dataset == one.dataset],
    }


#: How long `status` warns of a change; JSON tells the last one however old it is.
_NEWS = timedelta(days=7)


def _print_changes(changes: Iterable[DialectChange]) -> None:
    now = clock.now()
    for one in changes:
        if now - one.validated_at < _NEWS:
            console().print(
                f"Warning: {one.dataset}: {one.key}, read {ago(one.validated_at, now)} ago, is written "
                f"otherwise than the objects before it: {'; '.join(one.changes)}.",
                soft_wrap=True,
            )


def _verdict(datasets: list[DatasetStatus]) -> int:
    if any(one.failed for one in datasets):
        return FAILED
    return QUARANTINED if any(one.quarantined for one in datasets) else DONE


STATUS_COLUMNS = (
    *("dataset", "pending", "running", "failed", "loaded", "quarantined"),
    *("discarded", "superseded", "duplicate", "unmatched", "ignored"),
    *("rows", "rejected", "oldest waiting", "last load"),
)
#: Columns that are left out while they hold nothing but zeros.
_RARE = (
    *("failed", "discarded", "superseded", "duplicate", "unmatched", "ignored"),
    *("rejected", "oldest waiting"),
)


def status_table(datasets: list[DatasetStatus]) -> tuple[list[str], list[list[object]]]:
    """Columns and rows worth showing: a column of nothing but zeros says nothing."""
    rows = status_rows(datasets)
    shown = [
        index
        for index, name in enumerate(STATUS_COLUMNS)
        if name not in _RARE or any(row[index] not in (0, "") for row in rows)
    ]
    return [STATUS_COLUMNS[index] for index in shown], [[row[index] for index in shown] for row in rows]


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
            one.discarded,
            one.superseded,
            one.duplicate,
            one.unmatched,
            one.ignored,
            one.rows_loaded,
            one.rows_rejected,
            ago(one.oldest_waiting_at, now),
            f"{ago(one.last_loaded_at, now)} ago" if one.last_loaded_at else "",
        )
        for one in datasets
    ]


def _print_status(datasets: list[DatasetStatus]) -> None:
    columns, rows = status_table(datasets)
    print_table(columns, rows, "Nothing was uploaded yet.")


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
        "held": story.held,
        "held_up": story.held_up or None,
        "events": [event.to_cloudevent() for event in story.events],
    }


def _print_story(story: Story) -> None:
    entry, out = story.entry, console()
    out.print(entry.url, soft_wrap=True)
    facts = [
        ("state", entry.state),
        ("reason", entry.reason),
        ("held up", story.held_up),
        ("dataset", entry.dataset),
        ("contract", entry.contract_version),
        ("version", entry.version),
        ("bytes", cell(entry.size)),
        ("rows", _rows(entry)),
        ("dialect", _dialect(entry.dialect)),
        ("changed", "; ".join(entry.dialect_changes or ())),
        ("report", entry.report),
        ("run", story.flow_run_url or entry.flow_run_id),
        ("object id", entry.object_id),
        ("time", ", ".join(f"{name} {seconds:.2f} s" for name, seconds in story.seconds.items())),
    ]
    for name, value in facts:
        if value:
            out.print(f"  {name:<10} {value}", soft_wrap=True)
    for event in story.events:
        out.print(
            f"  {event.time:%Y-%m-%d %H:%M:%S}.{event.time.microsecond // 1000:03} "
            f"{event.type.verb:<12} {_told(event.data)}".rstrip(),
            soft_wrap=True,
        )
    if story.trouble:
        out.print(f"  Its held rows can't be shown: {story.trouble}", soft_wrap=True)
    if story.held:
        more = (entry.rows_rejected or 0) > len(story.held)
        out.print(f"  {'The first of its' if more else 'Its'} held rows:", soft_wrap=True)
        print_records(story.held)
        if more:
            out.print(f"  All of them: tidegate quarantine export {entry.object_id}", soft_wrap=True)
    out.print()


def print_records(records: list[HeldRecord]) -> None:
    """Held records for people: where each stands, what is wrong with it, and its text."""
    from tidegate.quarantine import sentence
    from tidegate.stages.sentences import one_line

    out = console()
    for record in records:
        place = f"line {record.line}" if record.line is not None else f"record {record.record}"
        for reason in record.reasons:
            out.print(f"    {place}: {sentence(reason)}", soft_wrap=True)
        if record.raw is not None:
            out.print(f"      {one_line(record.raw)}", soft_wrap=True)


#: Of an event's data, what stands above already or is of use to programs only.
_NOT_TOLD = frozenset(
    {
        *("store", "bucket", "key", "etag", "sequencer", "at", "table", "version", "size", "others"),
        *("staged", "flow_run_id", "contract_version", "content_sha256", "references"),
        *("dialect", "dialect_changes"),
    }
)


def _rows(entry: ObjectEntry) -> str:
    if entry.rows_read is None:
        return ""
    parts = [
        f"{count:,} {name}"
        for name, count in (
            ("loaded", entry.rows_loaded),
            ("rejected", entry.rows_rejected),
            ("duplicate", entry.rows_duplicate),
        )
        if count
    ]
    return f"{entry.rows_read:,} read" + (f" = {' + '.join(parts)}" if parts else "")


def _dialect(dialect: dict[str, Any] | None) -> str:
    """How a file is written, without what goes without saying."""
    if dialect is None:
        return ""
    marks = {"\t": "tab", " ": "blank", "\r\n": "CRLF", "\n": "LF", "\r": "CR"}
    parts = [
        dialect["encoding"] + (" with byte order mark" if dialect["byte_order_mark"] else ""),
        f"delimiter {marks.get(dialect['delimiter'], dialect['delimiter'])}",
        f"quote {dialect['quote'] or 'none'}",
        f"escape {dialect['escape']}" if dialect["escape"] else "",
        f"line end {marks.get(dialect['line_end'], dialect['line_end'])}" if dialect["line_end"] else "",
        dialect["compression"] if dialect["compression"] != "none" else "",
        f"preamble lines {dialect['preamble_lines']}" if dialect["preamble_lines"] else "",
    ]
    return ", ".join(part for part in parts if part)


def _told(data: dict[str, Any]) -> str:
    parts = []
    for name, value in data.items():
        if name in _NOT_TOLD or value in (None, "", [], {}, 0):
            continue
        if isinstance(value, dict):
            told = " ".join(f"{key}={count}" for key, count in value.items() if count)
            parts.append(f"{name}: {told}" if told else "")
        else:
            parts.append(f"{name}={value}")
    return " ".join(part for part in parts if part)
