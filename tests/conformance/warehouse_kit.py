"""What the tests of every warehouse share: uploads, staged files, and contracts to load them by."""

import hashlib
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from tidegate.contracts import Contract, LoadPolicy
from tidegate.objects import ObjectVersion
from tidegate.warehouse import LoadOutcome, LoadRequest, Snapshot, Warehouse
from tidegate.warehouse.duckdb import DuckDBWarehouse

#: name -> how to make an empty warehouse in a folder; another kind is one more line
WAREHOUSES: dict[str, Callable[[Path], Warehouse]] = {
    "duckdb": lambda folder: DuckDBWarehouse(folder / "warehouse.duckdb", lock_timeout=10.0),
}

COLUMNS = {"id": pl.Int64(), "value": pl.String(), "changed": pl.Int64()}
START = datetime(2024, 1, 1, tzinfo=UTC)

_REJECTED = {
    "record": pl.Int64,
    "line": pl.Int64,
    "offset": pl.Int64,
    "column": pl.String,
    "rule": pl.String,
    "value": pl.String,
    "message": pl.String,
    "raw": pl.String,
}

Row = tuple[Any, ...]


class Schema:
    """Enough of a Pandera model for a contract to be made."""

    @classmethod
    def to_schema(cls) -> None: ...


def contract(load: LoadPolicy, *, name: str = "orders", version: str = "1.0.0") -> Contract:
    return Contract(
        name=name,
        version=version,
        owner="tests",
        description="made for a test",
        keys=["**"],
        schema=Schema,
        load=load,
    )


def version(key: str, at: float, *, tag: str = "", **changes: Any) -> ObjectVersion:
    """A version of `key`, uploaded `at` seconds after the start of time."""
    fields: dict[str, Any] = {
        "store": "s3",
        "bucket": "landing",
        "key": key,
        "version": f"{at:08.3f}{tag}",
        "size": 100,
        "uploaded_at": START + timedelta(seconds=at),
    }
    return ObjectVersion(**(fields | changes))


class Stage:
    """Stages objects in a folder and loads them, each load a batch of its own."""

    def __init__(self, folder: Path, warehouse: Warehouse, load: LoadPolicy | Contract) -> None:
        self.folder = folder
        self.warehouse = warehouse
        self.contract = load if isinstance(load, Contract) else contract(load)
        self.columns: dict[str, Any] = dict(COLUMNS)
        self.batches = 0
        self.requests = 0

    def request(
        self,
        one: ObjectVersion,
        rows: Sequence[Row] = (),
        *,
        attempt: int = 1,
        rejected: Sequence[tuple[int, str]] = (),
        held: str | None = None,
        records: Sequence[int] | None = None,
        **changes: Any,
    ) -> LoadRequest:
        """`rows` in the order of the columns, `records` counted from 1; `rejected`: record and rule."""
        folder = self.folder / f"{one.object_id}-{attempt}"
        folder.mkdir(parents=True, exist_ok=True)
        records = records or range(1, len(rows) + 1)
        staged, beside = None, {}
        if held is None:
            frame = pl.DataFrame(list(rows), schema=self.columns, orient="row")
            staged = folder / "rows.parquet"
            beside = self._beside(folder)
            own = [name for name in frame.columns if name not in beside]
            frame.select(pl.Series("_record", records, pl.Int64), *own).write_parquet(staged)
            for name, file in beside.items():
                frame.select(name).write_parquet(file)
        refused = None
        if rejected:
            lines = [
                (record, record + 1, 10 * record, "id", rule, "x", "m", "raw") for record, rule in rejected
            ]
            refused = folder / "rejected.parquet"
            pl.DataFrame(lines, schema=_REJECTED, orient="row").write_parquet(refused)
        broken = len({record for record, _ in rejected})
        content = json.dumps([list(map(repr, row)) for row in rows])
        fields: dict[str, Any] = {
            "object": one,
            "content_sha256": hashlib.sha256(content.encode()).hexdigest(),
            "contract_version": self.contract.version,
            "attempt": attempt,
            "rows_read": len(rows) + broken,
            "rows_valid": len(rows),
            "rows_rejected": broken,
            "rows": staged,
            "beside": beside,
            "rejected": refused,
            "held": held,
        }
        return LoadRequest(**(fields | changes))

    def _beside(self, folder: Path) -> dict[str, Path]:
        """Columns that do not stand in the file of the rows: of every second object, each second one."""
        self.requests += 1
        names = [*self.columns][1::2] if self.requests % 2 else []
        return {name: folder / f"beside-{number}.parquet" for number, name in enumerate(names)}

    def load(self, *requests: LoadRequest) -> list[LoadOutcome]:
        return self.load_with_snapshot(None, *requests)[0]

    def load_with_snapshot(
        self, snapshot_to: Path | None, *requests: LoadRequest
    ) -> tuple[list[LoadOutcome], Snapshot | None]:
        self.batches += 1
        return self.warehouse.load(
            self.contract,
            self.columns,
            requests,
            batch_id=f"batch-{self.batches}",
            flow_run_id=f"run-{self.batches}",
            snapshot_to=snapshot_to,
        )

    def drop(self, key: str, at: float, rows: Sequence[Row] = (), **more: Any) -> LoadOutcome:
        """Load one object and return its outcome."""
        return self.load(self.request(version(key, at), rows, **more))[0]

    def table(self, columns: str = "id, value") -> list[Row]:
        return self.ask(f'SELECT {columns} FROM "{self.contract.name}" ORDER BY ALL')

    def ask(self, sql: str) -> list[Row]:
        return self.warehouse.query(sql)[1]
