"""Record uploads: find each one's dataset and append it to the ledger, durably."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from tidegate.errors import ObjectRejectedError
from tidegate.ledger import Recorded, Upload

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tidegate.contracts.registry import Registry
    from tidegate.events import ObjectUploaded
    from tidegate.ledger import Ledger
    from tidegate.objects import ObjectStore

log = logging.getLogger(__name__)


def record_uploads(
    ledger: Ledger, registry: Registry, store: ObjectStore, notices: Sequence[ObjectUploaded]
) -> Recorded:
    """Append what is new among `notices`. When this returns, the notices may be acknowledged."""
    recorded = ledger.record([route(registry, store, notice) for notice in notices])
    if recorded.new:
        log.info(
            "recorded %d new objects, %d known",
            len(recorded.new),
            recorded.known,
            extra={"action": "objects_recorded"},
        )
    return recorded


def route(registry: Registry, store: ObjectStore, notice: ObjectUploaded) -> Upload:
    """The one dataset whose contract matches the key; a problem when none or several do.

    What none matches, and is the manifest of other objects, is that and nothing more.
    """
    try:
        key = store.relative_key(notice.object.key)
    except ObjectRejectedError as error:
        return Upload(notice=notice, dataset=None, problem=str(error))
    matches = registry.match(key)
    if len(matches) == 1:
        return Upload(notice=notice, dataset=matches[0].name)
    if matches:
        names = ", ".join(contract.name for contract in matches)
        problem = f"Several contracts match the key: {names}. Make their key patterns exclude each other."
    elif (told_of := registry.manifest_of(key)) is not None:
        reason = f"It is a manifest of {told_of.name}: read for the control totals, and not loaded."
        return Upload(notice=notice, dataset=told_of.name, ignored=reason)
    else:
        problem = (
            "No data contract matches the key. Add or widen a key pattern in the contracts folder, "
            "then run `tidegate backfill run --state unmatched`."
        )
    return Upload(notice=notice, dataset=None, problem=problem)
