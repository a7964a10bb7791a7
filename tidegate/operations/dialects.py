"""Compare how the objects of a batch are written with the objects of the dataset before them."""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Any

from tidegate.ledger.dialects import loaded_dialects
from tidegate.stages.dialects import Feed, recorded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tidegate.ledger import ClaimedObject
    from tidegate.operations.project import Project
    from tidegate.stages.model import Verdict

log = logging.getLogger(__name__)


def compared(
    project: Project, dataset: str, objects: Sequence[ClaimedObject], passed: Mapping[str, Verdict]
) -> dict[str, dict[str, Any]]:
    """What the event of each object that passed says of its dialect, by object id.

    Objects stand in order of upload, loaded ones and those of the batch alike.
    """
    said: dict[str, dict[str, Any]] = {
        object_id: {"dialect": recorded(verdict)} for object_id, verdict in passed.items() if verdict.dialect
    }
    places = [(one.object.uploaded_at, one.object.object_id) for one in objects]
    batch = deque(sorted(place for place in places if place[1] in said))
    if not batch:
        return said
    feed = Feed()

    def take(object_id: str) -> None:
        dialect = said[object_id]["dialect"]
        if changes := feed.differences(dialect):
            said[object_id]["dialect_changes"] = changes
        feed.add(dialect)

    with project.ledger.reading() as connection:
        for moment, object_id, dialect in loaded_dialects(connection, dataset, batch[0][0], batch[-1][0]):
            while batch and batch[0] < (moment, object_id):
                take(batch.popleft()[1])
            feed.add(dialect)
    for _, object_id in batch:
        take(object_id)
    return said


def warn(objects: Sequence[ClaimedObject], said: Mapping[str, Mapping[str, Any]]) -> None:
    """Log the changes; once more when a stage is tried again."""
    for one in objects:
        if changes := said.get(one.object.object_id, {}).get("dialect_changes"):
            log.warning(
                "%s is written otherwise than the objects before it: %s",
                one.object.url,
                "; ".join(changes),
                extra={"action": "dialect_changed"},
            )
