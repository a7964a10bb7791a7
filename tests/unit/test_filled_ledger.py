from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from benchmarks.filled_ledger import fill
from tidegate.ledger import open_ledger, queries
from tidegate.ledger.tables import PROJECTIONS
from tidegate.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path


def test_a_filled_ledger_is_what_its_log_says(tmp_path: Path) -> None:
    (tmp_path / "tidegate.toml").write_text("")
    settings = load_settings(tmp_path)
    fill(settings, 450, ["flights", "orders"])
    ledger = open_ledger(settings)

    def dump() -> dict[str, list[tuple[object, ...]]]:
        with ledger.reading() as connection:
            return {
                table.name: sorted(tuple(map(str, row)) for row in connection.execute(sa.select(table)))
                for table in PROJECTIONS
            }

    before = dump()
    assert ledger.rebuild() == ledger.last_seq() > 450 * 5
    assert dump() == before
    assert ledger.ask(queries.unfinished) == {}
    assert ledger.ask(queries.unreported) == []
    assert ledger.cursor("prefect") == ledger.last_seq()
    ledger.close()
    with pytest.raises(ValueError, match="fill a new one"):
        fill(settings, 1, ["flights"])
