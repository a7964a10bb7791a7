"""Rejected rows: put in, counted, and closed once nobody needs to mend them any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidegate.warehouse.job import file_list, path_text
from tidegate.warehouse.model import Outcome
from tidegate.warehouse.records import microseconds
from tidegate.warehouse.statements import literal, statement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duckdb import DuckDBPyConnection

    from tidegate.warehouse.job import Job
    from tidegate.warehouse.plan import Decision, Plan


def insert(con: DuckDBPyConnection, job: Job, plan: Plan) -> dict[str, int]:
    """Put in what loaded and held objects had refused; return how many records, by object id.

    Those of an earlier try are closed, except the ones of a try that stays in force. A redrive
    that is held puts in nothing and closes nothing.
    """
    decisions = [one for one in plan.decisions if not (one.retained and one.request.redrive)]
    counts = _insert(con, job, plan, decisions)
    _close_tried_again(con, job, decisions)
    return counts


def take_up(con: DuckDBPyConnection, job: Job, plan: Plan) -> dict[str, int]:
    """Note the held records that redriven objects may add; how many, by object id."""
    import polars as pl

    from tidegate.warehouse.frames import temp_table

    tries = ((one.object_id, one.before.attempt) for one in plan.additions if one.before is not None)
    if not temp_table(con, "redriven", {"object_id": pl.String, "in_force": pl.Int64}, tries):
        return {}
    con.execute(statement("rejections", "take_up", dataset=literal(job.contract.name)))
    return dict(con.execute(statement("rejections", "count_taken_up")).fetchall())


def _close_tried_again(con: DuckDBPyConnection, job: Job, decisions: Sequence[Decision]) -> None:
    import polars as pl

    from tidegate.warehouse.frames import temp_table

    again = (
        (
            one.object_id,
            one.request.attempt,
            one.before.attempt if one.retained else one.request.attempt,
            one.request.contract_version,
            one.request.redrive and one.same_records and one.outcome is Outcome.LOADED,
            not one.adds and not one.retained,
        )
        for one in decisions
        if one.before is not None
    )
    tries = {"object_id": pl.String, "attempt": pl.Int64, "in_force": pl.Int64}
    tries |= {"contract_version": pl.String, "same_records": pl.Boolean, "anew": pl.Boolean}
    if temp_table(con, "tried_again", tries, again):
        dataset, moment = literal(job.contract.name), microseconds(job.moment)
        con.execute(statement("rejections", "close_tried_again", dataset=dataset, moment=moment))


def _insert(con: DuckDBPyConnection, job: Job, plan: Plan, decisions: Sequence[Decision]) -> dict[str, int]:
    import polars as pl

    from tidegate.warehouse.frames import temp_table

    dataset, moment = literal(job.contract.name), microseconds(job.moment)
    files = {
        one.object_id: (one.request.rejected, one)
        for one in decisions
        if one.outcome in {Outcome.LOADED, Outcome.QUARANTINED} and one.request.rejected is not None
    }
    schema = {"object_id": pl.String, "attempt": pl.Int64, "contract_version": pl.String, "file": pl.String}
    schema |= {"part": pl.Int32, "adds": pl.Boolean}
    refused = (
        (
            object_id,
            one.request.attempt,
            one.request.contract_version,
            path_text(file),
            one.request.rejected_part,
            one.adds,
        )
        for object_id, (file, one) in files.items()
    )
    if not temp_table(con, "refused", schema, refused):
        return {}
    only = statement("rejections", "only_taken_up") if plan.additions else ""
    whole = [file for file, one in files.values() if one.request.rejected_part is None]
    shared = [file for file, one in files.values() if one.request.rejected_part is not None]
    match = "f.file = r._object_file"
    for paths, matches in ((whole, match), (shared, f"{match} AND f.part = r._object")):
        if paths:
            listed = file_list(dict.fromkeys(paths))
            parts = {"dataset": dataset, "moment": moment, "files": listed, "match": matches, "only": only}
            con.execute(statement("rejections", "insert", **parts))
    counts = con.execute(statement("rejections", "count", dataset=dataset, moment=moment)).fetchall()
    return dict(counts)


def close_replaced(con: DuckDBPyConnection, job: Job, plan: Plan) -> None:
    """Close those of objects in whose place another stands from now on."""
    if plan.replaced:
        dataset, moment = literal(job.contract.name), microseconds(job.moment)
        con.execute(statement("rejections", "close_replaced", dataset=dataset, moment=moment))
