"""Objects that were held for their control totals, and whose manifest came afterwards."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from tidegate import clock
from tidegate.errors import ObjectRejectedError
from tidegate.events import EventType
from tidegate.ledger import queries
from tidegate.ledger.statements import chunks

if TYPE_CHECKING:
    from tidegate.contracts import Contract
    from tidegate.ledger import ObjectEntry
    from tidegate.operations.project import Project

log = logging.getLogger(__name__)

#: Rules for which another manifest may make a difference; after a crash the rule may be unknown.
_RULES = ("manifest", "control_total", "")

#: After these events an object may be held whose manifest is there.
_MATTERS = (EventType.IGNORED, EventType.UNMATCHED, EventType.QUARANTINED, EventType.RETAINED)


def reopen_for_manifests(project: Project, since: int = -1) -> int:
    """Reopen what is held for its totals when its manifest was uploaded after it was claimed; how many.

    What is to be reopened stands in the ledger alone, so that asking late, again or after a crash
    gives the same. A new attempt is claimed after the manifest: it is reopened by a newer one only.

    `since` is up to where in the log this was asked before: what is held is gone through only when
    something was held, or what may be a manifest came, after that.
    """
    told = [one for one in project.registry if one.totals is not None and one.totals.manifest is not None]
    if not told or (since >= 0 and not project.ledger.ask(queries.has_any, _MATTERS, after=since)):
        return 0
    count = 0
    for contract in told:
        for chunk in chunks(_held_too_early(project, contract)):
            count += project.ledger.reopen(
                dict.fromkeys(chunk, contract.name),
                clock.now(),
                requested_by="its manifest was uploaded",
                states=("quarantined",),
                redrive=True,
            )
    if count:
        log.info("reopened %d objects, for their manifests came", count, extra={"action": "objects_reopened"})
    return count


def _held_too_early(project: Project, contract: Contract) -> list[str]:
    ledger = project.ledger
    held = ledger.ask(queries.find, dataset=contract.name, states=("quarantined",))
    manifests = {entry.object_id: _manifest_of(project, contract, entry) for entry in held}
    wanted = sorted({key for key in manifests.values() if key is not None})
    uploads = ledger.ask(queries.newest_upload_of, project.store.bucket, wanted)
    there = [entry for entry in held if manifests[entry.object_id] in uploads]
    claims = ledger.ask(queries.first_claims, [entry.object_id for entry in there])
    late = [
        entry.object_id
        for entry in there
        if uploads[manifests[entry.object_id] or ""] > claims.get((entry.object_id, entry.attempt), 0)
    ]
    rules = ledger.ask(queries.broken_rules, late)
    return [object_id for object_id in late if rules.get(object_id, "") in _RULES]


def _manifest_of(project: Project, contract: Contract, entry: ObjectEntry) -> str | None:
    try:
        return project.store.prefix + (contract.manifest_key(project.store.relative_key(entry.key)) or "")
    except ObjectRejectedError:
        return None  # it was uploaded to another landing, before the settings were changed
