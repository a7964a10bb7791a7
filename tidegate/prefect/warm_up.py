"""Have everything ready in a child of the warm worker before its first run.

The child imports this module and takes the steps of `warm_up`. What goes wrong here is no reason to
refuse runs: each run meets it again and tells it where people look.
"""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING

from tidegate.errors import TidegateError
from tidegate.operations.project import current_project
from tidegate.operations.rehearse import rehearse

if TYPE_CHECKING:
    from collections.abc import Iterator
from tidegate.prefect.deployments import Deployments

log = logging.getLogger(__name__)


def warm_up() -> Iterator[None]:
    """Import the flows and open the project; then rehearse a contract with each step."""
    try:
        project = current_project()
        for name in Deployments(project.settings).modules():
            importlib.import_module(name)
        _ = project.registry, project.ledger, project.store, project.warehouse, project.references
        yield
        yield from rehearse(project)
    except TidegateError as error:
        told = "A child of the worker starts unprepared: %s"
        log.warning(told, error, extra={"action": "unprepared"})
    except Exception:
        log.warning("A child of the worker starts unprepared", exc_info=True, extra={"action": "unprepared"})
