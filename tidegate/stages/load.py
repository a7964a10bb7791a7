"""Load: turn verdicts into one warehouse transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidegate.stages.model import RECORD, VerdictState
from tidegate.stages.staging import file_and_part, is_spread
from tidegate.warehouse import LoadRequest

if TYPE_CHECKING:
    from pathlib import Path

    from tidegate.objects import ObjectVersion
    from tidegate.stages.model import Verdict
    from tidegate.stages.staging import Staging


def load_request(
    verdict: Verdict, obj: ObjectVersion, staging: Staging, *, redrive: bool = False
) -> LoadRequest:
    """What the warehouse needs to know of one object that passed or is held."""
    rejected_part = file_and_part(verdict.rejected)[1] if verdict.rejected else None
    held = verdict.reason if verdict.state is VerdictState.HELD else None
    rows, beside = _files(verdict.rows, staging) if verdict.rows and not held else (None, {})
    return LoadRequest(
        object=obj,
        content_sha256=verdict.content_sha256,
        contract_version=verdict.contract_version,
        attempt=verdict.attempt,
        rows_read=verdict.rows_read,
        rows_valid=verdict.rows_valid,
        rows_rejected=verdict.rows_rejected,
        rows=rows,
        beside=beside,
        rows_part=file_and_part(verdict.rows)[1] if verdict.rows and not held else None,
        rejected=staging.path(verdict.rejected) if verdict.rejected else None,
        rejected_part=rejected_part,
        held=held,
        dialect=verdict.dialect,
        redrive=redrive,
    )


def _files(rows: str, staging: Staging) -> tuple[Path, dict[str, Path]]:
    """The file that has the records' numbers, and those of columns that stand in others."""
    if not is_spread(rows):
        return staging.path(rows), {}
    where = staging.where(rows)
    file = where[RECORD]
    beside = {name: staging.path(other) for name, other in where.items() if other != file}
    return staging.path(file), beside
