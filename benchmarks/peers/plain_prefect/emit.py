"""A watcher that has seen a file: emits an event for each path on stdin."""

import sys

from prefect.events import emit_event

# The first event opens the connection.
emit_event(event="bench.watcher.started", resource={"prefect.resource.id": "bench.watcher"})
print("ready", flush=True)  # noqa: T201  whoever started this waits for it
for line in sys.stdin:
    path = line.strip()
    emit_event(
        event="bench.file.arrived",
        resource={"prefect.resource.id": f"bench.file.{path.rpartition('/')[2]}"},
        payload={"path": path},
    )
