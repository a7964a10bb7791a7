"""The watcher on real files."""

import logging
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import watchfiles

from tidegate.errors import LedgerUnavailableError, SettingsError
from tidegate.events import Via
from tidegate.objects.folder import FolderStore
from tidegate.sources.folder import FolderSource
from tidegate.testing.recorder import Recorder

SETTLE = 0.3


class Landing:
    """A watched folder, and a place beside it to move files from."""

    def __init__(self, root: Path) -> None:
        self.path = root / "landing"
        self.path.mkdir()
        self.recorder = Recorder()
        self._beside = root / "beside"
        self._beside.mkdir()

    @contextmanager
    def watched(self, settle: float = SETTLE) -> Iterator[Recorder]:
        source = FolderSource(FolderStore(self.path), settle, lambda key: key.endswith(".csv"))
        with self.recorder.running(source):
            yield self.recorder

    @contextmanager
    def ready(self, settle: float = SETTLE) -> Iterator[Recorder]:
        """Watched, and the scan at the start is over."""
        self.move_in("ready", b"x")
        os.utime(self.path / "ready", (1, 1))
        with self.watched(settle) as recorder:
            recorder.wait_for("ready")
            recorder.uploads.clear()
            yield recorder

    def move_in(self, key: str, content: bytes = b"id\n1\n") -> None:
        part = self._beside / "part"
        part.write_bytes(content)
        (self.path / key).parent.mkdir(parents=True, exist_ok=True)
        part.rename(self.path / key)


@pytest.fixture
def landing(tmp_path: Path) -> Landing:
    return Landing(tmp_path)


def test_a_file_renamed_in_is_reported_at_once(landing: Landing) -> None:
    with landing.ready(settle=60) as recorder:
        begin = time.monotonic()
        landing.move_in("a.csv")
        recorder.wait_for("a.csv")
        assert time.monotonic() - begin < 1
    (upload,) = recorder.uploads
    assert upload.via is Via.WATCH
    assert upload.object == FolderStore(landing.path).stat("a.csv")


def test_a_file_written_and_renamed_in_one_tick_is_reported_at_once(landing: Landing) -> None:
    """The kernel's times can't tell it from one that is being written."""
    with landing.ready(settle=60) as recorder:
        for number in range(50):
            part = landing.path / ".part"
            part.write_bytes(b"x")
            status = part.rename(landing.path / f"{number}.csv").stat()
            if status.st_ctime_ns == status.st_mtime_ns:
                break
        else:
            pytest.skip("the clock of this kernel is too fine")
        recorder.wait_for(f"{number}.csv", timeout=1)


