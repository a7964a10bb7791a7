"""quarantine: what is held, why, and what is to become of it."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidegate import clock
from tidegate.cli.objects import DatasetOption, entry_document, print_records
from tidegate.cli.output import (
    Output,
    OutputOption,
    console,
    explained,
    json_value,
    moment,
    print_json,
    print_table,
    shortened,
)
from tidegate.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from tidegate.operations.project import Project
    from tidegate.operations.quarantine import Held, Plan, Selection
    from tidegate.warehouse import HeldRecord

quarantine = typer.Typer(
    no_args_is_help=True, help="Work on held objects and rows: look, export, redrive, discard."
)

# A list, so that a second one is not dropped in silence.
ObjectOption = Annotated[
    list[str] | None,
    typer.Option("--object", help="Only this object: a key, a URL, an id or the end of a key."),
]
RuleOption = Annotated[str | None, typer.Option(help="Only what broke this rule; its name is enough.")]
VersionOption = Annotated[str | None, typer.Option(help="Only what was held under this contract version.")]
OlderOption = Annotated[
    str | None, typer.Option(help="Only what is held longer than this, such as 2d or 6h.")
]
HeldSinceOption = Annotated[
    str | None, typer.Option(help="Only what was held at or after this time, such as 2026-01-31.")
]
DiscardedOption = Annotated[bool, typer.Option("--discarded", help="What was discarded, not what is held.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]

_UNITS = {"s": "seconds", "m": "minutes", "min": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@quarantine.command("ls")
@explained
def ls(  # noqa: PLR0913, PLR0917 - every option narrows
    dataset: DatasetOption = None,
    object_: ObjectOption = None,
    rule: RuleOption = None,
    contract_version: VersionOption = None,
    older_than: OlderOption = None,
    since: HeldSinceOption = None,
    discarded: DiscardedOption = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """List what is held: whole objects, and rows by object and broken rule.

    [dim]Example:[/dim]  tidegate quarantine ls --dataset flights --older-than 2d
    """
    from tidegate.operations.quarantine import find

    selection = _selection(dataset, object_, rule, contract_version, older_than, since, discarded=discarded)
    project = _project()
    lines = [line for one in find(project, selection) for line in _lines(one)]
    if output is Output.JSON:
        print_json(lines)
        return
    columns = ("dataset", "object", "held", "rule", "column", "rows", "contract", "since")
    print_table(
        columns,
        [
            (
                *(line["dataset"], line["key"], line["kind"]),
                *(shortened(line["rule"] or ""), line["column"]),
                *(line["rows"], line["contract_version"], line["oldest"]),
            )
            for line in lines
        ],
        _nothing(project, selection) if not lines else "",
    )


@quarantine.command("show")
@explained
def show(
    key: Annotated[str, typer.Argument(help="A key, a URL, an object id, or the end of a key.")],
    rule: RuleOption = None,
    limit: Annotated[int, typer.Option(min=1, help="At most this many rows of an object.")] = 20,
    discarded: DiscardedOption = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show what is held of one file: the reasons, then row by row where and what.

    [dim]Example:[/dim]  tidegate quarantine show flights/flights-2013-01-09-bad-rows.csv
    """
    from tidegate.operations.quarantine import Selection, find
    from tidegate.warehouse import HeldSelection

    project = _project()
    shown = []
    selection = Selection(object=key, rule=rule, discarded=discarded)
    for one in find(project, selection):
        wanted = HeldSelection(object_ids=(one.entry.object_id,), rule=rule, discarded=discarded)
        shown.append((one, project.warehouse.held_records(wanted, limit=limit)))
    if output is Output.JSON:
        print_json([_shown_document(one, records) for one, records in shown])
        return
    for one, records in shown:
        _print_held(one, records, limit)
    if not shown:
        console().print(_nothing(project, selection), soft_wrap=True)


