"""Which deployments prefect.yaml declares, and whether a server has them already.

Registering takes seconds, and takes back what a person changed in the UI (a paused schedule): so
it is done only when something that is registered has changed, or the server lacks it.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import re
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from tidegate.settings import Settings

FILE_NAME = "prefect.yaml"

_ENTRYPOINT = re.compile(
    r"""^[\s-]*entrypoint:\s*["']?([A-Za-z_][\w.]*)\.\w+["']?\s*(?:#.*)?$""", re.MULTILINE
)


class Deployments:
    """The deployments of one project."""

    def __init__(self, settings: Settings) -> None:
        self._root = settings.root
        self._file = settings.root / FILE_NAME
        self._memory = settings.state_dir / "run" / "deployed.json"

    @property
    def declared(self) -> bool:
        """Whether there is a prefect.yaml at all."""
        return self._file.is_file()

    def modules(self) -> list[str]:
        """The modules that hold the flows, for importing them ahead."""
        return sorted(set(_ENTRYPOINT.findall(self._file.read_text(encoding="utf-8"))))

    def changed(self) -> bool:
        """Whether prefect.yaml or the code of the flows differs from what was registered last."""
        return self._remembered().get("fingerprint") != self.fingerprint()

    def missing(self, on_server: Iterable[dict[str, Any]]) -> bool:
        """Whether the server lacks any of the deployments that were registered last."""
        known = {str(one["id"]) for one in on_server}
        return not known.issuperset(self._remembered().get("ids", ["none was registered"]))

    def remember(self, fingerprint: str, on_server: Iterable[dict[str, Any]]) -> None:
        """All declared deployments are registered now."""
        self._memory.parent.mkdir(parents=True, exist_ok=True)
        document = {"fingerprint": fingerprint, "ids": sorted(str(one["id"]) for one in on_server)}
        part = self._memory.with_suffix(".part")
        part.write_text(json.dumps(document))
        part.replace(self._memory)

    def fingerprint(self) -> str:
        """Changes with everything that `prefect deploy` reads."""
        digest = hashlib.sha256()
        for fact in (importlib.metadata.version("prefect"), sys.executable, str(self._root)):
            digest.update(f"{fact}\n".encode())
        for path in [self._file, *_sources(self._root, self.modules())]:
            digest.update(f"{path}\n".encode())
            digest.update(path.read_bytes())
        return digest.hexdigest()

    def _remembered(self) -> dict[str, Any]:
        if not self._memory.is_file():
            return {}
        found: dict[str, Any] = json.loads(self._memory.read_text())
        return found


def _sources(root: Path, modules: Sequence[str]) -> list[Path]:
    """The Python files of the packages that the flows' modules belong to."""
    found: set[Path] = set()
    for name in {module.partition(".")[0] for module in modules}:
        found.update((root / name).rglob("*.py"))
        found.update(root.glob(f"{name}.py"))
    return sorted(found)
