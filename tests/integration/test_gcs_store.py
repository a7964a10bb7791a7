"""What only Google Cloud Storage can do to a store; the rest is in conformance/test_stores.py."""

import builtins
import hashlib
import socket
import sys
import uuid
from base64 import b64encode
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tidegate.errors import SettingsError, StoreUnavailableError
from tidegate.objects import ObjectVersion, open_store
from tidegate.objects import gcs as gcs_module
from tidegate.objects.gcs import GcsStore
from tidegate.settings import GcsSettings, Settings

pytestmark = pytest.mark.integration


@pytest.fixture
def store(gcs_server: str) -> GcsStore:
    name = f"bucket-{uuid.uuid4().hex}"
    store = open_store(Settings(landing=f"gs://{name}/in", gcs=GcsSettings(endpoint_url=gcs_server)))
    assert isinstance(store, GcsStore)
    store._client.create_bucket(name)
    return store


def test_the_version_is_the_generation(store: GcsStore, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    put = store.put(tmp_path / "file", "in/a.csv")
    assert put.version.isdigit()
    assert put.etag == b64encode(hashlib.md5(b"x", usedforsecurity=False).digest()).decode()
    assert put.uploaded_at.tzinfo is UTC
    assert [obj.object_id for obj in store.list()] == [store.stat("in/a.csv").object_id] == [put.object_id]


def test_an_object_whose_size_nobody_told_may_be_empty(store: GcsStore, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    put = store.put(tmp_path / "file", "in/empty.csv")
    assert store.head(replace(put, size=None), 10) == b""


def test_large_uploads_are_resumable(store: GcsStore, tmp_path: Path) -> None:
    content = bytes(range(256)) * (10 << 12)
    (tmp_path / "file").write_bytes(content)
    put = store.put(tmp_path / "file", "in/large.csv")
    assert put.size == len(content)
    store.fetch(put, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == content


def test_a_bucket_that_does_not_exist_needs_a_person(gcs_server: str, tmp_path: Path) -> None:
    store = open_store(Settings(landing="gs://no-such-bucket", gcs=GcsSettings(endpoint_url=gcs_server)))
    (tmp_path / "file").write_bytes(b"x")
    obj = ObjectVersion(
        store="gcs",
        bucket="no-such-bucket",
        key="a.csv",
        version="1",
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


def test_a_server_that_does_not_answer_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gcs_module, "_RETRY", gcs_module._RETRY.with_timeout(0.1))
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{one.getsockname()[1]}"
        store = open_store(Settings(landing="gs://bucket", gcs=GcsSettings(endpoint_url=url)))
        with pytest.raises(StoreUnavailableError, match=r"gs://bucket/a\.csv"):
            store.stat("a.csv")


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_google(name: str, *rest: Any) -> Any:
        if name.startswith("google"):
            raise ImportError(f"No module named {name!r}")
        return real(name, *rest)

    monkeypatch.delitem(sys.modules, "tidegate.objects.gcs")
    monkeypatch.setattr(builtins, "__import__", without_google)
    with pytest.raises(SettingsError, match=r"tidegate\[gcs\]"):
        open_store(Settings(landing="gs://bucket"))


def test_no_credentials_need_a_person(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    with pytest.raises(SettingsError, match="Log in"):
        open_store(Settings(landing="gs://bucket", gcs=GcsSettings(project="p")))
