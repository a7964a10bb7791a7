"""What a person sees of a flow run in the Prefect UI: its name, its table, its final state."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any
from uuid import UUID

from prefect import get_client, runtime
from prefect.artifacts import create_table_artifact
from prefect.states import Completed, Failed

from tidegate.errors import TidegateError
from tidegate.operations.summary import BatchSummary, count_of

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

    from tidegate.ledger import Batch

log = logging.getLogger(__name__)

#: Rows of a run's table artifact; the ledger has the rest.
_TABLE_ROWS = 1_000
#: Objects named in a state's message.
_NAMED = 3


def run_name(dataset: str, objects: int) -> str:
    """``flights · 31 objects``"""
    return f"{dataset} · {count_of(objects)}"


def name_run(batch: Batch) -> None:
    """Name the present run by what it took, when the dispatcher's guess was off."""
    name = run_name(batch.dataset, len(batch.objects))
    if batch.objects and not batch.resumed and runtime.flow_run.get_name() != name:
        with get_client(sync_client=True) as client:
            client.update_flow_run(UUID(batch.id), name=name)


def publish_table(summary: BatchSummary) -> None:
    """Publish the run's table."""
    if not summary.entries:
        return
    create_table_artifact(
        table=table(summary),
        key=f"ingest-{summary.dataset.replace('_', '-')}",
        description=summary.description(),
    )


def table(summary: BatchSummary) -> list[dict[str, Any]]:
    """Object, rows read, loaded, rejected, state, where the report lies, and changes of dialect, if any."""
    changed = any(entry.dialect_changes for entry in summary.entries)
    return [
        {
            "object": entry.key,
            "state": entry.state,
            "rows read": entry.rows_read,
            "loaded": entry.rows_loaded,
            "rejected": entry.rows_rejected,
            "duplicate": entry.rows_duplicate,
            "reason": entry.reason,
            "report": entry.report or "",
            **({"dialect changed": "; ".join(entry.dialect_changes or ())} if changed else {}),
        }
        for entry in summary.entries[:_TABLE_ROWS]
    ]


def conclude(summary: BatchSummary, failure: str | None) -> State[Any]:
    """The run's final state: Failed for trouble, Quarantined for held objects, else Completed."""
    if failure is not None or summary.states["failed"]:
        return Failed(message=f"{failure or ''} {summary.sentence()}".strip())
    held = [entry for entry in summary.entries if entry.state == "quarantined"]
    if held:
        named = " ".join(f"{entry.key}: {entry.reason}" for entry in held[:_NAMED])
        more = f" And {len(held) - _NAMED} more." if len(held) > _NAMED else ""
        return Failed(name="Quarantined", message=f"{summary.sentence()} {named}{more}")
    return Completed(message=summary.sentence())


def failure_text(error: Exception) -> str:
    """An error in a sentence; one that is not ours is a bug, and its traceback goes to the log."""
    if isinstance(error, TidegateError):
        log.error("%s", error, extra={"action": "run_failed"})
        return str(error)
    log.error("unexpected error", exc_info=error, extra={"action": "run_failed"})
    return f"{type(error).__name__}: {error}"
