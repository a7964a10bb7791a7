"""Normalize many small objects at once; each keeps the verdict that it would get by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidegate.stages.parts import Parts, numbers_of, run_steps
from tidegate.stages.staging import part_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tidegate.contracts import Contract
    from tidegate.stages.model import Verdict
    from tidegate.stages.staging import Staging


def normalize_together(
    verdicts: Sequence[Verdict], contract: Contract, staging: Staging
) -> dict[str, Verdict | Exception]:
    """Apply `contract.normalize` to objects that share a file; what came of each, by object id.

    Left out are those that have to be worked on by themselves.
    """
    if not contract.normalize:
        return {verdict.object_id: verdict for verdict in verdicts}
    own = numbers_of(verdicts)
    parts = Parts.of(staging.path(str(verdicts[0].rows)), list(own))
    parts = run_steps(parts, contract.normalize, contract)
    group = staging.group([(one.object_id, one.attempt) for one in verdicts], contract.version)
    file = staging.write(parts.frame, f"{group}/normalized.parquet")
    return {
        verdict.object_id: parts.failures.get(number)
        or verdict.model_copy(update={"rows": part_of(file, number)})
        for number, verdict in own.items()
        if number not in parts.apart
    }
