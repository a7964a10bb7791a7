"""How far runs at work have got: told while it lasts, and no part of what happened.

A row goes with the lease of its run, so that nothing is ever told of a run that is over or dead. The
log knows nothing of it, and `Ledger.rebuild` leaves it alone.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from sqlalchemy import exists, insert, select, update

from tidegate.ledger.tables import leases, objects
from tidegate.ledger.tables import progress as table

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far a flow run has got with its batch."""

    flow_run_id: str
    dataset: str
    #: validate, normalize, enrich or load
    stage: str
    #: how many objects the batch has
    objects: int
    #: the object at work; None while several are worked on together
    url: str | None = None
    key: str | None = None
    #: bytes of the object that were read, as they are stored; None while it is not being read
    bytes_done: int | None = None
    #: the object's size
    bytes_total: int | None = None
    #: rows that the stage was given, as far as that is known
    rows: int | None = None
    #: when the stage began with this object, or with these objects
    started_at: datetime
    updated_at: datetime


def write(connection: Connection, progress: Progress) -> bool:
    """Tell how far a run is; False when it holds no lease any more, and nothing was written."""
    values = asdict(progress)
    run = table.c.flow_run_id == progress.flow_run_id
    if connection.execute(update(table).where(run).values(**values)).rowcount:
        return True
    lease = select(leases.c.flow_run_id).where(leases.c.flow_run_id == progress.flow_run_id)
    if connection.execute(lease).first() is None:
        return False
    connection.execute(insert(table).values(**values))
    return True


def at_work(connection: Connection) -> list[Progress]:
    """What is told at present, by dataset; nothing of a run whose objects are all done."""
    running = exists().where(objects.c.flow_run_id == table.c.flow_run_id, objects.c.state == "running")
    query = select(table).where(running).order_by(table.c.dataset, table.c.started_at)
    return [Progress(**row) for row in connection.execute(query).mappings()]
