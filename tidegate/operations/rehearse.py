"""Take files without rows the whole way, in a folder that is thrown away.

What libraries and contracts do the first time a process uses them takes ten times as long as
later: a process that will serve uploads has it behind it before the first one comes.
"""

from __future__ import annotations

import logging
import os
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from tidegate.events import ObjectUploaded, Via
from tidegate.ledger import Upload
from tidegate.objects.folder import FolderStore
from tidegate.operations import ingest
from tidegate.operations.project import Project
from tidegate.settings import WarehouseSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tidegate.contracts import Contract

log = logging.getLogger(__name__)


#: No more contracts are rehearsed; the libraries are ready after the first.
_MOST = 20


def rehearse(project: Project) -> Iterator[None]:
    """Rehearse one contract with each step. The project itself is only read."""
    with TemporaryDirectory(prefix="tidegate-rehearsal-", ignore_cleanup_errors=True) as folder:
        stage = _stage(project, Path(folder))
        try:
            for contract in islice(project.registry, _MOST):
                _rehearse(stage, contract)
                yield
        finally:
            stage.close()


def _stage(project: Project, folder: Path) -> Project:
    changes = {
        "state": folder,
        "landing": "",
        "quarantine": "",
        "ledger": "",
        "warehouse": WarehouseSettings(),
    }
    stage = Project(project.settings.model_copy(update=changes))
    stage.__dict__["registry"] = project.registry  # the same contracts, imported already
    return stage


def _rehearse(stage: Project, contract: Contract) -> None:
    from tidegate.stages.schema import file_columns

    try:
        columns = list(file_columns(contract))
        header = ",".join(columns)
        _drop(stage, contract, "header", f"{header}\n")
        _drop(stage, contract, "row", f"{header}\n{',' * (len(columns) - 1)}\n")
        batch = ingest.claim(stage, contract.name, f"rehearsal-{contract.name}")
        verdicts = ingest.validate_batch(stage, batch)
        verdicts = ingest.normalize_batch(stage, batch, verdicts)
        verdicts = ingest.enrich_batch(stage, batch, verdicts)
        ingest.load_batch(stage, batch, verdicts)
        ingest.finish(stage, batch, None)
    except Exception as error:  # noqa: BLE001 - its author's code may raise anything, and no run needs it yet
        log.debug("%s could not be rehearsed: %r", contract.name, error, extra={"action": "not_rehearsed"})


def _drop(stage: Project, contract: Contract, name: str, content: str) -> None:
    store = stage.store
    assert isinstance(store, FolderStore)  # noqa: S101 - the rehearsal's landing is a folder
    path = store.root / contract.name / f"{name}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    entry = store.look(store.key_of(os.fspath(path)) or "")
    if entry is not None:
        notice = ObjectUploaded(object=entry.object, via=Via.SCAN)
        stage.ledger.record([Upload(notice=notice, dataset=contract.name)])
