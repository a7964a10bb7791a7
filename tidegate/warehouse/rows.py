"""The rows of a dataset's table: put in, taken out, and under `merge` weighed against each other.

A merge keeps the rows that lost in a table of their own. So the table is at any time the best
row of each key among all rows of the objects that stand, and an object can be corrected,
processed again or replaced without losing what its rows had hidden.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from tidegate.contracts import Merge
from tidegate.warehouse.ddl import columns_of, fit_table, table_types, value_of
from tidegate.warehouse.frames import MOMENT, side_by_side, temp_table
from tidegate.warehouse.job import file_list, path_text
from tidegate.warehouse.records import microseconds
from tidegate.warehouse.statements import listed, literal, quoted, statement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duckdb import DuckDBPyConnection

    from tidegate.warehouse.job import Job
    from tidegate.warehouse.plan import Decision, Plan


def table_name(dataset: str) -> str:
    """The dataset's table, quoted."""
    return f"warehouse.main.{quoted(dataset)}"


class Rows:
    """Changes the table of one dataset as planned. The table fits the contract from then on."""

    def __init__(self, con: DuckDBPyConnection, job: Job, plan: Plan) -> None:
        self.con = con
        self.job = job
        self.plan = plan
        self.moment = microseconds(job.moment)
        contract = job.contract
        self.types = table_types(contract, job.columns)
        self.table = fit_table(con, ("main", contract.name), self.types, contract)
        was_merged = job.policy_before.startswith("merge")
        self.beaten: str | None = None
        if was_merged or isinstance(contract.load, Merge):
            everything = columns_of(con, ("main", contract.name))
            self.beaten = fit_table(con, ("tidegate", f"beaten_{contract.name}"), everything, contract)

    def change(self) -> dict[str, tuple[int, int]]:
        """Apply the plan; return rows that stand and rows that lost, by loaded object.

        Of an object that only got some added, all of its rows.
        """
        self._note_plan()
        if self.beaten is not None and self.job.policy_changed:
            self._run("bring_back_all")
        policy = self.job.contract.load
        vacated = isinstance(policy, Merge) and self._vacate()
        self._delete()
        self._insert([one for one in self.plan.loads if not one.adds])
        self._insert(self.plan.additions, only=statement("rows", "only_taken_up"))
        if isinstance(policy, Merge):
            self._contest(policy, vacated=vacated)
        stand = self._counts(self.table)
        lost = self._counts(self.beaten) if self.beaten is not None else {}
        if self.plan.additions:
            stand |= self._counts(self.table, "count_all")
            lost |= self._counts(self.beaten, "count_all") if self.beaten is not None else {}
        return {id_: (stand.get(id_, 0), lost.get(id_, 0)) for id_ in {*stand, *lost}}

    def _note_plan(self) -> None:
        text = pl.String
        loading: dict[str, Any] = {"object_id": text, "contract_version": text, "file": text}
        loading |= {"part": pl.Int32, "order_at": MOMENT, "key": text}
        rows = (
            (
                one.object_id,
                one.request.contract_version,
                path_text(one.request.rows) if one.request.rows is not None else None,
                one.request.rows_part,
                one.order_at,
                one.request.object.key,
            )
            for one in self.plan.loads
        )
        temp_table(self.con, "loading", loading, rows)
        temp_table(self.con, "leaving", {"object_id": pl.String}, ((id_,) for id_ in self.plan.leaving))

    def _delete(self) -> None:
        if self.plan.leaving:
            self._run("delete")
            if self.beaten is not None:
                self.con.execute(statement("rows", "delete", table=self.beaten))

    def _insert(self, loads: Sequence[Decision], only: str = "") -> None:
        staged = [one.request for one in loads if one.request.rows is not None]
        whole = [one.rows for one in staged if one.rows_part is None and not one.beside]
        shared = [one.rows for one in staged if one.rows_part is not None]
        # A file of 5 M rows takes a quarter less time when its name need not be looked up.
        match = "b.file = r._object_file" if len(self.plan.loads) > 1 else "true"
        for files, matches in ((whole, match), (shared, f"{match} AND b.part = r._object")):
            if files:
                names = file_list(dict.fromkeys(file for file in files if file is not None))
                self._put(f"read_parquet([{names}], filename = '_object_file')", matches, only)
        for one in staged:
            if one.beside:
                with side_by_side(self.con, one, list(self.types)) as rows:
                    self._put(rows, f"b.object_id = {literal(one.object.object_id)}", only)

    def _put(self, rows: str, match: str, only: str) -> None:
        values = [value_of(name, self.job.columns[name], kind) for name, kind in self.types.items()]
        columns = listed(self.types)
        self._run("insert", columns=columns, values=", ".join(values), rows=rows, match=match, only=only)

    def _vacate(self) -> bool:
        """Note the keys that lose a row, and bring back the rows that it had beaten."""
        if self.job.policy_changed:
            self._run("vacate_all")
            return True
        if self.plan.leaving:
            self._run("vacate")
            self._run("bring_back")
            return True
        return False

    def _contest(self, policy: Merge, *, vacated: bool) -> None:
        order_by = f"t.{quoted(policy.order_by)} DESC NULLS LAST," if policy.order_by else ""
        self._run(
            "contest",
            also="UNION ALL FROM vacated" if vacated else "",
            t_keys=", ".join(f"t.{quoted(name)}" for name in policy.key),
            order_by=order_by,
            object_order=statement("rows", "object_order", dataset=literal(self.job.contract.name)),
        )

    def _counts(self, table: str, name: str = "count") -> dict[str, int]:
        sql = statement("rows", name, table=table, moment=self.moment)
        return dict(self.con.execute(sql).fetchall())

    def _run(self, name: str, **parts: object) -> None:
        policy = self.job.contract.load
        common: dict[str, object] = {
            "table": self.table,
            "beaten": self.beaten,
            "moment": self.moment,
            "keys": listed(policy.key) if isinstance(policy, Merge) else "",
        }
        self.con.execute(statement("rows", name, **common, **parts))
