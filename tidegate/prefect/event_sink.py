"""Deliver the ledger's events to Prefect's event feed, in order, at least once.

The log is the outbox and the cursor is in the ledger. Prefect drops an event whose id it has
seen in the last minutes; after that a repeated one shows twice in the feed, and only there.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import httpx

from tidegate.errors import ServerUnavailableError
from tidegate.events.model import iso

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

    from tidegate.events import Event
    from tidegate.ledger import Ledger

log = logging.getLogger(__name__)

SINK = "prefect"
#: Events in one request; Prefect's broker holds 10,000 and then drops.
_BATCH = 200


class PrefectEventSink:
    """Reads the log by cursor and posts it to ``/api/events``."""

    def __init__(self, ledger: Ledger, client: SyncPrefectClient) -> None:
        self._ledger = ledger
        self._client = client

    def deliver(self) -> int:
        """Post the next batch and move the cursor; how many events went out.

        Raises ServerUnavailableError when the server did not take them; the cursor stays.
        """
        batch = self._ledger.events_after(self._ledger.cursor(SINK), _BATCH)
        if not batch:
            return 0
        try:
            answer = self._client.request("POST", "/events", json=[to_prefect(e) for _, e in batch])
            answer.raise_for_status()
        except httpx.HTTPError as error:
            msg = f"The Prefect server did not take {len(batch)} events: {error}"
            raise ServerUnavailableError(msg) from error
        self._ledger.move_cursor(SINK, batch[-1][0])
        return len(batch)


def to_prefect(event: Event) -> dict[str, Any]:
    """A ledger event as Prefect's event; the CloudEvent is its payload, under the same id."""
    resource = {
        "prefect.resource.id": f"tidegate.object.{event.object_id or event.id}",
        "prefect.resource.name": event.subject[:1_000],
        "tidegate.correlation-id": event.correlation_id,
    }
    related = []
    if event.dataset:
        resource["tidegate.dataset"] = event.dataset
        related.append(
            {
                "prefect.resource.id": f"tidegate.dataset.{event.dataset}",
                "prefect.resource.role": "dataset",
            }
        )
    flow_run_id = event.data.get("flow_run_id")
    if flow_run_id:
        related.append(
            {
                "prefect.resource.id": f"prefect.flow-run.{flow_run_id}",
                "prefect.resource.role": "flow-run",
            }
        )
    return {
        "id": event.id,
        "occurred": iso(event.time),
        "event": event.type.value,
        "resource": resource,
        "related": related,
        "payload": event.logged_cloudevent(),
    }
