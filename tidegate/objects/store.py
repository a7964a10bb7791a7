"""The seam to a place that holds objects: five calls, one implementation a provider."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from tidegate.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tidegate.objects.model import ObjectVersion
    from tidegate.settings import Settings


class ObjectStore(Protocol):
    """A landing: the bucket (and prefix) or folder that people drop files into.

    Keys are always full keys of the bucket, the landing's prefix included; for a folder, paths
    below the landing with ``/``.
    Errors: ObjectMissingError, ObjectOverwrittenError, ObjectRejectedError (a folder instead of
    a file), StoreUnavailableError for everything that may pass.
    """

    #: the landing as a URL, for messages
    url: str

    def list(self, prefix: str = "") -> Iterator[ObjectVersion]:
        """Every current object under landing + `prefix`, in key order, in bounded memory."""

    def stat(self, key: str) -> ObjectVersion:
        """The current version of `key`."""

    def head(self, obj: ObjectVersion, size: int) -> bytes:
        """The first `size` bytes of exactly this version (fewer when it is shorter)."""

    def fetch(self, obj: ObjectVersion, target: Path) -> str:
        """Copy exactly this version to `target`, whole or not at all; return its SHA-256 (hex)."""

    def put(self, source: Path, key: str) -> ObjectVersion:
        """Upload a file so that watchers see it only when it is whole; return what was created."""


def open_store(settings: Settings) -> ObjectStore:
    """The store for the landing in `settings`; imports only the provider it needs."""
    landing = settings.landing
    if landing.startswith("s3://"):
        from tidegate.objects.s3 import S3Store

        return S3Store.from_settings(settings)
    if landing.startswith("gs://"):
        from tidegate.objects.gcs import GcsStore

        return GcsStore.from_settings(settings)
    if "://" in landing and not landing.startswith("file://"):
        scheme = landing.partition("://")[0]
        msg = f"landing = {landing!r}: {scheme}:// is not supported; use a folder, s3://… or gs://…"
        raise SettingsError(msg)
    from tidegate.objects.folder import FolderStore

    return FolderStore.from_settings(settings)
