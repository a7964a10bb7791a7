"""Objects that were held for their control totals, and whose manifest came afterwards."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from tidegate import clock
from tidegate.errors import ObjectRejectedError
from tidegate.ledger import queries
from tidegate.ledger.statements import chunks

if TYPE_CHECKING:
    from tidegate.contracts import Contract
    from tidegate.ledger import ObjectEntry
    from tidegate.operations.project import Project

log = logging.getLogger(__name__)

#: Rules for which another manifest may make a difference; after a crash the rule may be unknown.
_RULES = ("manifest", "control_total", "")


def reopen_for_manifests(project: Project) -> int:
    """Reopen what is held for its totals when its manifest was uploaded after it was claimed; how many.

    What is to be reopened stands in the ledger alone, so that asking late, again or after a crash
    gives the same. A new attempt is claimed after the manifest: it is reopened by a newer one only.
    """
    count = 0
    for contract in project.registry:
        if contract.totals is None or contract.totals.manifest is None:
            continue
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
