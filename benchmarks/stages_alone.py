"""The stages in one process, one after the other, without Prefect: where the time of a load goes.

    python -m benchmarks.stages_alone PROJECT

Takes what lies in the project's landing, references first, and prints times of the orders as JSON.
"""

from __future__ import annotations

import json
import resource
import sys
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.orders import REFERENCES
from tidegate.operations import ingest, reconcile
from tidegate.operations.project import open_project

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidegate.operations.project import Project


def run(project: Project, dataset: str) -> dict[str, dict[str, float]]:
    """Take all pending objects of a dataset to the warehouse; seconds, CPU and peak memory of each stage."""
    told: dict[str, dict[str, float]] = {}

    def timed(stage: str, work: Callable[..., Any], *arguments: Any) -> Any:
        wall, cpu = time.perf_counter(), time.process_time()
        done = work(*arguments)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        told[stage] = {
            "seconds": time.perf_counter() - wall,
            "cpu": time.process_time() - cpu,
            "peak_mb": peak,
        }
        return done

    flow_run_id = str(uuid.uuid4())
    batch = ingest.claim(project, dataset, flow_run_id)
    verdicts = timed("validate", ingest.validate_batch, project, batch)
    verdicts = timed("normalize", ingest.normalize_batch, project, batch, verdicts)
    verdicts = timed("enrich", ingest.enrich_batch, project, batch, verdicts)
    timed("load", ingest.load_batch, project, batch, verdicts)
    ingest.finish(project, batch, None)
    return told


def main() -> None:
    project = open_project(Path(sys.argv[1]))
    reconcile.reconcile(project.settings, project.ledger, project.registry, store=project.store)
    for reference in REFERENCES:
        run(project, reference)
    json.dump({"stages": run(project, "orders")}, sys.stdout)
    project.close()


if __name__ == "__main__":
    main()
