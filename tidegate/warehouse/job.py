"""What the parts of one load share."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - dataclass fields are inspected at run time
from typing import TYPE_CHECKING, Any

from tidegate.contracts import Merge
from tidegate.warehouse.statements import literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from tidegate.contracts import Contract, LoadPolicy

_GLOB = str.maketrans({"[": "[[]", "*": "[*]", "?": "[?]"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One transaction that loads a batch."""

    contract: Contract
    #: column -> Polars type, engine columns left out
    columns: Mapping[str, Any]
    batch_id: str
    flow_run_id: str
    #: the commit's time: later than every other commit of the dataset
    moment: datetime
    #: load policy of the last load that changed the table, as text; empty before the first
    policy_before: str
    #: how many commits have changed the table so far
    sequence: int

    @property
    def policy_changed(self) -> bool:
        return self.policy_before not in {"", policy_text(self.contract.load)}


def policy_text(policy: LoadPolicy) -> str:
    """What decides how rows of a table stand beside each other, as text to compare."""
    name = type(policy).__name__.lower()
    if isinstance(policy, Merge):
        return f"{name} {list(policy.key)} by {policy.order_by}"
    return name


def path_text(path: Path) -> str:
    """The path as DuckDB says it in the file name column of `read_parquet`."""
    return str(path.absolute())


def file_list(paths: Iterable[Path]) -> str:
    """The paths for `read_parquet`, which would take some of their characters for patterns."""
    return ", ".join(literal(path_text(path).translate(_GLOB)) for path in paths)
