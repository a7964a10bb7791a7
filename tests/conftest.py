"""Servers that stand in for the clouds, one of each for the whole test run."""

import sys
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _contracts_are_compiled_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    # Python takes a module for the same when its size and the second of its last change are.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)


@pytest.fixture(scope="session")
def aws_server() -> Iterator[str]:
    """The URL of a moto server (S3 and SQS); credentials for it are in the environment."""
    from moto.server import ThreadedMotoServer

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        try:
            host, port = server.get_host_and_port()
            yield f"http://{host}:{port}"
        finally:
            server.stop()


@pytest.fixture(scope="session")
def gcs_server() -> Iterator[str]:
    """The URL of a Google Cloud Storage emulator."""
    from gcp_storage_emulator.server import create_server

    server = create_server("127.0.0.1", 0, in_memory=True)
    server.start()
    try:
        yield f"http://127.0.0.1:{server._api._httpd.server_port}"
    finally:
        server.stop()
