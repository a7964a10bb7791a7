import subprocess
import sys
from pathlib import Path

from importlinter.cli import lint_imports

ROOT = Path(__file__).parents[2]

HEAVY = ("duckdb", "pandera", "polars", "prefect")


def test_every_import_goes_the_way_pyproject_allows() -> None:
    assert lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True, no_logo=True) == 0


def test_the_command_line_starts_without_the_heavy_libraries() -> None:
    program = f"import sys, tidegate.cli.app; print(*[name for name in {HEAVY} if name in sys.modules])"
    loaded = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
    )
    assert loaded.stdout.split() == []
