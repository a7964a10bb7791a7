"""What only a folder can do to a store; the rest is in conformance/test_stores.py."""

import os
import socket
import subprocess
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tidegate.errors import (
    ObjectMissingError,
    ObjectOverwrittenError,
    ObjectRejectedError,
    SettingsError,
    StoreUnavailableError,
)
from tidegate.objects import ObjectVersion, file_versions, is_newer, open_store
from tidegate.objects.copying import Copy
from tidegate.objects.folder import FolderStore
from tidegate.settings import Settings


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    landing = tmp_path / "landing"
    landing.mkdir()
    return FolderStore(landing)


def drop(store: FolderStore, key: str, content: bytes = b"x") -> Path:
    path = store.root / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def keys(store: FolderStore, prefix: str = "") -> list[str]:
    return [obj.key for obj in store.list(prefix)]


def test_the_landing_is_created_when_missing(tmp_path: Path) -> None:
    settings = Settings(landing=str(tmp_path / "a" / "b"))
    store = open_store(settings)
    assert (tmp_path / "a" / "b").is_dir()
    assert store.bucket == str(tmp_path / "a" / "b")


def test_a_landing_that_can_not_be_created_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="can't be created"):
        open_store(Settings(landing=str(tmp_path / "file" / "landing")))


def test_uploads_in_progress_are_no_objects(store: FolderStore, tmp_path: Path) -> None:
    for key in [".hidden.csv", ".git/a.csv", "a.csv.tmp", "b.csv.PART", "new.part/a.csv", "c.crdownload"]:
        drop(store, key)
        with pytest.raises(ObjectMissingError):
            store.stat(key)
        with pytest.raises(ObjectRejectedError, match="upload in progress"):
            store.put(drop(store, "source.csv"), key)
    assert keys(store) == ["source.csv"]
    assert store.key_of(str(store.root / ".git" / "a.csv")) is None
    assert store.key_of(str(tmp_path / "a.csv")) is None


def test_version_and_time_come_from_the_file(store: FolderStore) -> None:
    os.utime(drop(store, "a.csv", b"12345"), ns=(0, 1_700_000_000_123_456_789))
    obj = store.stat("a.csv")
    assert obj.version == "1700000000123456789-5"
    assert obj.uploaded_at == datetime(2023, 11, 14, 22, 13, 20, 123456, tzinfo=UTC)


def test_a_file_from_before_1970_is_older_than_any_later_one(store: FolderStore) -> None:
    path = drop(store, "a.csv")
    os.utime(path, ns=(-1_000_000_000, -1_000_000_000))
    old = store.stat("a.csv")
    assert old.uploaded_at == datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)
    os.utime(path, ns=(5, 5))
    assert is_newer(store.stat("a.csv"), old)
    assert not is_newer(old, store.stat("a.csv"))


