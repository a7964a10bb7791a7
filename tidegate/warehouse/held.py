"""Rows that are held: found, shown, discarded and taken up again."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from tidegate import clock
from tidegate.warehouse.connection import commit
from tidegate.warehouse.model import HeldLine, HeldReason, HeldRecord, HeldSelection
from tidegate.warehouse.records import microseconds, moment_of
from tidegate.warehouse.statements import literal, statement

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def lines(con: DuckDBPyConnection, wanted: HeldSelection) -> list[HeldLine]:
    """One line an object, rule, column and contract version."""
    found = con.execute(statement("held", "lines", where=_where(wanted))).fetchall()
    return [
        HeldLine(
            object_id=row[0],
            dataset=row[1],
            url=row[2],
            key=row[3],
            version=row[4],
            standing=row[5],
            rule=row[6],
            column=row[7],
            contract_version=row[8],
            rows=row[9],
            oldest=moment_of(row[10]),
            rows_of_object=row[11],
        )
        for row in found
    ]


def records(
    con: DuckDBPyConnection, wanted: HeldSelection, *, after: tuple[str, int], limit: int
) -> list[HeldRecord]:
    """The first records after this one, each with all its reasons."""
    sql = statement(
        "held",
        "records",
        where=_where(wanted),
        after_object=literal(after[0]),
        after_record=after[1],
        limit=limit,
    )
    found = []
    for (object_id, record), entries in groupby(con.execute(sql).fetchall(), key=lambda row: row[:2]):
        rows = list(entries)
        first = rows[0]
        found.append(
            HeldRecord(
                object_id=object_id,
                record=record,
                line=first[2],
                offset=first[3],
                raw=next((row[4] for row in rows if row[4] is not None), None),
                contract_version=first[5],
                rejected_at=moment_of(first[6]),
                reasons=tuple(HeldReason(*row[7:]) for row in rows),
            )
        )
    return found


def discard(con: DuckDBPyConnection, wanted: HeldSelection, *, by: str, note: str) -> int:
    """Close the entries of every record that has a chosen one; how many records."""
    where = _where(wanted)
    con.execute("BEGIN")
    count = _count(con, where)
    moment = microseconds(clock.now())
    con.execute(statement("held", "discard", where=where, moment=moment, by=literal(by), note=literal(note)))
    commit(con)
    return count


def restore(con: DuckDBPyConnection, wanted: HeldSelection) -> int:
    """Open the discarded entries of standing objects again; how many records."""
    where = _where(wanted)
    con.execute("BEGIN")
    count = _count(con, f"{where} AND c.active")
    con.execute(statement("held", "restore", where=where))
    commit(con)
    return count


def _count(con: DuckDBPyConnection, where: str) -> int:
    return int(con.execute(statement("held", "count", where=where)).fetchall()[0][0])


def _where(wanted: HeldSelection) -> str:
    if wanted.discarded:
        parts = ["r.closed_reason = 'discarded'"]
    else:
        parts = ["r.closed_at IS NULL", "r.attempt = c.attempt"]
    equal = {
        "r.dataset": wanted.dataset,
        "r.contract_version": wanted.contract_version,
    }
    parts += [f"{name} = {literal(value)}" for name, value in equal.items() if value is not None]
    if wanted.rule is not None:
        whole, name = literal(wanted.rule), literal(f"{wanted.rule}(")
        parts.append(f"(r.rule = {whole} OR starts_with(r.rule, {name}))")
    if wanted.object_ids is not None:
        ids = ", ".join(literal(object_id) for object_id in wanted.object_ids) or "NULL"
        parts.append(f"r.object_id IN ({ids})")
    if wanted.since is not None:
        parts.append(f"r.rejected_at >= make_timestamptz({microseconds(wanted.since)})")
    if wanted.until is not None:
        parts.append(f"r.rejected_at < make_timestamptz({microseconds(wanted.until)})")
    return " AND ".join(parts)
