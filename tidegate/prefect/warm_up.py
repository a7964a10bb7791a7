"""Have everything ready in a child of the warm worker before its first run.

The child imports this module and calls `warm_up`. What goes wrong here is no reason to refuse runs:
each run meets it again and tells it where people look.
"""

from __future__ import annotations

import importlib
import logging

from tidegate.operations.project import current_project
from tidegate.operations.rehearse import rehearse
from tidegate.prefect.deployments import Deployments

log = logging.getLogger(__name__)


def warm_up() -> None:
    """Import the flows, open the project, and rehearse."""
    try:
        project = current_project()
        for name in Deployments(project.settings).modules():
            importlib.import_module(name)
        _ = project.registry, project.ledger, project.store, project.warehouse, project.references
        rehearse(project)
    except Exception:
        log.warning("A child of the worker starts unprepared", exc_info=True, extra={"action": "unprepared"})
