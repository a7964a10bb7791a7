"""Held objects that wait for a reference: made pending again once it was loaded anew."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from sqlalchemy import and_, or_, select

from tidegate import clock
from tidegate.ledger.claims import reopened
from tidegate.ledger.log import append
from tidegate.ledger.tables import objects, waits

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection


def wake(connection: Connection, latest: Callable[[str], str | None]) -> int:
    """Reopen what waits, in time still, for a reference with another snapshot by now; how many.

    `latest` names the newest snapshot of a reference. It is asked inside the caller's write
    transaction, and a snapshot is published before the ledger hears of its load: whichever of a
    load and a hold comes second sees the other.
    """
    moment = clock.now()
    references = connection.execute(
        select(waits.c.reference).distinct().where(waits.c.until > moment).order_by(waits.c.reference)
    ).scalars()
    newest = {reference: latest(reference) for reference in references}
    loaded = [
        and_(waits.c.reference == reference, waits.c.snapshot != snapshot)
        for reference, snapshot in newest.items()
        if snapshot is not None
    ]
    if not loaded:
        return 0
    found = (
        connection.execute(
            select(objects, waits.c.reference)
            .join(waits, waits.c.object_id == objects.c.object_id)
            .where(or_(*loaded), waits.c.until > moment, objects.c.state == "quarantined")
            .order_by(objects.c.pending_seq, waits.c.reference)
        )
        .mappings()
        .all()
    )
    because: defaultdict[str, list[str]] = defaultdict(list)
    for row in found:
        because[row["object_id"]].append(row["reference"])
    return append(
        connection,
        [
            reopened(
                row,
                moment,
                requested_by=f"{' and '.join(because[row['object_id']])} was loaded anew",
                dataset=row["dataset"],
            )
            for row in {row["object_id"]: row for row in found}.values()
        ],
    )
