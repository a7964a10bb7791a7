"""Snapshots of reference datasets: Parquet files that commits point to."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tidegate.warehouse.ddl import columns_of
from tidegate.warehouse.model import Snapshot
from tidegate.warehouse.records import microseconds, moment_of
from tidegate.warehouse.rows import table_name
from tidegate.warehouse.statements import literal, statement

if TYPE_CHECKING:
    from pathlib import Path

    from duckdb import DuckDBPyConnection

    from tidegate.warehouse.job import Job


def latest(con: DuckDBPyConnection, dataset: str) -> Snapshot | None:
    """The newest snapshot that was committed."""
    found = con.execute(statement("records", "latest_snapshot", dataset=literal(dataset))).fetchall()
    if not found:
        return None
    sequence, path, rows, created_at = found[0]
    return Snapshot(
        dataset=dataset, sequence=sequence, path=path, rows=rows, created_at=moment_of(created_at)
    )


def is_current(con: DuckDBPyConnection, job: Job, folder: Path) -> bool:
    """Whether the newest snapshot has all that the table has, and its file is still there."""
    newest = latest(con, job.contract.name)
    if newest is None:
        return not columns_of(con, ("main", job.contract.name))
    return newest.sequence >= job.sequence and (folder / newest.path).exists()


def write(con: DuckDBPyConnection, job: Job, folder: Path, sequence: int) -> Snapshot:
    """Write the table as it stands in this transaction, and note the file in it.

    The file is whole and on disk before the commit; without the commit nobody looks for it.
    """
    dataset = job.contract.name
    path = f"{dataset}/{sequence}-{job.batch_id}.parquet"
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    copied = con.execute(
        statement(
            "rows",
            "snapshot",
            table=table_name(dataset),
            dataset=literal(dataset),
            target=literal(str(part.absolute())),
        )
    ).fetchall()
    _sync(part)
    part.replace(target)
    _sync(target.parent)
    rows = int(copied[0][0])
    snapshot = Snapshot(dataset=dataset, sequence=sequence, path=path, rows=rows, created_at=job.moment)
    note = statement(
        "records",
        "note_snapshot",
        dataset=literal(dataset),
        sequence=sequence,
        path=literal(path),
        rows=rows,
        moment=microseconds(job.moment),
    )
    con.execute(note)
    return snapshot


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
