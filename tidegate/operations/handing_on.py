"""What one stage hands the next: not the verdicts, but where they are noted (a claim check)."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, TypedDict

from tidegate.errors import StagingUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tidegate.events import EventType
    from tidegate.ledger import Batch
    from tidegate.operations.project import Project
    from tidegate.stages import Verdict


class Reference(TypedDict):
    """The verdicts of a stage on the objects of a batch, small enough for any place."""

    batch: str
    #: what the stage does, such as ``validated``
    stage: str
    contract_version: str
    objects: int
    #: the same only for the same verdicts
    digest: str


def refer(project: Project, batch: Batch, stage: EventType, verdicts: Iterable[Verdict]) -> Reference:
    """The reference to verdicts that the stage has noted."""
    verdicts = list(verdicts)
    return Reference(
        batch=batch.id,
        stage=stage.verb,
        contract_version=project.registry[batch.dataset].version,
        objects=len(verdicts),
        digest=_digest(verdicts),
    )


def look_up(project: Project, batch: Batch, reference: Reference) -> list[Verdict]:
    """The verdicts that a reference stands for, in the batch's order.

    Raises StagingUnavailableError when not all of them are there as they were.
    """
    staging = project.staging(batch.id)
    notes = staging.notes(reference["stage"], reference["contract_version"])
    keys = [(one.object.object_id, one.attempt) for one in batch.objects]
    verdicts = [notes[key] for key in keys if key in notes]
    if _digest(verdicts) != reference["digest"]:
        msg = (
            f"What was staged of the {reference['objects']} objects that were {reference['stage']} is not in "
            f"{staging.folder} any more. Remove that folder and retry the run: it begins anew."
        )
        raise StagingUnavailableError(msg)
    return verdicts


def _digest(verdicts: Iterable[Verdict]) -> str:
    names = ("object_id", "attempt", "state", "contract_version", "rows")
    lines = (" ".join(str(getattr(verdict, name)) for name in names) for verdict in verdicts)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:32]
