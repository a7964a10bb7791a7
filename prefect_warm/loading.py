"""Find a run's flow; as a rule without the server, as the worker has sent what it knows."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from prefect.client.schemas.objects import FlowRun
    from prefect.flows import Flow

_CHANGE_FOLDER = "prefect.deployments.steps.set_working_directory"


def load(flow_run: FlowRun, deployment: Mapping[str, Any] | None) -> Flow[..., Any]:
    """The flow of a run, in the folder where its deployment wants it; raises what its code raises."""
    from prefect.flow_engine import load_flow
    from prefect.flows import load_flow_from_entrypoint

    entrypoint = deployment["entrypoint"] if deployment else None
    folder = _folder_after(deployment["pull_steps"] or []) if deployment else None
    if not entrypoint or ":" in entrypoint or folder is None:
        return load_flow(flow_run)
    # Prefect's way to the same end makes two clients and a thread, a tenth of a second in all.
    os.chdir(folder)
    return load_flow_from_entrypoint(entrypoint, use_placeholder_flow=False)


def _folder_after(steps: Sequence[Mapping[str, Any]]) -> str | None:
    """Where pull steps lead that only change the folder; None for steps that do more."""
    folder = "."
    for step in steps:
        directory = step.get(_CHANGE_FOLDER, {}).get("directory") if len(step) == 1 else None
        if not isinstance(directory, str) or "{{" in directory:
            return None
        folder = os.path.join(folder, directory)  # noqa: PTH118 - joined as chdir would go
    return folder