def test_put_is_reported_at_once(landing: Landing, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with landing.ready(settle=60) as recorder:
        put = FolderStore(landing.path).put(tmp_path / "file", "new/folder/a.csv")
        recorder.wait_for("new/folder/a.csv", timeout=1)
    assert [upload.object for upload in recorder.uploads] == [put]


@pytest.mark.parametrize("command", [["cp", "-p"], ["mv"], ["ln"]], ids=lambda words: words[0])
def test_common_tools_are_understood_at_once(landing: Landing, tmp_path: Path, command: list[str]) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(b"x" * 1000)
    with landing.ready(settle=60) as recorder:
        subprocess.run([*command, file, landing.path], check=True)
        recorder.wait_for("a.csv", timeout=1)
    assert recorder.uploads[-1].object.size == 1000


def test_a_slow_writer_is_reported_once_when_it_is_done(landing: Landing) -> None:
    pause = threading.Event()
    with landing.ready(settle=0.8) as recorder:
        with (landing.path / "slow.csv").open("wb") as file:
            for _ in range(12):
                file.write(b"x" * 1000)
                file.flush()
                pause.wait(0.08)
                assert recorder.keys == []
        recorder.wait_for("slow.csv")
        landing.move_in("after.csv")
        recorder.wait_for("after.csv")
        pause.wait(0.2)
    assert recorder.keys == ["slow.csv", "after.csv"]
    assert recorder.uploads[0].object.size == 12_000


def test_an_empty_file_waits_for_its_content(landing: Landing) -> None:
    """Creating, labelling, then writing is what some file servers do."""
    path = landing.path / "a.csv"
    with landing.ready() as recorder:
        path.touch()
        path.chmod(0o600)
        threading.Event().wait(SETTLE / 2)
        path.write_bytes(b"content")
        recorder.wait_for("a.csv")
    assert [upload.object.size for upload in recorder.uploads] == [7]


def test_an_empty_file_that_stays_empty_is_reported(landing: Landing) -> None:
    with landing.ready() as recorder:
        landing.move_in("empty.csv", b"")
        recorder.wait_for("empty.csv")
    assert recorder.uploads[0].object.size == 0


def test_a_changed_file_is_a_new_version(landing: Landing) -> None:
    with landing.ready() as recorder:
        landing.move_in("a.csv", b"one")
        recorder.wait_for("a.csv")
        landing.move_in("a.csv", b"two")
        recorder.wait(lambda: len(recorder.uploads) == 2)
        with (landing.path / "a.csv").open("ab") as file:
            file.write(b" and a half")
        recorder.wait(lambda: len(recorder.uploads) == 3)
    assert recorder.keys == ["a.csv"] * 3
    assert len({upload.object.object_id for upload in recorder.uploads}) == 3


def test_what_came_while_nothing_ran_is_found_at_the_start(landing: Landing) -> None:
    keys = ["old.csv", "deep/er/old.csv"]
    for key in keys:
        landing.move_in(key)
        os.utime(landing.path / key, (1, 1))
    (landing.path / "being-written.csv").write_bytes(b"x")
    with landing.watched() as recorder:
        recorder.wait_for(*keys, "being-written.csv")
    assert sorted(recorder.keys) == sorted([*keys, "being-written.csv"])
    assert {upload.via for upload in recorder.uploads} == {Via.SCAN}


def test_all_is_reported_again_at_each_start(landing: Landing) -> None:
    landing.move_in("a.csv")
    for calls in (1, 2):
        with landing.watched() as recorder:
            recorder.wait(lambda calls=calls: landing.recorder.calls == calls)  # type: ignore[misc]
    first, second = landing.recorder.uploads
    assert first == second


def test_uploads_in_progress_are_not_reported(landing: Landing) -> None:
    with landing.ready() as recorder:
        for key in [".hidden.csv", "a.csv.part", "b.csv.tmp", ".folder/c.csv"]:
            landing.move_in(key)
        (landing.path / "a.csv.part").rename(landing.path / "a.csv")
        recorder.wait_for("a.csv")
    assert recorder.keys == ["a.csv"]


def test_new_folders_are_looked_into(landing: Landing) -> None:
    with landing.ready() as recorder:
        for number in range(20):
            landing.move_in(f"new{number}/deep/er/a.csv")
        recorder.wait_for(*(f"new{number}/deep/er/a.csv" for number in range(20)))


def test_a_whole_tree_may_be_moved_in(landing: Landing, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    keys = [f"tree/{folder}/{name}.csv" for folder in "abc" for name in "xyz"]
    for key in keys:
        path = tmp_path / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    with landing.ready() as recorder:
        tree.rename(landing.path / "tree")
        recorder.wait_for(*keys)
        landing.move_in("tree/a/later.csv")
        recorder.wait_for("tree/a/later.csv", timeout=1)


def test_none_of_a_burst_is_missed(landing: Landing) -> None:
    keys = {f"burst/{number:03}.csv" for number in range(500)}
    with landing.ready() as recorder:
        for key in keys:
            landing.move_in(key)
        recorder.wait(lambda: len(recorder.uploads) >= len(keys))
    assert sorted(recorder.keys) == sorted(keys)


def test_none_of_a_burst_of_copies_is_missed(landing: Landing) -> None:
    keys = {f"{number:03}.csv" for number in range(500)}
    with landing.ready() as recorder:
        for key in keys:
            (landing.path / key).write_bytes(b"x")
        recorder.wait(lambda: len(recorder.uploads) >= len(keys))
    assert sorted(recorder.keys) == sorted(keys)


def test_notices_that_the_kernel_dropped_are_made_up_for(
    landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = watchfiles.watch

    def forgetful(*args: object, **options: object) -> Iterator[object]:
        for changes in watch(*args, **options):  # type: ignore[arg-type]
            yield {change for change in changes if "lost" not in change[1]}

    monkeypatch.setattr("tidegate.sources.folder.watch", forgetful)
    monkeypatch.setattr("tidegate.sources.folder._FLOOD", 1)
    monkeypatch.setattr("tidegate.sources.folder._LOOK_AGAIN", (0.1, 0.2))
    with landing.ready() as recorder:
        landing.move_in("lost.csv")
        landing.move_in("seen.csv")
        recorder.wait_for("lost.csv", "seen.csv")


def test_a_folder_with_the_name_of_a_file_is_reported(landing: Landing) -> None:
    (landing.path / "before.csv").mkdir()
    with landing.watched() as recorder:
        recorder.wait_for("before.csv")
        (landing.path / "orders.csv").mkdir()
        landing.move_in("plain/a.csv")
        os.mkfifo(landing.path / "pipe.csv")
        recorder.wait_for("before.csv", "orders.csv", "plain/a.csv", "pipe.csv")
    assert "plain" not in recorder.keys
    odd = {upload.object.key: upload.object.size for upload in recorder.uploads}
    assert odd["orders.csv"] is odd["before.csv"] is odd["pipe.csv"] is None


def test_names_that_are_not_utf8_are_reported(landing: Landing) -> None:
    odd = Path(os.fsdecode(os.fsencode(landing.path) + b"/caf\xe9.csv"))
    with landing.ready() as recorder:
        landing.move_in("a.csv")
        recorder.wait_for("a.csv")
        odd.write_bytes(b"x")
        recorder.wait_for("caf\\xe9.csv")
        landing.move_in("b.csv")
        recorder.wait_for("b.csv")


def test_a_ledger_that_is_away_loses_nothing(landing: Landing, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with landing.ready() as recorder:
        recorder.failures.extend(LedgerUnavailableError("locked.") for _ in range(3))
        landing.move_in("a.csv")
        landing.move_in("b.csv")
        recorder.wait_for("a.csv", "b.csv")
    assert sorted(recorder.keys) == ["a.csv", "b.csv"]
    assert caplog.text.count("locked.") == 1
    assert caplog.text.count("works again") == 1


def test_stop_is_heard_while_the_ledger_is_away(landing: Landing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidegate.sources.outage._FIRST_PAUSE", 30.0)
    landing.move_in("a.csv")
    landing.recorder.failures.append(LedgerUnavailableError())
    with landing.watched() as recorder:
        recorder.wait(lambda: recorder.calls == 1)
    assert recorder.uploads == []


def test_other_errors_end_the_source(landing: Landing) -> None:
    landing.move_in("a.csv")
    landing.recorder.failures.append(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError), landing.watched() as recorder:
        recorder.wait(lambda: recorder.calls == 1)


@pytest.mark.parametrize("how", ["deleted", "moved away", "replaced"])
def test_a_landing_that_goes_away_is_watched_again_when_it_is_back(
    landing: Landing, tmp_path: Path, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    caplog.set_level(logging.INFO)
    with landing.ready() as recorder:
        if how == "deleted":
            shutil.rmtree(landing.path)
        else:
            landing.path.rename(tmp_path / "away")
        if how != "replaced":
            wait_for_log(caplog, "is gone")
        landing.path.mkdir()
        landing.move_in("at once.csv")
        recorder.wait_for("at once.csv")
        landing.move_in("later.csv")
        recorder.wait_for("later.csv", timeout=1)
    assert recorder.keys == ["at once.csv", "later.csv"]
    assert len([entry for entry in caplog.records if entry.levelname == "WARNING"]) == 1
    assert "works again" in caplog.text


def wait_for_log(caplog: pytest.LogCaptureFixture, text: str) -> None:
    limit = time.monotonic() + 5
    while text not in caplog.text:
        assert time.monotonic() < limit, caplog.text
        threading.Event().wait(0.01)


REFUSALS = [
    OSError("OS file watch limit reached."),
    RuntimeError("Error creating recommended watcher: Too many open files (os error 24)"),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=["watches", "watchers"])
def test_the_limits_of_the_kernel_are_explained(
    landing: Landing, monkeypatch: pytest.MonkeyPatch, refusal: Exception
) -> None:
    refuse(monkeypatch, landing.path, refusal)
    with pytest.raises(SettingsError, match=r"sysctl fs\.inotify"), landing.watched():
        threading.Event().wait(0.2)


def test_limits_reached_later_are_explained_too(landing: Landing, monkeypatch: pytest.MonkeyPatch) -> None:
    """The watcher says nothing when it can't watch a new folder."""
    refuse(monkeypatch, landing.path / "new", REFUSALS[0])

    def make_a_folder() -> None:
        with landing.ready():
            (landing.path / "new").mkdir()
            threading.Event().wait(0.5)

    with pytest.raises(SettingsError, match=r"sysctl fs\.inotify"):
        make_a_folder()


@pytest.mark.parametrize("when", ["at the start", "later"])
def test_a_folder_without_rights_does_not_hide_the_others(
    landing: Landing, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, when: str
) -> None:
    """The watcher leaves others unwatched as well, and does not say which."""
    closed = landing.path / ("." if when == "at the start" else "closed")
    refuse(monkeypatch, closed, PermissionError(13, "Permission denied"), lose="unwatched")
    monkeypatch.setattr("tidegate.sources.folder._SWEEP", 0.1)
    with landing.ready() as recorder:
        (landing.path / "closed").mkdir()
        landing.move_in("unwatched/a.csv")
        recorder.wait_for("unwatched/a.csv")
        landing.move_in("unwatched/b.csv")
        landing.move_in("watched/b.csv")
        recorder.wait_for("unwatched/b.csv", "watched/b.csv")
    assert caplog.text.count("can't be watched in full") == 1


def refuse(monkeypatch: pytest.MonkeyPatch, folder: Path, refusal: Exception, lose: str = "\0") -> None:
    """Watching `folder` fails, unless errors are to be ignored; changes below `lose` are not told."""
    watch = watchfiles.watch

    def refusing(path: Path, **options: Any) -> Iterator[object]:
        if path == folder and not options["ignore_permission_denied"]:
            raise refusal
        for changes in watch(path, **options):
            yield {change for change in changes if lose not in change[1]}

    monkeypatch.setattr("tidegate.sources.folder.watch", refusing)