def test_names_that_are_not_utf8_are_listed_and_fetched(store: FolderStore, tmp_path: Path) -> None:
    raw = os.fsencode(store.root) + b"/caf\xe9.csv"
    Path(os.fsdecode(raw)).write_bytes(b"latin")
    drop(store, "café.csv", b"utf-8")
    drop(store, "caf\\xe9.csv", b"spelled out")
    found = {obj.key: obj for obj in store.list()}
    assert list(found) == ["caf\\x5cxe9.csv", "caf\\xe9.csv", "café.csv"]
    for key, content in {
        "caf\\xe9.csv": b"latin",
        "café.csv": b"utf-8",
        "caf\\x5cxe9.csv": b"spelled out",
    }.items():
        assert store.stat(key) == found[key]
        assert found[key].object_id
        store.fetch(found[key], tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == content


def test_control_characters_in_names(store: FolderStore) -> None:
    drop(store, "new\nline\t\x1b.csv")
    assert keys(store) == ["new\nline\t\x1b.csv"]
    assert store.stat("new\nline\t\x1b.csv").size == 1


def test_deep_folders_are_listed(store: FolderStore) -> None:
    key = "/".join(["d"] * 1500) + "/a.csv"
    folder = os.open(store.root, os.O_RDONLY)
    for _ in range(1500):  # in steps: as one path it is longer than a call takes at some depth
        os.mkdir("d", dir_fd=folder)
        below = os.open("d", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = below
    os.close(os.open("a.csv", os.O_CREAT, dir_fd=folder))
    os.close(folder)
    found = keys(store)
    # Python's own rmtree, with which pytest tidies up, does not get so deep.
    subprocess.run(["rm", "-r", store.root / "d"], check=True)
    assert found == [key]


def test_listing_goes_only_where_the_prefix_leads(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in ["a/b/1.csv", "a/b2/2.csv", "a/c/3.csv", "z/4.csv"]:
        drop(store, key)
    visited: list[str] = []
    scandir = os.scandir

    def spy(path: Path) -> object:
        visited.append(str(path.relative_to(store.root)))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", spy)
    assert keys(store, "a/b") == ["a/b/1.csv", "a/b2/2.csv"]
    assert visited == ["a", "a/b", "a/b2"]


@pytest.mark.parametrize("prefix", ["/", "//", "../", "./", "a/../b", ".git/"])
def test_prefixes_that_no_key_has(store: FolderStore, prefix: str) -> None:
    drop(store, "b")
    drop(store, ".git/a.csv")
    assert keys(store, prefix) == []


class TestWhatIsNoFile:
    @pytest.fixture(
        params=["folder", "fifo", "socket", "device", "loop", "dangling", "outside", "link to folder"]
    )
    def what(self, request: pytest.FixtureRequest, store: FolderStore, tmp_path: Path) -> str:
        path = store.root / "odd.csv"
        outside = tmp_path / "secret.csv"
        outside.write_bytes(b"secret")
        make: dict[str, Callable[[], object]] = {
            "folder": path.mkdir,
            "fifo": lambda: os.mkfifo(path),
            "socket": lambda: bind(path),
            "device": lambda: path.symlink_to("/dev/zero"),
            "loop": lambda: path.symlink_to(path),
            "dangling": lambda: path.symlink_to(store.root / "nothing"),
            "outside": lambda: path.symlink_to(outside),
            "link to folder": lambda: path.symlink_to(store.root),
        }
        kind: str = request.param
        make[kind]()
        return kind

    def test_is_refused_without_blocking(self, store: FolderStore, tmp_path: Path, what: str) -> None:
        obj = ObjectVersion(
            store="folder",
            bucket=store.bucket,
            key="odd.csv",
            version="1-1",
            size=1,
            uploaded_at=datetime(2024, 1, 1, tzinfo=UTC),
        )
        rule = "folder" if what == "folder" else "not_a_file"
        for call in (
            lambda: store.stat("odd.csv"),
            lambda: store.head(obj, 10),
            lambda: store.fetch(obj, tmp_path / "copy"),
        ):
            with pytest.raises(ObjectRejectedError) as refused:
                call()
            assert refused.value.rule == rule
        assert not (tmp_path / "copy").exists()

    def test_is_not_listed_but_seen(self, store: FolderStore, what: str) -> None:
        assert keys(store) == []
        (entry,) = store.walk()
        assert not entry.is_file
        assert entry.object.size is None
        assert entry.is_folder == (what == "folder")
        assert entry.object.object_id


def bind(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


def test_a_link_to_a_file_of_the_landing_is_an_object(store: FolderStore, tmp_path: Path) -> None:
    drop(store, "a.csv", b"content")
    (store.root / "b.csv").symlink_to("a.csv")
    assert keys(store) == ["a.csv", "b.csv"]
    store.fetch(store.stat("b.csv"), tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"content"


def test_links_to_folders_are_not_followed(store: FolderStore, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.csv").write_bytes(b"secret")
    drop(store, "real/a.csv")
    (store.root / "link").symlink_to(outside)
    (store.root / "inside").symlink_to("real")
    assert keys(store) == ["real/a.csv"]
    assert keys(store, "link/") == []
    for key in ["link/secret.csv", "inside/a.csv"]:
        with pytest.raises(ObjectRejectedError):
            store.stat(key)
    with pytest.raises(ObjectRejectedError):
        store.put(drop(store, "a.csv"), "link/new.csv")
    assert sorted(path.name for path in outside.iterdir()) == ["secret.csv"]


def test_a_folder_in_the_way_of_an_upload(store: FolderStore) -> None:
    source = drop(store, "source.csv")
    drop(store, "folder.csv/a.csv")
    with pytest.raises(ObjectRejectedError) as refused:
        store.put(source, "folder.csv")
    assert refused.value.rule == "folder"
    with pytest.raises(ObjectRejectedError) as refused:
        store.put(source, "source.csv/below.csv")
    assert refused.value.rule == "key"
    assert keys(store) == ["folder.csv/a.csv", "source.csv"]
    assert list(store.root.rglob(".*")) == []


@pytest.mark.parametrize(
    "key", ["", "/a.csv", "a//b.csv", "a/", "./a.csv", "../a.csv", "a/../../b.csv", "nul\0.csv", "\udcff.csv"]
)
def test_what_no_file_can_be_called_is_no_key(store: FolderStore, key: str) -> None:
    source = drop(store, "source.csv")
    with pytest.raises(ObjectRejectedError) as refused:
        store.stat(key)
    assert refused.value.rule == "key"
    with pytest.raises(ObjectRejectedError) as refused:
        store.put(source, key)
    assert refused.value.rule == "key"


def test_a_name_too_long_for_the_disk(store: FolderStore) -> None:
    with pytest.raises(ObjectMissingError):
        store.stat("a" * 300)
    with pytest.raises(ObjectRejectedError, match="too long"):
        store.put(drop(store, "source.csv"), "a" * 300)
    longest = "a" * 251 + ".csv"
    assert store.put(drop(store, "source.csv"), longest).key == longest


def test_uploads_of_the_same_moment_and_size_are_two_versions(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = drop(store, "source.csv")
    monkeypatch.setattr("time.time_ns", lambda: 1_700_000_000_000_000_000)
    versions = [store.put(source, "a.csv") for _ in range(3)]
    assert len({obj.version for obj in versions}) == 3
    assert is_newer(versions[1], versions[0])
    assert is_newer(versions[2], versions[1])
    assert store.stat("a.csv") == versions[2]


def test_an_upload_is_seen_whole_or_not_at_all(store: FolderStore, tmp_path: Path) -> None:
    """A watcher that lists all the time never sees a part of it."""
    source = tmp_path / "large"
    source.write_bytes(b"x" * 20_000_000)
    done = threading.Event()
    seen: set[int | None] = set()

    def watch() -> None:
        while not done.is_set():
            seen.update(obj.size for obj in store.list())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        store.put(source, "large.csv")
    finally:
        done.set()
        watcher.join()
    assert seen <= {20_000_000}


class _Meddling:
    """Does something to the file after its first block was copied."""

    def __init__(self, act: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
        write = Copy.write

        def meddle(copy: Copy, block: bytes) -> int:
            if copy.size == 0:
                act()
            return write(copy, block)

        monkeypatch.setattr(Copy, "write", meddle)


@pytest.mark.parametrize(
    "new", [b"", b"y" * 3_000_000, b"y" * 4_000_000], ids=["truncated", "same size", "grown"]
)
def test_a_file_changed_while_it_is_copied_is_overwritten(
    store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new: bytes
) -> None:
    path = drop(store, "a.csv", b"x" * 3_000_000)
    os.utime(path, ns=(1, 1))
    obj = store.stat("a.csv")
    _Meddling(lambda: path.write_bytes(new), monkeypatch)
    with pytest.raises(ObjectOverwrittenError, match="no longer the version"):
        store.fetch(obj, tmp_path / "copy")
    assert list(tmp_path.glob("*copy*")) == []


@pytest.mark.parametrize("replace", [True, False], ids=["replaced", "deleted"])
def test_a_file_that_goes_away_while_it_is_copied_is_still_copied_whole(
    store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replace: bool
) -> None:
    path = drop(store, "a.csv", b"x" * 3_000_000)
    other = drop(store, "b.csv", b"y")
    obj = store.stat("a.csv")
    _Meddling(lambda: other.replace(path) if replace else path.unlink(), monkeypatch)
    store.fetch(obj, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"x" * 3_000_000


@pytest.mark.parametrize("new", [b"", b"y", b"yy"], ids=["truncated", "same size", "grown"])
def test_a_file_changed_while_it_is_at_hand_is_overwritten(store: FolderStore, new: bytes) -> None:
    path = drop(store, "a.csv", b"x")
    os.utime(path, ns=(1, 1))

    def read_while_it_changes() -> None:
        with store.at_hand(store.stat("a.csv")) as there:
            assert there is not None
            assert there.read_bytes() == b"x"
            path.write_bytes(new)
            assert there.read_bytes() == new

    with pytest.raises(ObjectOverwrittenError, match="no longer the version"):
        read_while_it_changes()


def _change_and_set_the_time_back(path: Path) -> None:
    before = path.stat()
    path.write_bytes(b"y" * before.st_size)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_file_whose_time_is_set_back_after_a_change_does_not_count(
    store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = drop(store, "a.csv", b"x" * 3_000_000)
    obj = store.stat("a.csv")

    def read_while_it_changes() -> None:
        with store.at_hand(obj) as there:
            assert there is not None
            _change_and_set_the_time_back(path)

    with pytest.raises(StoreUnavailableError, match="touched while it was read"):
        read_while_it_changes()
    _Meddling(lambda: _change_and_set_the_time_back(path), monkeypatch)
    with pytest.raises(StoreUnavailableError, match="touched while it was read"):
        store.fetch(obj, tmp_path / "copy")
    monkeypatch.undo()
    store.fetch(obj, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"y" * 3_000_000


@pytest.mark.parametrize("replace", [True, False], ids=["replaced", "deleted"])
def test_a_file_that_goes_away_while_it_is_at_hand_is_still_there(store: FolderStore, replace: bool) -> None:
    path = drop(store, "a.csv", b"x")
    other = drop(store, "b.csv", b"y")
    with store.at_hand(store.stat("a.csv")) as there:
        if replace:
            other.replace(path)
        else:
            path.unlink()
        assert there is not None
        assert there.read_bytes() == b"x"


def test_trouble_of_others_is_not_put_down_to_the_landing(store: FolderStore) -> None:
    drop(store, "a.csv", b"x")
    with pytest.raises(OSError, match="no room"), store.at_hand(store.stat("a.csv")):
        raise OSError(28, "no room")


def test_a_file_without_rights_is_rejected(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    obj = store.put(drop(store, "source.csv"), "a.csv")

    def denied(*_args: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", denied)
    with pytest.raises(ObjectRejectedError, match="rights") as refused:
        store.head(obj, 1)
    assert refused.value.rule == "unreadable"


def test_a_folder_without_rights_does_not_hide_the_others(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    drop(store, "closed/a.csv")
    drop(store, "open/b.csv")
    scandir = os.scandir

    def denied(path: Path) -> object:
        if path.name == "closed":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", denied)
    assert keys(store) == ["open/b.csv"]
    assert "closed can't be read" in caplog.text


def test_a_landing_that_is_gone_is_no_fault_of_the_object(store: FolderStore, tmp_path: Path) -> None:
    """An unmounted disk must not send everything to quarantine."""
    path = drop(store, "a.csv")
    obj = store.stat("a.csv")
    path.unlink()
    store.root.rmdir()
    for call in (
        lambda: store.stat("a.csv"),
        lambda: store.head(obj, 1),
        lambda: store.fetch(obj, tmp_path / "copy"),
        lambda: list(store.list()),
        lambda: store.put(tmp_path / "x", "a.csv"),
    ):
        with pytest.raises(StoreUnavailableError, match="gone"):
            call()
    assert not store.root.exists()


def test_a_full_disk_is_no_fault_of_the_object(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    obj = store.put(drop(store, "source.csv"), "a.csv")
    with pytest.raises(StoreUnavailableError, match="space"):
        store.fetch(obj, Path("/dev/full/copy"))

    def full(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreUnavailableError, match="No space"):
        store.put(store.root / "source.csv", "b.csv")
    assert keys(store) == ["a.csv", "source.csv"]
    assert list(store.root.glob(".*")) == []


def test_times_beyond_the_calendar_do_not_stop_a_listing() -> None:
    assert file_versions.moment(10**30) == datetime.max.replace(tzinfo=UTC)
    assert file_versions.moment(-(10**30)) == datetime.min.replace(tzinfo=UTC)
