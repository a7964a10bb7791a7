"""What only S3 can do to a store; the rest is in conformance/test_stores.py."""

import hashlib
import multiprocessing
import socket
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tidegate.errors import (
    ObjectMissingError,
    ObjectOverwrittenError,
    SettingsError,
    StoreUnavailableError,
)
from tidegate.objects import ObjectVersion, open_store
from tidegate.objects import s3 as s3_module
from tidegate.objects.s3 import S3Store
from tidegate.settings import S3Settings, Settings

pytestmark = pytest.mark.integration


@pytest.fixture
def store(aws_server: str) -> S3Store:
    name = f"bucket-{uuid.uuid4().hex}"
    store = open_store(Settings(landing=f"s3://{name}/in", s3=S3Settings(endpoint_url=aws_server)))
    assert isinstance(store, S3Store)
    store._request("create_bucket")
    return store


def keep_versions(store: S3Store, status: str = "Enabled") -> None:
    store._request("put_bucket_versioning", VersioningConfiguration={"Status": status})


def drop(store: S3Store, key: str, content: bytes = b"x") -> dict[str, Any]:
    return store._request("put_object", Key=key, Body=content)


def test_folder_markers_are_objects_but_the_landing_itself_is_not(store: S3Store) -> None:
    for key in ["in/", "in/a/", "in/a/b.csv", "inbox/c.csv"]:
        drop(store, key, b"")
    assert [obj.key for obj in store.list()] == ["in/a/", "in/a/b.csv"]


