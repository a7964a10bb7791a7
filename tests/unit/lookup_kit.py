"""A project whose orders are looked up in shops and towns, taken through all stages as plain functions."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from tidegate.events import ObjectUploaded, Via
from tidegate.ledger import ObjectEntry, queries
from tidegate.ledger.tables import PROJECTIONS
from tidegate.operations import ingest
from tidegate.operations.project import Project, open_project
from tidegate.operations.record import record_uploads

if TYPE_CHECKING:
    from pathlib import Path

    from tidegate.objects import ObjectVersion

CONTRACTS = """
import pandera.polars as pa
import polars as pl
from tidegate.contracts import Append, Budget, Contract, Lookup, Merge, Replace

class Order(pa.DataFrameModel):
    order_id: int = pa.Field(ge=1)
    shop: str = pa.Field(nullable=True)
    day: pl.Date = pa.Field(nullable=True)

class Shop(pa.DataFrameModel):
    shop: str
    town: str

class Closing(pa.DataFrameModel):
    name: str
    day: pl.Date

def contract(name, schema, **more):
    return Contract(name=name, version="1.0.0", owner="o", description="d", keys=[f"{{name}}/*.csv"],
                    schema=schema, **more)

shops = contract("shops", Shop, load=Replace())
closings = contract("closings", Closing, load=Replace())
orders = contract("orders", Order, enrich=[{enrich}], {more})
"""
HEADER = "order_id,shop,day\n"


def shops(unmatched: str, more: str = "") -> str:
    """The text of a lookup in shops."""
    on, take = '{"shop": "shop"}', '{"town": "town"}'
    return f'Lookup(dataset="shops", on={on}, take={take}, unmatched={unmatched!r}{more})'


def closings(unmatched: str) -> str:
    """The text of a lookup by two columns."""
    on = '{"shop": "name", "day": "day"}'
    return f'Lookup(dataset="closings", on={on}, take={{"closed": "name"}}, unmatched={unmatched!r})'


class Shopping:
    """A project with these lookups."""

    def __init__(self, root: Path, *enrich: str, more: str = "") -> None:
        package = f"contracts_{uuid.uuid4().hex}"
        (root / package).mkdir()
        (root / package / "__init__.py").touch()
        (root / package / "all.py").write_text(CONTRACTS.format(enrich=", ".join(enrich), more=more))
        (root / "tidegate.toml").write_text(f'contracts = "{package}"\n')
        self.root = root
        self.project: Project = open_project(root)

    def drop(self, key: str, text: str) -> ObjectVersion:
        source = self.root / "source.csv"
        source.write_bytes(text.encode())
        obj = self.project.store.put(source, key)
        notice = ObjectUploaded(object=obj, via=Via.WATCH)
        record_uploads(self.project.ledger, self.project.registry, self.project.store, [notice])
        return obj

    def orders(self, name: str, *lines: str) -> ObjectVersion:
        return self.drop(f"orders/{name}.csv", HEADER + "".join(f"{line}\n" for line in lines))

    def run(self, dataset: str = "orders", flow_run_id: str | None = None) -> None:
        batch = ingest.claim(self.project, dataset, flow_run_id or str(uuid.uuid4()))
        if batch.objects:
            verdicts = ingest.validate_batch(self.project, batch)
            verdicts = ingest.normalize_batch(self.project, batch, verdicts)
            verdicts = ingest.enrich_batch(self.project, batch, verdicts)
            ingest.load_batch(self.project, batch, verdicts)
        ingest.finish(self.project, batch, None)

    def load_shops(self, *names: str) -> None:
        """Load the reference anew, with these shops."""
        self.drop(f"shops/{uuid.uuid4()}.csv", "shop,town\n" + "".join(f"{one},in {one}\n" for one in names))
        self.run("shops")

    def load_closings(self, *lines: str) -> None:
        self.drop("closings/all.csv", "name,day\n" + "".join(f"{line}\n" for line in lines))
        self.run("closings")

    def entry(self, obj: ObjectVersion) -> ObjectEntry:
        return self.project.ledger.ask(queries.by_id, [obj.object_id])[obj.object_id]

    def state(self, obj: ObjectVersion) -> str:
        return self.entry(obj).state

    def counts(self, obj: ObjectVersion) -> tuple[int | None, ...]:
        entry = self.entry(obj)
        return entry.rows_read, entry.rows_loaded, entry.rows_rejected, entry.rows_duplicate

    def story(self, obj: ObjectVersion) -> list[str]:
        return [event.type.verb for event in self.project.ledger.ask(queries.story, obj.object_id)]

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        return self.project.warehouse.query(sql)[1]

    def table(self) -> list[tuple[Any, ...]]:
        return self.query("SELECT order_id, town FROM orders ORDER BY order_id")

    def dump(self) -> list[list[tuple[object, ...]]]:
        """The ledger's projections, to compare."""
        with self.project.ledger.reading() as connection:
            return [
                sorted(tuple(map(str, row)) for row in connection.execute(sa.select(table)))
                for table in PROJECTIONS
            ]
