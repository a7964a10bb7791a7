import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from prefect_warm.sources import Sources

NAME = "warm_sources_example"
LONG_AGO = 1_000_000_000


@pytest.fixture(autouse=True)
def _no_modules_without_files(monkeypatch: pytest.MonkeyPatch) -> None:
    # Other tests import modules from folders that are gone by now.
    for name, loaded in list(sys.modules.items()):
        path = getattr(loaded, "__file__", None)
        if path and not Path(path).exists():
            monkeypatch.delitem(sys.modules, name)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = tmp_path / f"{NAME}.py"
    path.write_text("VALUE = 1\n")
    os.utime(path, (LONG_AGO, LONG_AGO))
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    importlib.import_module(NAME)
    yield path
    del sys.modules[NAME]


def settled(*patterns: str) -> Sources:
    sources = Sources(patterns)
    assert not sources.changed()
    return sources


@pytest.mark.usefixtures("module")
def test_nothing_has_changed_when_nobody_edits() -> None:
    assert not settled().changed()


@pytest.mark.parametrize("text", ["VALUE = 2\n", "VALUE = 1  # longer\n"])
def test_an_edited_module_is_a_change_for_good(module: Path, text: str) -> None:
    sources = settled()
    module.write_text(text)
    assert sources.changed()
    module.write_text("VALUE = 1\n")
    os.utime(module, (LONG_AGO, LONG_AGO))
    assert sources.changed()


def test_a_deleted_module_is_a_change(module: Path) -> None:
    sources = settled()
    module.unlink()
    assert sources.changed()


def test_a_module_younger_than_the_process_may_have_been_read_too_early(module: Path) -> None:
    sources = Sources()
    module.write_text("VALUE = 2\n")
    assert sources.changed()


def test_watched_files_count_when_edited_and_when_added(tmp_path: Path) -> None:
    (tmp_path / "one.toml").write_text("a = 1\n")
    edited, added = settled(f"{tmp_path}/**/*.toml"), settled(f"{tmp_path}/**/*.toml")
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "two.toml").write_text("")
    assert added.changed()
    (tmp_path / "below" / "two.toml").unlink()
    (tmp_path / "one.toml").write_text("a = 22\n")
    assert edited.changed()
