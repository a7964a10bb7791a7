"""What every version of a contract said, recorded in ``_versions`` beside the contracts.

One JSON file a version: ``data_contracts/_versions/flights/1.0.0.json``. They belong into version
control. A recorded version is never written again: what was said under it stays said.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tidegate.contracts.describe import FORMAT
from tidegate.errors import ContractError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

#: No module and no package of Python's, so that looking for contracts passes it by.
FOLDER = "_versions"


class Snapshots:
    """The recorded descriptions of one project's contracts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def of_package(cls, package: str) -> Snapshots:
        """Those beside the contracts in an importable package."""
        import importlib

        return cls(Path(next(iter(importlib.import_module(package).__path__))) / FOLDER)

    def versions(self, dataset: str) -> list[str]:
        """Recorded versions, the oldest first."""
        return sorted((path.stem for path in (self.folder / dataset).glob("*.json")), key=numbers)

    def read(self, dataset: str, version: str) -> dict[str, Any]:
        """What the contract said under this version; UsageError when that was not recorded."""
        path = self._path(dataset, version)
        if not path.exists():
            known = ", ".join(self.versions(dataset)) or "none"
            msg = f"{dataset} {version} is not recorded in {self.folder}. Recorded versions: {known}."
            raise UsageError(msg)
        return read_file(path)

    def record(self, description: Mapping[str, Any]) -> Path:
        """Write down a version that has no record yet."""
        path = self._path(description["name"], description["version"])
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(json.dumps(description, indent=2, ensure_ascii=False) + "\n")
        return path

    def _path(self, dataset: str, version: str) -> Path:
        return self.folder / dataset / f"{version}.json"


def read_file(path: Path) -> dict[str, Any]:
    """A recorded description; ContractError when the file holds something else."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        msg = f"{path} can't be read as a recorded contract: {error}. Take it from version control again."
        raise ContractError(msg) from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        written = found.get("format") if isinstance(found, dict) else None
        msg = f"{path} is no recorded contract of form {FORMAT} (it says {written}). Update Tidegate."
        raise ContractError(msg)
    return found


def numbers(version: str) -> tuple[int, ...]:
    """A version in the order of its numbers: 1.10.0 comes after 1.9.0."""
    return tuple(int(part) for part in version.split(".") if part.isdigit())
