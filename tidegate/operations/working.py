"""How a stage works on the objects of a batch: small ones together, the others one by one.

What goes wrong with one object is told of that object alone, whichever way it was worked on.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tidegate import clock
from tidegate.errors import (
    ObjectsLeftError,
    RetryableError,
    StagingUnavailableError,
    TidegateError,
    writable,
)
from tidegate.events import Event, EventType
from tidegate.events.model import event_id, iso
from tidegate.operations import dialects
from tidegate.stages.model import Verdict, VerdictState
from tidegate.stages.staging import file_and_part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from tidegate.ledger import Batch, ClaimedObject
    from tidegate.operations.project import Project

    Note = Callable[[Iterable[Verdict]], object]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Work:
    """What a stage does."""

    stage: EventType
    #: parts off objects that can be worked on at once
    groups: Callable[[Sequence[ClaimedObject]], Iterable[Sequence[ClaimedObject]]]
    #: what came of each object of a group, by object id; one left out is worked on alone
    together: Callable[[Sequence[ClaimedObject]], Mapping[str, Verdict | Exception]]
    alone: Callable[[ClaimedObject], Verdict]


def going_on(
    stage: EventType,
    verdicts: Sequence[Verdict],
    *,
    together: Callable[[Sequence[Verdict]], Mapping[str, Verdict | Exception]],
    alone: Callable[[Verdict], Verdict],
) -> Work:
    """Work on what passed the stage before; what is held or gone is handed on as it is."""
    before = {verdict.object_id: verdict for verdict in verdicts}

    def shared_file(verdict: Verdict) -> str | None:
        if verdict.state is not VerdictState.PASSED or verdict.rows is None:
            return None
        file, number = file_and_part(verdict.rows)
        return file if number is not None else None

    def groups(objects: Sequence[ClaimedObject]) -> Iterable[Sequence[ClaimedObject]]:
        by_file: dict[str, list[ClaimedObject]] = {}
        for one in objects:
            file = shared_file(before[one.object.object_id])
            if file is not None:
                by_file.setdefault(file, []).append(one)
        return by_file.values()

    def go_on(one: ClaimedObject) -> Verdict:
        verdict = before[one.object.object_id]
        if verdict.state is not VerdictState.PASSED:
            return verdict
        if shared_file(verdict) is None:
            return alone(verdict)
        found = together([verdict])[verdict.object_id]
        if isinstance(found, Exception):
            raise found
        return found

    return Work(
        stage,
        groups=groups,
        together=lambda group: together([before[one.object.object_id] for one in group]),
        alone=go_on,
    )


def carry_out(project: Project, batch: Batch, before: Mapping[str, Verdict], work: Work) -> list[Verdict]:
    """Do a stage's work on the objects in `before`, and tell what was done; their verdicts.

    What the stage has noted before is taken as it is. Raises ObjectsLeftError after the others are
    done when something passing stood in the way of some.
    """
    contract = project.registry[batch.dataset]
    staging = project.staging(batch.id)
    noted = staging.notes(work.stage.verb, contract.version)
    objects = [one for one in batch.objects if one.object.object_id in before]
    found = {
        one.object.object_id: noted[key]
        for one in objects
        if (key := (one.object.object_id, one.attempt)) in noted
    }
    todo = [one for one in objects if one.object.object_id not in found]
    stage = _Stage(work, before, found)
    if todo:
        with staging.noting(work.stage.verb, contract.version) as note:
            stage.carry_out(todo, note)
    verdicts = [found[one.object.object_id] for one in objects if one.object.object_id in found]
    _tell(project, batch, objects, verdicts, work.stage)
    if stage.trouble:
        url, first = next(iter(stage.trouble.items()))
        left = f"{len(stage.trouble)} of {len(objects)} objects"
        raise ObjectsLeftError(f"{left} could not be {work.stage.verb}. The first, {url}: {first}")
    return verdicts


@dataclass
class _Stage:
    """A stage at work."""

    work: Work
    before: Mapping[str, Verdict]
    #: verdicts by object id; grows
    found: dict[str, Verdict]
    #: passing trouble, by URL
    trouble: dict[str, RetryableError] = field(default_factory=dict)

    def carry_out(self, todo: Sequence[ClaimedObject], note: Note) -> None:
        for group in self.work.groups(todo):
            try:
                self._together(group, note)
            except RetryableError as error:
                self.trouble |= {one.object.url: error for one in group}
        for one in todo:
            if one.object.object_id in self.found or one.object.url in self.trouble:
                continue
            try:
                self._alone(one, note)
            except RetryableError as error:
                self.trouble[one.object.url] = error

    def _together(self, group: Sequence[ClaimedObject], note: Note) -> None:
        """Work on a group; whatever is not settled afterwards is to be worked on alone."""
        verdicts: dict[str, Verdict] = {}
        with _on_disk(group[0], len(group)):
            try:
                results = self.work.together(group)
                for one in group:
                    result = results.get(one.object.object_id)
                    if isinstance(result, RetryableError):
                        self.trouble[one.object.url] = result
                    elif isinstance(result, Exception):
                        verdicts[one.object.object_id] = self._held(one, result)
                    elif result is not None:
                        verdicts[one.object.object_id] = result
                note(verdicts.values())
            except (RetryableError, OSError):
                raise
            except Exception:
                log.exception(
                    "%d objects are taken one by one", len(group), extra={"action": "group_taken_apart"}
                )
                return
        self.found |= verdicts

    def _alone(self, one: ClaimedObject, note: Note) -> None:
        """Work on one object; what goes wrong with its data holds this object alone.

        Rows that were refused so far are told all the same.

        The contract as such was tried on a table without rows before anything was claimed.
        """
        with _on_disk(one):
            try:
                verdict = self.work.alone(one)
                note([verdict])
            except (RetryableError, OSError):
                raise
            except Exception as error:  # noqa: BLE001 - logged with the object it is told of
                verdict = self._held(one, error)
                note([verdict])
        self.found[one.object.object_id] = verdict

    def _held(self, one: ClaimedObject, error: Exception) -> Verdict:
        log.error("%s is held", one.object.url, exc_info=error, extra={"action": "object_held"})
        said = str(error) if isinstance(error, TidegateError) else f"{type(error).__name__}: {error}"
        held = {
            "state": VerdictState.HELD,
            "rule": "contract",
            "reason": writable(said[:2_000]),
            "rows": None,
        }
        return self.before[one.object.object_id].model_copy(update=held)


@contextmanager
def _on_disk(one: ClaimedObject, objects: int = 1) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        others = f" and {objects - 1} more" if objects > 1 else ""
        msg = f"{one.object.url}{others} could not be staged: {error}. See to the disk of the state folder."
        raise StagingUnavailableError(msg) from error


def nothing_read(one: ClaimedObject, version: str) -> Verdict:
    """The verdict on an object before its first stage."""
    return Verdict(
        object_id=one.object.object_id,
        attempt=one.attempt,
        state=VerdictState.PASSED,
        contract_version=version,
    )


def _tell(
    project: Project,
    batch: Batch,
    objects: Sequence[ClaimedObject],
    verdicts: Sequence[Verdict],
    stage: EventType,
) -> None:
    """Append the completion event of each object that passed the stage."""
    done = {verdict.object_id: verdict for verdict in verdicts if verdict.rows is not None}
    said = dialects.compared(project, batch.dataset, objects, done) if stage is EventType.VALIDATED else {}
    project.ledger.append(
        [
            _completion(batch, one, done[one.object.object_id], stage, said.get(one.object.object_id, {}))
            for one in objects
            if one.object.object_id in done
        ]
    )
    dialects.warn(objects, said)


def _completion(
    batch: Batch, one: ClaimedObject, verdict: Verdict, stage: EventType, said: Mapping[str, object]
) -> Event:
    data: dict[str, object] = {
        "contract_version": verdict.contract_version,
        "staged": f"{batch.id}/{verdict.rows}",
        "flow_run_id": batch.id,
    }
    if stage is EventType.VALIDATED:
        data |= {**said} | {
            "content_sha256": verdict.content_sha256,
            "rows_read": verdict.rows_read,
            "rows_valid": verdict.rows_valid,
            "rows_rejected": verdict.rows_rejected,
        }
    if stage is EventType.ENRICHED:
        data |= {
            "references": verdict.references,
            "rows_unmatched": verdict.unmatched,
            "rows_valid": verdict.rows_valid,
            "rows_rejected": verdict.rows_rejected,
        }
    moment = clock.now()
    return Event(
        # A batch may validate an object anew in a later run; each run's completion is a fact.
        id=event_id(stage, one.object.object_id, one.attempt, batch.id),
        type=stage,
        time=moment,
        subject=one.object.url,
        dataset=batch.dataset,
        object_id=one.object.object_id,
        correlation_id=one.correlation_id,
        causation_id=one.correlation_id,
        traceparent=one.traceparent,
        attempt=one.attempt,
        data={**data, "at": iso(moment)},
    )
