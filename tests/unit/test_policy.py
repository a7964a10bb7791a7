from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from prefect.states import Failed
from prefect.utilities.collections import visit_collection

from tasks import policy
from tasks.claimed import Claimed
from tidegate.errors import (
    ContractError,
    ObjectsLeftError,
    StoreUnavailableError,
    WarehouseLockedError,
)
from tidegate.events import EventType
from tidegate.operations.handing_on import Reference, refer
from tidegate.stages import Verdict


def key(before: Reference | None, *, batch: str = "run", attempt: int = 1, mark: str = "m") -> str:
    one = SimpleNamespace(object=SimpleNamespace(object_id="o"), attempt=attempt)
    claimed: Any = SimpleNamespace(batch=SimpleNamespace(id=batch, objects=[one]), mark=mark)
    parameters = {"claimed": claimed, **({"before": before} if before is not None else {})}
    context: Any = SimpleNamespace(task=SimpleNamespace(name="normalize"))
    return policy._key(context, parameters)


def before(*verdicts: Verdict) -> Reference:
    project: Any = SimpleNamespace(registry={"orders": SimpleNamespace(version="1.0.0")})
    batch: Any = SimpleNamespace(id="run", dataset="orders")
    return refer(project, batch, EventType.VALIDATED, verdicts)


def verdict(object_id: str, **changes: Any) -> Verdict:
    values = {"object_id": object_id, "attempt": 1, "state": "passed", "contract_version": "1.0.0"}
    return Verdict.model_validate({**values, "rows": f"{object_id}.parquet", **changes})


def test_a_result_is_kept_for_the_same_run_objects_and_verdicts() -> None:
    assert key(before(verdict("a"))) == key(before(verdict("a")))


@pytest.mark.parametrize(
    "other",
    [
        key(before(verdict("a")), batch="another run"),
        key(before(verdict("a")), attempt=2),
        key(before(verdict("a")), mark="of another staging folder"),
        key(before(verdict("a"), verdict("b"))),
        key(before(verdict("a", state="held"))),
        key(before(verdict("a", contract_version="1.0.1"))),
        key(before(verdict("a", rows="b.parquet"))),
        key(before()),
        key(None),
    ],
)
def test_a_result_for_a_part_of_the_objects_is_not_taken_for_all(other: str) -> None:
    assert other != key(before(verdict("a")))


def test_what_is_handed_on_stays_small_and_is_not_walked_through() -> None:
    one = SimpleNamespace(object=SimpleNamespace(object_id="o"), attempt=1)
    batch: Any = SimpleNamespace(id="run", dataset="orders", objects=[one] * 1_000)
    visited: list[object] = []
    visit_collection(Claimed(batch, "m"), visited.append, return_data=False)
    assert len(visited) == 1
    assert len(json.dumps(before(*(verdict(str(n)) for n in range(1_000))))) < 300


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
