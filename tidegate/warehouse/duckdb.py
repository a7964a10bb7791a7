"""A DuckDB file as the warehouse."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import duckdb

from tidegate.contracts import Append
from tidegate.errors import UsageError
from tidegate.warehouse import layout
from tidegate.warehouse.connection import ample_memory, little_memory, opened
from tidegate.warehouse.failures import blamed_on_caller, translated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from duckdb import DuckDBPyConnection

    from tidegate.contracts import Contract
    from tidegate.warehouse.model import (
        Commit,
        HeldLine,
        HeldRecord,
        HeldSelection,
        LoadOutcome,
        LoadRequest,
        Snapshot,
    )

_READS = {duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN}


class DuckDBWarehouse:
    """Tables in one DuckDB file. See `Warehouse` for what each call promises.

    A call holds the file while it runs: loads exclude each other and all readers, readers only
    loads. Each waits up to `lock_timeout` seconds for its turn.
    """

    def __init__(self, path: Path, lock_timeout: float) -> None:
        self.path = path
        self.lock_timeout = lock_timeout

    def load(
        self,
        contract: Contract,
        columns: Mapping[str, Any],
        requests: Sequence[LoadRequest],
        *,
        batch_id: str,
        flow_run_id: str,
        snapshot_to: Path | None,
    ) -> tuple[list[LoadOutcome], Snapshot | None]:
        from tidegate.warehouse.load import load

        def once(memory: str | None) -> tuple[list[LoadOutcome], Snapshot | None]:
            with opened(self.path, read_only=False, lock_timeout=self.lock_timeout, memory=memory) as con:
                layout.bring_up_to_date(con)
                return load(
                    con,
                    contract,
                    columns,
                    requests,
                    batch_id=batch_id,
                    flow_run_id=flow_run_id,
                    snapshot_to=snapshot_to,
                )

        only_adds = isinstance(contract.load, Append) and snapshot_to is None
        with translated(self.path):
            try:
                return once(little_memory() if only_adds else None)
            except duckdb.OutOfMemoryException:
                # Rows of hundreds of columns, or of long texts, need more than others.
                return once(ample_memory())

    def commits(self, object_ids: Sequence[str]) -> dict[str, Commit]:
        from tidegate.warehouse import records

        if not object_ids:
            return {}
        with self._reading() as con:
            return records.commits(con, object_ids) if con else {}

    def held(self, wanted: HeldSelection) -> list[HeldLine]:
        from tidegate.warehouse import held

        with self._reading() as con:
            return held.lines(con, wanted) if con else []

    def held_records(
        self, wanted: HeldSelection, *, after: tuple[str, int] = ("", 0), limit: int
    ) -> list[HeldRecord]:
        from tidegate.warehouse import held

        with self._reading() as con:
            return held.records(con, wanted, after=after, limit=limit) if con else []

    def discard(self, wanted: HeldSelection, *, by: str, note: str) -> int:
        from tidegate.warehouse import held

        return self._changing(lambda con: held.discard(con, wanted, by=by, note=note))

    def restore(self, wanted: HeldSelection) -> int:
        from tidegate.warehouse import held

        return self._changing(lambda con: held.restore(con, wanted))

    def latest_snapshot(self, dataset: str) -> Snapshot | None:
        from tidegate.warehouse import snapshots

        with self._reading() as con:
            return snapshots.latest(con, dataset) if con else None

    def query(self, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Run one statement that reads. It can't reach other files, nor the network."""
        with blamed_on_caller(self.path):
            statements = duckdb.extract_statements(sql)
        if len(statements) != 1 or statements[0].type not in _READS:
            raise UsageError(
                "Give one statement that reads: SELECT, FROM, WITH, DESCRIBE, SHOW, SUMMARIZE or EXPLAIN."
            )
        with self._reading(keep=False) as con:
            if con is None:
                raise UsageError(_NOTHING)
            con.execute("SET enable_external_access = false; SET lock_configuration = true")
            with blamed_on_caller(self.path):
                con.execute(sql)
                return [column[0] for column in con.description or ()], con.fetchall()

    def _changing(self, change: Callable[[DuckDBPyConnection], int]) -> int:
        """What `change` returns; 0, and no file is made, when nothing was ever loaded."""
        if not self.path.exists():
            return 0
        with translated(self.path), opened(self.path, read_only=False, lock_timeout=self.lock_timeout) as con:
            if not layout.version(con):
                return 0
            layout.bring_up_to_date(con)
            return change(con)

    @contextmanager
    def _reading(self, *, keep: bool = True) -> Iterator[DuckDBPyConnection | None]:
        """The file, read-only and in today's layout; None when nothing was ever loaded."""
        if not self.path.exists():
            yield None
            return
        with translated(self.path):
            with opened(self.path, read_only=True, lock_timeout=self.lock_timeout, keep=keep) as con:
                found = layout.version(con)
                if found in {0, layout.newest()}:
                    yield con if found else None
                    return
            with opened(self.path, read_only=False, lock_timeout=self.lock_timeout) as con:
                layout.bring_up_to_date(con)
            with opened(self.path, read_only=True, lock_timeout=self.lock_timeout, keep=keep) as con:
                yield con


_NOTHING = "Nothing was loaded yet: the warehouse has no tables. Drop a file first (tidegate drop)."
