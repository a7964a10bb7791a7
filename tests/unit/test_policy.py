from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from prefect.states import Failed

from tasks import policy
from tidegate.errors import (
    ContractError,
    ObjectsLeftError,
    StoreUnavailableError,
    WarehouseLockedError,
)


def key(before: list[dict[str, Any]] | None, *, batch: str = "run", attempt: int = 1) -> str:
    one = SimpleNamespace(object=SimpleNamespace(object_id="o"), attempt=attempt)
    parameters: dict[str, Any] = {"batch": SimpleNamespace(id=batch, objects=[one])}
    if before is not None:
        parameters["before"] = before
    context: Any = SimpleNamespace(task=SimpleNamespace(name="normalize"))
    return policy._key(context, parameters)


def verdict(object_id: str, **changes: Any) -> dict[str, Any]:
    values = {"object_id": object_id, "attempt": 1, "state": "passed", "contract_version": "1.0.0"}
    return {**values, "rows": f"{object_id}.parquet", **changes}


def test_a_result_is_kept_for_the_same_run_objects_and_verdicts() -> None:
    assert key([verdict("a")]) == key([verdict("a")])


@pytest.mark.parametrize(
    "other",
    [
        key([verdict("a")], batch="another run"),
        key([verdict("a")], attempt=2),
        key([verdict("a"), verdict("b")]),
        key([verdict("a", state="held")]),
        key([verdict("a", contract_version="1.0.1")]),
        key([]),
    ],
)
def test_a_result_for_a_part_of_the_objects_is_not_taken_for_all(other: str) -> None:
    assert other != key([verdict("a")])


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (StoreUnavailableError(), True),
        (ObjectsLeftError(), True),
        (WarehouseLockedError(), False),
        (ContractError(), False),
        (ValueError(), False),
    ],
)
def test_only_what_may_pass_is_tried_again(error: Exception, *, again: bool) -> None:
    nothing: Any = None
    assert policy.is_transient(nothing, nothing, Failed(data=error)) is again
