"""Rejected rows: put in, counted, and closed once nobody needs to mend them any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidegate.warehouse.job import file_list, path_text
from tidegate.warehouse.model import Outcome
from tidegate.warehouse.records import microseconds
from tidegate.warehouse.statements import literal, statement

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from tidegate.warehouse.job import Job
    from tidegate.warehouse.plan import Plan


def insert(con: DuckDBPyConnection, job: Job, plan: Plan) -> dict[str, int]:
    """Put in what loaded and held objects had refused; return how many records, by object id.

    Those of an earlier try are closed, except the ones of a try that stays in force.
    """
    import polars as pl

    from tidegate.warehouse.frames import temp_table

    dataset, moment = literal(job.contract.name), microseconds(job.moment)
    again = (
        (one.object_id, one.request.attempt, one.before.attempt if one.retained else one.request.attempt)
        for one in plan.decisions
        if one.before is not None
    )
    tries = {"object_id": pl.String, "attempt": pl.Int64, "in_force": pl.Int64}
    if temp_table(con, "tried_again", tries, again):
        con.execute(statement("rejections", "close_tried_again", dataset=dataset, moment=moment))
    files = {
        one.object_id: (one.request.rejected, one.request)
        for one in plan.decisions
        if one.outcome in {Outcome.LOADED, Outcome.QUARANTINED} and one.request.rejected is not None
    }
    schema = {"object_id": pl.String, "attempt": pl.Int64, "contract_version": pl.String, "file": pl.String}
    refused = (
        (object_id, request.attempt, request.contract_version, path_text(file))
        for object_id, (file, request) in files.items()
    )
    if not temp_table(con, "refused", schema, refused):
        return {}
    paths = file_list(file for file, _ in files.values())
    con.execute(statement("rejections", "insert", dataset=dataset, moment=moment, files=paths))
    counts = con.execute(statement("rejections", "count", dataset=dataset, moment=moment)).fetchall()
    return dict(counts)


def close_replaced(con: DuckDBPyConnection, job: Job, plan: Plan) -> None:
    """Close those of objects in whose place another stands from now on."""
    if plan.replaced:
        dataset, moment = literal(job.contract.name), microseconds(job.moment)
        con.execute(statement("rejections", "close_replaced", dataset=dataset, moment=moment))
