"""What `tidegate drop` uploads, under which keys, and what it refuses."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tidegate.errors import UsageError
from tidegate.objects.folder import FolderStore
from tidegate.operations.drop import drop, dropped, plan_drop
from tidegate.settings import Settings, load_settings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "tidegate.toml").touch()
    return load_settings(tmp_path)


@pytest.fixture
def store(settings: Settings) -> FolderStore:
    return FolderStore.from_settings(settings)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    for name in ("a.csv", "deep/er/b.csv", ".hidden.csv", ".git/c.csv", "d.csv.part"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return folder


def keys(paths: list[Path], to: str, store: FolderStore) -> list[str]:
    return [upload.key for upload in plan_drop(paths, to, store).uploads]


@pytest.mark.parametrize(
    ("to", "key"), [("", "a.csv"), ("in", "in/a.csv"), ("in/", "in/a.csv"), ("/x/y/", "x/y/a.csv")]
)
def test_a_file_keeps_its_name_below_to(files: Path, store: FolderStore, to: str, key: str) -> None:
    assert keys([files / "a.csv"], to, store) == [key]


def test_a_folder_keeps_the_paths_below_it_and_passes_over_what_is_unfinished(
    files: Path, store: FolderStore
) -> None:
    plan = plan_drop([files], "all", store)
    assert [upload.key for upload in plan.uploads] == ["all/a.csv", "all/deep/er/b.csv"]
    assert sorted(path.name for path in plan.passed_over) == [".hidden.csv", "c.csv", "d.csv.part"]


def test_every_problem_is_named_at_once_and_nothing_is_planned(files: Path, store: FolderStore) -> None:
    pipe = files / "pipe"
    os.mkfifo(pipe)
    other = files / "deep" / "a.csv"
    other.write_text("other")
    with pytest.raises(UsageError) as caught:
        plan_drop([files / "gone.csv", pipe, files / "d.csv.part", files / "a.csv", other], "", store)
    said = str(caught.value)
    assert said.startswith("Nothing was uploaded")
    for part in ("gone.csv does not exist", "pipe is not a file", "upload in progress", "both become a.csv"):
        assert part in said


def test_a_folder_without_files_is_a_mistake(store: FolderStore) -> None:
    with pytest.raises(UsageError, match="no file"):
        plan_drop([store.root], "", store)


@pytest.mark.parametrize(
    "name",
    ["with space.csv", "plus+and%20.csv", "Müller-日本.csv", "[markup].csv", "new\nline.csv", b"\xff.csv"],
)
def test_odd_names_come_back_as_they_were(
    tmp_path: Path, settings: Settings, store: FolderStore, name: str | bytes
) -> None:
    source = tmp_path / os.fsdecode(name)
    source.write_text("x")
    (obj,) = drop(settings, store, plan_drop([source], "odd", store).uploads)
    assert (store.root / "odd" / source.name).read_text() == "x"
    assert [listed.object_id for listed in store.list()] == [obj.object_id]


def test_what_was_dropped_is_remembered_until_it_is_forgotten(
    files: Path, settings: Settings, store: FolderStore
) -> None:
    created = list(drop(settings, store, plan_drop([files], "", store).uploads))
    ((path, remembered),) = dropped(settings).items()
    assert remembered == created
    path.unlink()
    assert dropped(settings) == {}


def test_a_line_that_is_being_written_is_left_for_the_next_look(
    files: Path, settings: Settings, store: FolderStore
) -> None:
    (obj,) = drop(settings, store, plan_drop([files / "a.csv"], "", store).uploads)
    (path,) = dropped(settings)
    with path.open("a") as file:
        file.write('{"store": "fol')
    assert dropped(settings)[path] == [obj]
