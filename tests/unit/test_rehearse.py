"""A rehearsal touches nothing of the project, and one contract that can't be used stops no other."""

from __future__ import annotations

import logging
import uuid
from typing import TYPE_CHECKING

import pytest

from tidegate.operations.project import Project, open_project
from tidegate.operations.rehearse import rehearse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

CONTRACTS = """
import pandera.polars as pa
import polars as pl
from tidegate.contracts import Append, Contract, Lookup

class Wrong(pa.DataFrameModel):
    tags: pl.List

aaa = Contract(
    name="aaa", version="1.0.0", owner="o", description="d", keys=["aaa/*.csv"], schema=Wrong, load=Append()
)

class Order(pa.DataFrameModel):
    order_id: int = pa.Field(ge=1)
    shop: str

orders = Contract(
    name="orders", version="1.0.0", owner="o", description="d", keys=["orders/*.csv"], schema=Order,
    load=Append(),
)
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    package = f"contracts_{uuid.uuid4().hex}"
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text("")
    (tmp_path / package / "all.py").write_text(CONTRACTS)
    (tmp_path / "tidegate.toml").write_text(f'contracts = "{package}"\n')
    monkeypatch.syspath_prepend(tmp_path)
    project = open_project(tmp_path)
    yield project
    project.close()


def test_a_rehearsal_takes_each_contract_through_and_leaves_nothing(
    project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, logger="tidegate"):
        assert len(list(rehearse(project))) == 2
    told = [record.getMessage() for record in caplog.records]
    assert any("aaa could not be rehearsed" in one for one in told)
    assert "claimed 2 objects of orders" in told
    assert not project.settings.state_dir.exists()
