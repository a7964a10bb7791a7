"""What is held, whole objects and single rows: found, redriven after a fix, or discarded."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tidegate import clock
from tidegate.errors import UsageError
from tidegate.ledger import queries
from tidegate.operations import reports
from tidegate.operations.summary import count_of
from tidegate.warehouse import HeldSelection

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from tidegate.ledger import ObjectEntry
    from tidegate.operations.project import Project
    from tidegate.warehouse import HeldLine

#: States in which an object with held rows may be; one at work is being taken up already.
_AT_REST = ("loaded", "quarantined", "failed")
_CHUNK = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """Which held objects and rows; every field narrows."""

    dataset: str | None = None
    #: what a person calls an object: its key, URL, id or the end of its key
    object: str | None = None
    #: a broken rule, of a row or of the object as a whole; its name alone is enough
    rule: str | None = None
    #: the version that they were held under
    contract_version: str | None = None
    #: held at or after
    since: datetime | None = None
    #: held before
    until: datetime | None = None
    #: what was discarded instead of what is held
    discarded: bool = False

    @property
    def is_everything(self) -> bool:
        return replace(self, discarded=False) == Selection()


@dataclass(frozen=True, slots=True)
class Held:
    """An object that is held as a whole, or has rows that are."""

    entry: ObjectEntry
    #: whether it is held as a whole
    whole: bool
    #: the rule for which it is held as a whole, where one was told
    rule: str
    #: its chosen rows, by rule and column
    lines: tuple[HeldLine, ...]

    @property
    def rows(self) -> int:
        """Records that are held; all of the object when it is held as a whole."""
        if self.whole:
            return self.entry.rows_read or 0
        return self.lines[0].rows_of_object if self.lines else 0


@dataclass(slots=True)
class Plan:
    """What a redrive or discard takes, and what it leaves and why."""

    held: list[Held] = field(default_factory=list)
    #: reason -> number of objects
    skipped: dict[str, int] = field(default_factory=dict)

    @property
    def objects(self) -> list[Held]:
        return [one for one in self.held if one.whole]

    @property
    def with_rows(self) -> list[Held]:
        return [one for one in self.held if not one.whole]

    @property
    def rows(self) -> int:
        return sum(one.rows for one in self.with_rows)

    def sentence(self) -> str:
        """``2 objects and 31 rows of 4 others``, for messages; "Nothing" where there is none."""
        whole, partly = len(self.objects), len(self.with_rows)
        parts = [count_of(whole)] if whole else []
        if partly:
            parts.append(
                f"{count_of(self.rows, 'row')} of {count_of(partly, 'other' if whole else 'object')}"
            )
        return " and ".join(parts) or "Nothing"

    def skip(self, reason: str) -> None:
        self.skipped[reason] = self.skipped.get(reason, 0) + 1


def find(project: Project, selection: Selection) -> list[Held]:
    """What is held (or was discarded), oldest upload first. UsageError for an unknown object."""
    ids = _ids(project, selection)
    lines: defaultdict[str, list[HeldLine]] = defaultdict(list)
    for line in project.warehouse.held(_rows_of(selection, ids)):
        lines[line.object_id].append(line)
    found = [*_whole(project, selection, ids, lines)]
    standing = [object_id for object_id, mine in lines.items() if any(line.standing for line in mine)]
    for object_id, entry in project.ledger.ask(queries.by_id, standing).items():
        found.append(Held(entry, whole=False, rule="", lines=tuple(lines[object_id])))
    return sorted(found, key=lambda one: (one.entry.uploaded_at, one.entry.key, one.entry.object_id))


def rules(project: Project, selection: Selection) -> list[str]:
    """The rules that the selection could name, which may have one that nothing is held for."""
    found = find(project, replace(selection, rule=None))
    told = {line.rule for one in found for line in one.lines}
    return sorted(told | {one.rule for one in found if one.rule})


def plan_redrive(project: Project, selection: Selection) -> Plan:
    """What a redrive would take up now. Changes nothing."""
    plan = Plan()
    for one in find(project, selection):
        if one.entry.dataset is None or one.entry.dataset not in project.registry:
            plan.skip(f"no data contract declares the dataset {one.entry.dataset}")
        elif one.entry.state in {"pending", "running"}:
            plan.skip("is taken up already")
        else:
            plan.held.append(one)
    return plan


def redrive(project: Project, selection: Selection, requested_by: str) -> Plan:
    """Send what is held through `ingest` again, under today's contract; good rows stay as they are.

    Every held row of a chosen object is tried, also those that broke another rule. Doing it twice
    takes nothing up twice.
    """
    plan = plan_redrive(project, selection)
    states = (*_AT_REST, "discarded") if selection.discarded else _AT_REST
    if selection.discarded and plan.with_rows:
        ids = tuple(one.entry.object_id for one in plan.with_rows)
        project.warehouse.restore(_rows_of(selection, ids))
    datasets = {one.entry.object_id: one.entry.dataset or "" for one in plan.held}
    for chunk in _chunks(list(datasets)):
        project.ledger.reopen(
            {object_id: datasets[object_id] for object_id in chunk},
            clock.now(),
            requested_by=requested_by,
            states=states,
            redrive=True,
        )
    return plan


def plan_discard(project: Project, selection: Selection) -> Plan:
    """What a discard would close now. Changes nothing."""
    plan = Plan()
    for one in find(project, replace(selection, discarded=False)):
        if one.entry.state in {"pending", "running"}:
            plan.skip("is being processed again")
        else:
            plan.held.append(one)
    return plan


def discard(project: Project, selection: Selection, *, by: str, reason: str) -> Plan:
    """Decide that what is held will not be loaded; counts go on saying rejected.

    A record is discarded with all of its reasons, an object that is held as a whole as a whole.
    """
    plan = plan_discard(project, selection)
    rows = tuple(one.entry.object_id for one in plan.with_rows)
    whole = tuple(one.entry.object_id for one in plan.objects)
    # The ledger last: killed in between, the objects are still found and discarded the next time.
    if rows:
        chosen = _rows_of(replace(selection, discarded=False), rows)
        project.warehouse.discard(chosen, by=by, note=reason)
    if whole:
        project.warehouse.discard(HeldSelection(object_ids=whole), by=by, note=reason)
        for chunk in _chunks(list(whole)):
            project.ledger.discard(chunk, by=by, reason=f"Discarded by {by}: {reason}")
    reports.rewrite(project, [one.entry for one in plan.with_rows])
    return plan


def _ids(project: Project, selection: Selection) -> tuple[str, ...] | None:
    if selection.object is None:
        return None
    found = project.ledger.ask(queries.by_name, selection.object)
    if not found:
        msg = f"The ledger knows no object {selection.object}. `tidegate quarantine ls` lists what is held."
        raise UsageError(msg)
    return tuple(entry.object_id for entry in found)


def _rows_of(selection: Selection, ids: Sequence[str] | None) -> HeldSelection:
    return HeldSelection(
        dataset=selection.dataset,
        object_ids=None if ids is None else tuple(ids),
        rule=selection.rule,
        contract_version=selection.contract_version,
        since=selection.since,
        until=selection.until,
        discarded=selection.discarded,
    )


def _whole(
    project: Project,
    selection: Selection,
    ids: Sequence[str] | None,
    lines: dict[str, list[HeldLine]],
) -> Iterator[Held]:
    """Objects held as a whole, for the chosen reason or with rows that are."""
    state = "discarded" if selection.discarded else "quarantined"
    entries = project.ledger.ask(queries.find, dataset=selection.dataset, states=(state,))
    rules = project.ledger.ask(queries.broken_rules, [entry.object_id for entry in entries])
    for entry in entries:
        if ids is not None and entry.object_id not in ids:
            continue
        mine = lines.pop(entry.object_id, [])
        rule = rules.get(entry.object_id, "")
        if mine or _fits(entry, rule, selection):
            yield Held(entry, whole=True, rule=rule, lines=tuple(mine))


def _fits(entry: ObjectEntry, rule: str, selection: Selection) -> bool:
    held_at = entry.finished_at or entry.recorded_at
    return (
        (selection.rule in {None, rule} or rule.startswith(f"{selection.rule}("))
        and selection.contract_version in {None, entry.contract_version}
        and (selection.since is None or held_at >= selection.since)
        and (selection.until is None or held_at < selection.until)
    )


def _chunks(values: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(values), _CHUNK):
        yield values[start : start + _CHUNK]
