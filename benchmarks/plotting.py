"""Draw the results, in an environment that holds the plotting library."""

from __future__ import annotations

import subprocess
from pathlib import Path

from benchmarks import environments
from benchmarks.results import RESULTS

_PLOTS = Path(__file__).parent / "plots"


def draw() -> None:
    """Draw an SVG for each full result there is."""
    python = environments.python_of("plots", _PLOTS / "requirements.txt")
    subprocess.run([str(python), str(_PLOTS / "draw.py"), str(RESULTS)], check=True)  # noqa: S603  our own script
