"""Every store there is, each with an empty landing of its own."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from tidegate.objects import ObjectStore
from tidegate.objects.folder import FolderStore
from tidegate.objects.landing import Landing
from tidegate.settings import GcsSettings, S3Settings
from tidegate.testing.memory import MemoryStore


@pytest.fixture(scope="session")
def s3_connections() -> dict[int, Any]:
    """Shared by all stores of the run: opening one takes longer than most tests."""
    return {}


def folder(request: pytest.FixtureRequest) -> ObjectStore:
    landing = request.getfixturevalue("tmp_path") / "landing"
    landing.mkdir()
    return FolderStore(landing)


def memory(_request: pytest.FixtureRequest) -> ObjectStore:
    return MemoryStore(prefix="in/")


def s3(request: pytest.FixtureRequest, *, versioned: bool = False, prefix: str = "in/") -> ObjectStore:
    from tidegate.objects.s3 import S3Store

    url = request.getfixturevalue("aws_server")
    store = S3Store(Landing(f"landing-{uuid.uuid4().hex}", prefix), S3Settings(endpoint_url=url))
    store._connections = request.getfixturevalue("s3_connections")
    store._request("create_bucket")
    if versioned:
        store._request("put_bucket_versioning", VersioningConfiguration={"Status": "Enabled"})
    return store


def s3_versioned(request: pytest.FixtureRequest) -> ObjectStore:
    return s3(request, versioned=True, prefix="")


def gcs(request: pytest.FixtureRequest) -> ObjectStore:
    from tidegate.objects.gcs import GcsStore

    url = request.getfixturevalue("gcs_server")
    store = GcsStore(Landing(f"landing-{uuid.uuid4().hex}", "in/"), GcsSettings(endpoint_url=url))
    store._client.create_bucket(store.bucket)
    return store


def with_server(make: Callable[[pytest.FixtureRequest], ObjectStore]) -> Any:
    return pytest.param(make, id=make.__name__, marks=pytest.mark.integration)


@pytest.fixture(
    params=[
        pytest.param(folder, id="folder"),
        pytest.param(memory, id="memory"),
        with_server(s3),
        with_server(s3_versioned),
        with_server(gcs),
    ]
)
def store(request: pytest.FixtureRequest) -> ObjectStore:
    made: ObjectStore = request.param(request)
    return made
