"""A project in a folder of its own, taken through all stages as plain functions, again and again."""

from __future__ import annotations

import importlib
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tidegate.events import ObjectUploaded, Via
from tidegate.ledger import ObjectEntry, queries
from tidegate.operations import ingest, quarantine
from tidegate.operations.project import Project, open_project
from tidegate.operations.quarantine import Selection
from tidegate.operations.record import record_uploads

if TYPE_CHECKING:
    from tidegate.objects import ObjectVersion

CONTRACT = """
import pandera.polars as pa
from tidegate.contracts import Append, Contract, Dialect, Merge, Replace

class Order(pa.DataFrameModel):
    order_id: int = pa.Field(ge={least})
    shop: str

orders = Contract(
    name="orders", version="{version}", owner="o", description="d", keys=["orders/*.csv"], schema=Order,
    load={load}, dialect=Dialect({dialect}),
)
"""
SEMICOLON = "delimiter=';'"
LINES = "order_id,shop\n5,A\n-1,B\n6,C\n-9,D\n"


class Pipeline:
    """A project whose one contract is written anew, as its author would."""

    def __init__(self, root: Path, load: str) -> None:
        self.root = root
        self.load = load
        self.package = f"contracts_{uuid.uuid4().hex}"
        (root / self.package).mkdir()
        (root / self.package / "__init__.py").touch()
        (root / "tidegate.toml").write_text(f'contracts = "{self.package}"\n')
        self.project: Project
        self.deploy(1, "1.0.0")

    def deploy(self, least: int, version: str, dialect: str = "") -> None:
        if hasattr(self, "project"):
            self.project.close()
        text = CONTRACT.format(least=least, version=version, load=self.load, dialect=dialect)
        for old in (self.root / self.package).glob("orders_*.py"):
            old.unlink()
        # A name of its own: Python remembers compiled modules by the second.
        (self.root / self.package / f"orders_{uuid.uuid4().hex}.py").write_text(text)
        self.reopen()

    def reopen(self) -> None:
        for name in [name for name in sys.modules if name.startswith(self.package)]:
            del sys.modules[name]
        importlib.invalidate_caches()
        self.project = open_project(self.root)

    def drop(self, key: str, text: str) -> ObjectVersion:
        source = self.root / "source.csv"
        source.write_text(text)
        obj = self.project.store.put(source, key)
        record_uploads(
            self.project.ledger,
            self.project.registry,
            self.project.store,
            [ObjectUploaded(object=obj, via=Via.WATCH)],
        )
        return obj

    def run(self) -> None:
        batch = ingest.claim(self.project, "orders", str(uuid.uuid4()))
        if batch.objects:
            verdicts = ingest.validate_batch(self.project, batch)
            verdicts = ingest.normalize_batch(self.project, batch, verdicts)
            verdicts = ingest.enrich_batch(self.project, batch, verdicts)
            ingest.load_batch(self.project, batch, verdicts)
        ingest.finish(self.project, batch, None)

    def redrive(self, **chosen: Any) -> quarantine.Plan:
        plan = quarantine.redrive(self.project, Selection(**chosen), "a test")
        self.run()
        return plan

    def entry(self, obj: ObjectVersion) -> ObjectEntry:
        return self.project.ledger.ask(queries.by_id, [obj.object_id])[obj.object_id]

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self.project.warehouse.query(sql)[1]

    def table(self) -> list[tuple[Any, ...]]:
        return self.rows("SELECT order_id, shop, _contract_version, _loaded_at FROM orders ORDER BY _record")

    def entries(self) -> list[tuple[Any, ...]]:
        return self.rows(
            "SELECT record, closed_reason, contract_version, closed_contract_version "
            "FROM tidegate.rejected_rows ORDER BY attempt, record"
        )

    def report(self, obj: ObjectVersion) -> Path:
        url = self.entry(obj).report
        assert url is not None
        return Path(url.removeprefix("file://"))
