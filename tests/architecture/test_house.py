import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

FOLDERS = ("data_contracts", "deployments", "flows", "prefect_warm", "tasks", "tests")
LONGEST_README = 25

SAYS_NOTHING = re.compile(r"(.*_)?(utils?|helpers?|common|misc)")
REGISTRY_HOST = re.compile(rb"pypi\.org|pythonhosted\.org|registry\.npmjs|deb\.debian", re.IGNORECASE)
LOCK_LINE = re.compile(r"[a-z0-9-]+==[^ ]+( ; .+)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?| *#.*")
MACHINE_PATH = re.compile(rb"(?<![\w.$}-])/(?:work|root|Users|home/\w+)/\w")


def tracked_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True)
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_says_on_one_screen_what_lives_in_it(folder: str) -> None:
    lines = (ROOT / folder / "README.md").read_text().splitlines()
    assert 0 < len(lines) <= LONGEST_README


@pytest.mark.parametrize("folder", [*FOLDERS, "tidegate"])
def test_every_module_name_says_something(folder: str) -> None:
    paths = [ROOT / folder, *(ROOT / folder).rglob("*")]
    assert [path for path in paths if SAYS_NOTHING.fullmatch(path.stem)] == []


def test_no_init_file_below_tests() -> None:
    """One there would make `tests/flows` and the like shadow the real packages."""
    assert list((ROOT / "tests").rglob("__init__.py")) == []


@pytest.mark.parametrize("forbidden", [REGISTRY_HOST, MACHINE_PATH], ids=["registry host", "machine path"])
def test_the_repository_is_good_on_any_machine(forbidden: re.Pattern[bytes]) -> None:
    found = [
        (str(path.relative_to(ROOT)), match.group().decode())
        for path in tracked_files()
        if (match := forbidden.search(path.read_bytes()))
    ]
    assert found == []


def test_the_lock_holds_pins_and_hashes_and_names_no_index() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert [line for line in lines if not LOCK_LINE.fullmatch(line)] == []
