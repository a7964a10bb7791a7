"""Environments of their own, so that nobody's dependencies bend anybody else's. Made when first asked for."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
FOLDER = HERE.parent / ".bench"


def python_of(name: str, requirements: Path) -> Path:
    """The interpreter of environment `name`, with exactly these requirements installed."""
    folder = FOLDER / name
    wanted = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()
    mark, python = folder / "made-from", folder / "bin" / "python"
    if mark.exists() and mark.read_text() == wanted:
        return python
    shutil.rmtree(folder, ignore_errors=True)
    if shutil.which("uv"):
        _run("uv", "venv", "--quiet", "--python", sys.executable, str(folder))
        install = ["uv", "pip", "install", "--quiet", "--compile-bytecode", "--python", str(python)]
    else:
        _run(sys.executable, "-m", "venv", str(folder))
        install = [str(python), "-m", "pip", "install", "--quiet"]
    _run(*install, "-r", str(requirements))
    mark.write_text(wanted)
    return python


def peer(name: str) -> Path:
    """The interpreter of a peer's environment."""
    return python_of(name, HERE / "peers" / name / "requirements.txt")


def _run(*command: str) -> None:
    subprocess.run(command, check=True)  # noqa: S603  this module's own commands
