"""Plain Prefect as its guides show it: an event for each file triggers a flow that loads it.

Serves the flow until it is stopped. The rows go into the DuckDB file BENCH_DATABASE; the file BENCH_DONE gets
one JSON line for each file whose rows are committed.
"""

import json
import os
import time
from pathlib import Path

import duckdb
from prefect import flow, task
from prefect.events import DeploymentEventTrigger

DATABASE, DONE = os.environ["BENCH_DATABASE"], os.environ["BENCH_DONE"]


# Two runs may want the one file at the same moment: DuckDB lets one process write.
@task(retries=30, retry_delay_seconds=0.2)
def load(path: str) -> int:
    with duckdb.connect(DATABASE) as con:
        con.execute("CREATE TABLE IF NOT EXISTS orders AS SELECT * FROM read_csv(?) LIMIT 0", [path])
        rows = con.execute("INSERT INTO orders SELECT * FROM read_csv(?)", [path]).fetchone()
    return rows[0]


@flow
def ingest(path: str) -> None:
    started = time.time()
    rows = load(path)
    line = {"path": path, "rows": rows, "started_at": started, "committed_at": time.time()}
    with Path(DONE).open("a") as file:
        file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    arrived = DeploymentEventTrigger(
        expect={"bench.file.arrived"}, parameters={"path": "{{ event.payload.path }}"}
    )
    ingest.serve(name="files", triggers=[arrived], limit=4)