@quarantine.command("export")
@explained
def export(
    key: Annotated[
        str | None, typer.Argument(help="A key, a URL, an object id, or the end of a key.")
    ] = None,
    dataset: DatasetOption = None,
    to: Annotated[
        str | None, typer.Option(help="A folder; without it, the quarantine of the settings.")
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Write report.json and rejected.csv of what is held, to mend it or to send it back.

    [dim]Example:[/dim]  tidegate quarantine export --dataset flights --to reports

    In rejected.csv a cell that a spreadsheet would take for a formula begins with an apostrophe.
    """
    from tidegate.operations import reports
    from tidegate.operations.quarantine import Selection, find
    from tidegate.operations.summary import count_of

    if key is None and dataset is None:
        raise UsageError("Say what to export: a KEY, or --dataset.")
    project = _project()
    entries = [one.entry for one in find(project, Selection(object=key, dataset=dataset))]
    written = reports.export(project, entries, _folder(to))
    if output is Output.JSON:
        print_json(
            [
                {"key": one.entry.key, "version": one.entry.version, "report": one.url, "rows": one.rows}
                for one in written
            ]
        )
        return
    for one in written:
        console().print(one.url, soft_wrap=True)
    console().print(f"{count_of(len(written), 'report')} written.")


@quarantine.command("redrive")
@explained
def redrive(  # noqa: PLR0913, PLR0917 - every option narrows
    dataset: DatasetOption = None,
    object_: ObjectOption = None,
    rule: RuleOption = None,
    contract_version: VersionOption = None,
    older_than: OlderOption = None,
    since: HeldSinceOption = None,
    discarded: DiscardedOption = False,
    dry_run: DryRunOption = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Process what is held once more, under today's contract; good rows stay as they are.

    [dim]Example:[/dim]  tidegate quarantine redrive --dataset flights && tidegate wait

    All held rows of a chosen object are tried. With --discarded, what was discarded is taken up.
    """
    from tidegate.operations import quarantine as operation

    selection = _selection(dataset, object_, rule, contract_version, older_than, since, discarded=discarded)
    project = _project()
    if dry_run:
        plan = operation.plan_redrive(project, selection)
    else:
        plan = operation.redrive(project, selection, "tidegate quarantine redrive")
    _print_plan(plan, "would be taken up" if dry_run else "taken up", output, changed=not dry_run)
    if (rule or object_) and not plan.held and not plan.skipped and output is Output.TABLE:
        console().print(_nothing(project, selection), soft_wrap=True)


@quarantine.command("discard")
@explained
def discard(  # noqa: PLR0913, PLR0917 - every option narrows
    reason: Annotated[str, typer.Option(help="Why it will never be loaded; kept with it.")],
    dataset: DatasetOption = None,
    object_: ObjectOption = None,
    rule: RuleOption = None,
    contract_version: VersionOption = None,
    older_than: OlderOption = None,
    since: HeldSinceOption = None,
    everything: Annotated[bool, typer.Option("--all", help="All that is held.")] = False,
    dry_run: DryRunOption = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Decide that what is held will not be loaded, so that it no longer asks for attention.

    [dim]Example:[/dim]  tidegate quarantine discard --object orders/test.csv --reason "A test file."

    Undo it with `tidegate quarantine redrive --discarded`.
    """
    from tidegate.operations import quarantine as operation

    selection = _selection(dataset, object_, rule, contract_version, older_than, since)
    if selection.is_everything and not everything:
        raise UsageError(
            "Say what to discard (--dataset, --object, --rule, …), or --all for all that is held."
        )
    project = _project()
    if dry_run:
        plan = operation.plan_discard(project, selection)
    else:
        plan = operation.discard(project, selection, by=_user(), reason=reason)
    _print_plan(plan, "would be discarded" if dry_run else "discarded", output, changed=not dry_run)
    if (rule or object_) and not plan.held and not plan.skipped and output is Output.TABLE:
        console().print(_nothing(project, selection), soft_wrap=True)


def _project() -> Project:
    from tidegate.operations.project import open_project

    return open_project()


def _selection(
    dataset: str | None,
    object_: list[str] | None,
    rule: str | None,
    contract_version: str | None,
    older_than: str | None,
    since: str | None,
    *,
    discarded: bool = False,
) -> Selection:
    from tidegate.operations.quarantine import Selection

    if object_ is not None and len(object_) > 1:
        raise UsageError(
            "Give --object once, and run the command for each; or choose by --dataset or --rule."
        )
    return Selection(
        dataset=dataset,
        object=object_[0] if object_ else None,
        rule=rule,
        contract_version=contract_version,
        since=moment(since),
        until=clock.now() - _age(older_than) if older_than is not None else None,
        discarded=discarded,
    )


def _age(text: str) -> timedelta:
    found = re.fullmatch(r"(\d{1,6})\s*(s|min|m|h|d|w)", text.strip())
    if found is None:
        raise UsageError(f"{text!r} is not an age. Write it as 45min, 6h, 2d or 3w.")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def _folder(to: str | None) -> Path | None:
    from pathlib import Path

    return Path(to).absolute() if to is not None else None


def _user() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # an account without a name, as in some containers
        return "somebody"


def _lines(one: Held) -> list[dict[str, Any]]:
    entry = one.entry
    common = {
        "dataset": entry.dataset,
        "key": entry.key,
        "url": entry.url,
        "version": entry.version,
        "object_id": entry.object_id,
        "state": entry.state,
        "report": entry.report,
    }
    whole = {
        **common,
        "kind": "object",
        "rule": one.rule or None,
        "column": None,
        "rows": entry.rows_read,
        "contract_version": entry.contract_version,
        "oldest": entry.finished_at,
    }
    rows = [
        {
            **common,
            "kind": "rows",
            "rule": line.rule,
            "column": line.column,
            "rows": line.rows,
            "contract_version": line.contract_version,
            "oldest": line.oldest,
        }
        for line in one.lines
    ]
    return [whole, *rows] if one.whole else rows


def _shown_document(one: Held, records: list[HeldRecord]) -> dict[str, Any]:
    return {
        **entry_document(one.entry),
        "held": "object" if one.whole else "rows",
        "rule": one.rule or None,
        "reasons": [
            {name: line[name] for name in ("rule", "column", "rows", "contract_version", "oldest")}
            for line in _lines(one)
            if line["kind"] == "rows"
        ],
        "rejections": [json_value(record) for record in records],
    }


def _nothing(project: Project, selection: Selection) -> str:
    """That nothing was found, and what may be the cause: the object's state, or the rules that there are."""
    from tidegate.ledger import queries
    from tidegate.operations.quarantine import Selection, rules

    of = f" of {selection.object}" if selection.object else ""
    said = f"Nothing{of} {'was discarded' if selection.discarded else 'is held'}"
    if selection.rule is None:
        states = {one.state for one in project.ledger.ask(queries.by_name, selection.object or "")}
        alone = selection == Selection(object=selection.object, discarded=selection.discarded)
        return f"{said}: it is {states.pop()}." if alone and len(states) == 1 else f"{said}."
    there = ", ".join(map(shortened, rules(project, selection)))
    return f"{said} for the rule {selection.rule}. " + (
        f"There is: {there}." if there else "Nor for another."
    )


def _print_held(one: Held, records: list[HeldRecord], limit: int) -> None:
    from tidegate.operations.summary import count_of

    out, entry = console(), one.entry
    out.print(entry.url, soft_wrap=True)
    if one.whole:
        out.print(f"  held as a whole ({one.rule or entry.state}): {entry.reason}", soft_wrap=True)
    for line in one.lines:
        column = f" in {line.column}" if line.column else ""
        out.print(f"  {count_of(line.rows, 'row')}: {shortened(line.rule)}{column}", soft_wrap=True)
    if entry.report:
        out.print(f"  report: {entry.report}", soft_wrap=True)
    print_records(records)
    more = one.lines[0].rows_of_object - len(records) if one.lines else 0
    if more > 0:
        out.print(f"    … and {more:,} more; --limit {limit + more} shows all.", soft_wrap=True)
    out.print()


def _print_plan(plan: Plan, verb: str, output: Output, *, changed: bool) -> None:
    if output is Output.JSON:
        taken = [
            {**entry_document(one.entry), "held": "object" if one.whole else "rows", "rows": one.rows}
            for one in plan.held
        ]
        print_json({"objects": taken, "skipped": plan.skipped, "changed": changed})
        return
    if plan.held:
        print_table(
            ("dataset", "object", "held", "rows"),
            [
                (one.entry.dataset, one.entry.key, "object" if one.whole else "rows", one.rows)
                for one in plan.held
            ],
        )
    console().print(f"{plan.sentence()} {verb}.")
    for why, count in plan.skipped.items():
        console().print(f"{count} passed over: {why}.")
