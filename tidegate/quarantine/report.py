"""``report.json``: what became of one object and why parts of it, or all, are held."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tidegate.events.model import iso

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tidegate.ledger import ObjectEntry
    from tidegate.warehouse import Commit, HeldLine, HeldRecord

#: Rejections that a report shows; rejected.csv has all.
FIRST = 100


def report_of(
    entry: ObjectEntry,
    commit: Commit | None,
    rule: str,
    lines: Sequence[HeldLine],
    first: Sequence[HeldRecord],
) -> dict[str, Any]:
    """The report as a JSON document; the same facts give the same text, whenever it is written."""
    return {
        "url": entry.url,
        "key": entry.key,
        "version": entry.version,
        "size": entry.size,
        "sha256": entry.content_sha256,
        "object_id": entry.object_id,
        "uploaded_at": iso(entry.uploaded_at),
        "dataset": entry.dataset,
        "contract_version": entry.contract_version,
        "dialect": json.loads(commit.dialect) if commit and commit.dialect else None,
        "state": entry.state,
        "rule": rule or None,
        "reason": entry.reason,
        "attempt": entry.attempt,
        "committed_at": iso(commit.committed_at) if commit else None,
        "rows_read": entry.rows_read,
        "rows_loaded": entry.rows_loaded,
        "rows_rejected": entry.rows_rejected,
        "rows_duplicate": entry.rows_duplicate,
        "reasons": [
            {
                "rule": line.rule,
                "column": line.column,
                "contract_version": line.contract_version,
                "rows": line.rows,
            }
            for line in lines
        ],
        "rejections": _rejections(first)[:FIRST],
    }


def _rejections(records: Sequence[HeldRecord]) -> list[dict[str, Any]]:
    return [
        {
            "record": one.record,
            "line": one.line,
            "offset": one.offset,
            "column": reason.column,
            "rule": reason.rule,
            "value": reason.value,
            "message": reason.message,
            "raw": one.raw,
        }
        for one in records
        for reason in one.reasons
    ]
