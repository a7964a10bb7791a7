"""One project, opened: settings, ledger, contracts, landing, warehouse. The composition root."""

from __future__ import annotations

from functools import cache, cached_property
from typing import TYPE_CHECKING

from tidegate.contracts.registry import Registry, load_registry
from tidegate.ledger import Ledger, open_ledger
from tidegate.objects import ObjectStore, open_store
from tidegate.settings import Settings, load_settings
from tidegate.warehouse import Warehouse, open_warehouse

if TYPE_CHECKING:
    from pathlib import Path

    from tidegate.stages.references import References
    from tidegate.stages.staging import Staging


class Project:
    """Opens each part when it is first asked for, and keeps it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @cached_property
    def ledger(self) -> Ledger:
        return open_ledger(self.settings)

    @cached_property
    def registry(self) -> Registry:
        return load_registry(self.settings.contracts, self.settings.root)

    @cached_property
    def store(self) -> ObjectStore:
        return open_store(self.settings)

    @cached_property
    def warehouse(self) -> Warehouse:
        return open_warehouse(self.settings)

    @cached_property
    def references(self) -> References:
        from tidegate.stages.references import References

        return References(self.settings.references_dir)

    def staging(self, batch_id: str) -> Staging:
        from tidegate.stages.staging import Staging

        return Staging.of_batch(self.settings.staging_dir, batch_id)

    def close(self) -> None:
        if "ledger" in self.__dict__:
            self.ledger.close()


def open_project(root: Path | None = None) -> Project:
    """The project at `root`, or the nearest one above the working directory."""
    return Project(load_settings(root))


@cache
def current_project() -> Project:
    """The project around the working directory, opened once a process."""
    return open_project()
