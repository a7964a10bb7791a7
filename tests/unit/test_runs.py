from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tidegate.operations.summary import BatchSummary
from tidegate.prefect.runs import conclude


def summary(*states: str) -> BatchSummary:
    entries: Any = [
        SimpleNamespace(
            key=f"{n}.csv", state=state, reason="why", rows_loaded=2, rows_rejected=0, dialect_changes=None
        )
        for n, state in enumerate(states)
    ]
    return BatchSummary("orders", entries)


@pytest.mark.parametrize(
    ("states", "failure", "name"),
    [
        (["loaded", "duplicate"], None, "Completed"),
        (["loaded", "quarantined"], None, "Quarantined"),
        (["loaded", "failed"], None, "Failed"),
        (["loaded"], "The store did not answer.", "Failed"),
        ([], None, "Completed"),
    ],
)
def test_a_run_is_green_only_when_all_its_objects_are_done(
    states: list[str], failure: str | None, name: str
) -> None:
    assert conclude(summary(*states), failure).name == name


def test_a_run_says_how_much_is_held_and_what_to_do() -> None:
    assert "held" not in summary("loaded", "duplicate").description()
    some = summary("loaded", "quarantined", "loaded")
    some.entries[0] = SimpleNamespace(  # type: ignore[call-overload]
        key="bad.csv", state="loaded", reason="", rows_loaded=2, rows_rejected=12, dialect_changes=None
    )
    told = some.description()
    assert "12 rejected" in told
    assert "2 objects are held" in told
    assert "tidegate quarantine redrive --dataset orders" in told