def test_a_listing_goes_on_over_many_pages(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [f"in/{number:02}.csv" for number in range(23)]
    for key in keys:
        drop(store, key)
    request = store._request

    def in_small_pages(method: str, **arguments: Any) -> dict[str, Any]:
        return request(method, **arguments, **({"MaxKeys": 5} if method.startswith("list_") else {}))

    monkeypatch.setattr(store, "_request", in_small_pages)
    assert [obj.key for obj in store.list()] == keys
    keep_versions(store)
    for key in keys[::2]:
        drop(store, key, b"newer")
    store._request("delete_object", Key=keys[1])
    listed = list(store.list())
    assert [obj.key for obj in listed] == [key for key in keys if key != keys[1]]
    assert [obj.size for obj in listed if obj.key == keys[2]] == [5]


def test_listings_are_never_stale(store: S3Store) -> None:
    drop(store, "in/a.csv")
    assert len(list(store.list())) == 1
    drop(store, "in/b.csv")
    assert len(list(store.list())) == 2
    store._request("delete_object", Key="in/a.csv")
    assert [obj.key for obj in store.list()] == ["in/b.csv"]


def test_the_version_is_the_same_however_it_becomes_known(store: S3Store, tmp_path: Path) -> None:
    """An event, a listing and a look must not make three objects of one."""
    (tmp_path / "file").write_bytes(b"x")
    for status in [None, "Enabled", "Suspended"]:
        if status:
            keep_versions(store, status)
        put = store.put(tmp_path / "file", f"in/{status}.csv")
        assert store.stat(put.key).object_id == put.object_id
        assert [obj.object_id for obj in store.list(f"{status}")] == [put.object_id]
        assert put.etag == hashlib.md5(b"x", usedforsecurity=False).hexdigest()
        assert (put.version == put.etag) == (status != "Enabled")


def test_older_versions_can_be_had_where_the_bucket_keeps_them(store: S3Store, tmp_path: Path) -> None:
    keep_versions(store)
    drop(store, "in/a.csv", b"old")
    old = store.stat("in/a.csv")
    drop(store, "in/a.csv", b"new")
    store.fetch(old, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"old"
    store._request("delete_object", Key="in/a.csv")
    store.fetch(old, tmp_path / "copy")
    store._request("delete_object", Key="in/a.csv", VersionId=old.version)
    with pytest.raises(ObjectMissingError):
        store.fetch(old, tmp_path / "copy")


def test_a_version_that_was_removed_is_overwritten_when_there_is_a_newer(
    store: S3Store, tmp_path: Path
) -> None:
    keep_versions(store)
    drop(store, "in/a.csv", b"old")
    old = store.stat("in/a.csv")
    drop(store, "in/a.csv", b"new")
    store._request("delete_object", Key="in/a.csv", VersionId=old.version)
    with pytest.raises(ObjectOverwrittenError, match=old.version):
        store.fetch(old, tmp_path / "copy")


def test_a_version_known_without_its_etag_is_still_exact(store: S3Store) -> None:
    """The ledger may give back an object of which it kept only the version."""
    drop(store, "in/a.csv", b"old")
    old = replace(store.stat("in/a.csv"), etag=None)
    assert store.head(old, 3) == b"old"
    drop(store, "in/a.csv", b"new")
    with pytest.raises(ObjectOverwrittenError):
        store.head(old, 3)


def test_a_server_that_ignores_conditions_is_not_believed(
    store: S3Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(store, "in/a.csv", b"old")
    old = store.stat("in/a.csv")
    drop(store, "in/a.csv", b"new")
    monkeypatch.setattr(s3_module, "_pin", lambda _obj: {})
    with pytest.raises(ObjectOverwrittenError):
        store.fetch(old, tmp_path / "copy")
    assert list(tmp_path.iterdir()) == []


def test_large_uploads_go_in_parts(store: S3Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_module, "PART", 5 << 20)
    content = bytes(range(256)) * (12 << 12)
    (tmp_path / "file").write_bytes(content)
    put = store.put(tmp_path / "file", "in/large.csv")
    assert put.size == len(content)
    assert put.etag is not None
    assert put.etag.endswith("-3")
    assert store.stat("in/large.csv").object_id == put.object_id
    assert store.fetch(put, tmp_path / "copy") == hashlib.sha256(content).hexdigest()
    assert store.head(put, 7) == content[:7]


def test_an_upload_that_breaks_off_leaves_nothing(
    store: S3Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_module, "PART", 5 << 20)
    (tmp_path / "file").write_bytes(b"x" * (11 << 20))
    request = store._request

    def break_off(method: str, **arguments: Any) -> dict[str, Any]:
        if arguments.get("PartNumber") == 2:
            raise ConnectionResetError("reset")
        return request(method, **arguments)

    monkeypatch.setattr(store, "_request", break_off)
    with pytest.raises(StoreUnavailableError):
        store.put(tmp_path / "file", "in/large.csv")
    assert list(store.list()) == []
    assert store._request("list_multipart_uploads").get("Uploads", []) == []


def test_an_object_whose_size_nobody_told_may_be_empty(store: S3Store) -> None:
    drop(store, "in/empty.csv", b"")
    assert store.head(replace(store.stat("in/empty.csv"), size=None), 10) == b""


def test_a_bucket_that_does_not_exist_needs_a_person(aws_server: str, tmp_path: Path) -> None:
    store = open_store(Settings(landing="s3://no-such-bucket", s3=S3Settings(endpoint_url=aws_server)))
    (tmp_path / "file").write_bytes(b"x")
    obj = ObjectVersion(
        store="s3",
        bucket="no-such-bucket",
        key="a.csv",
        version="0" * 32,
        size=1,
        uploaded_at=datetime(2024, 1, 1, tzinfo=UTC),
    )
    for call in (
        lambda: list(store.list()),
        lambda: store.stat("a.csv"),
        lambda: store.head(obj, 1),
        lambda: store.fetch(obj, tmp_path / "copy"),
        lambda: store.put(tmp_path / "file", "a.csv"),
    ):
        with pytest.raises(SettingsError, match="no-such-bucket"):
            call()


@pytest.fixture
def dead_end() -> Iterator[str]:
    """A port at which nobody listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{one.getsockname()[1]}"


@pytest.mark.usefixtures("aws_server")
def test_a_server_that_does_not_answer_is_unavailable(dead_end: str) -> None:
    store = open_store(Settings(landing="s3://bucket", s3=S3Settings(endpoint_url=dead_end)))
    with pytest.raises(StoreUnavailableError, match=r"s3://bucket/a\.csv"):
        store.stat("a.csv")


def test_no_credentials_need_a_person(
    store: S3Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(SettingsError, match="credentials"):
        store_like(store).stat("in/a.csv")


def store_like(store: S3Store) -> S3Store:
    """One more store for the same landing, with connections of its own."""
    from tidegate.objects.landing import Landing

    return S3Store(Landing(store.bucket, store.prefix), store._settings)


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_makes_connections_of_its_own(store: S3Store) -> None:
    drop(store, "in/a.csv")
    store.stat("in/a.csv")
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    child = context.Process(target=lambda: answers.put(store.stat("in/a.csv").key))
    child.start()
    assert answers.get(timeout=20) == "in/a.csv"
    child.join()
