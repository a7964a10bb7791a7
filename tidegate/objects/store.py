"""The seam to a place that holds objects: five calls, one implementation a provider.

``tidegate.testing.memory`` holds the twin for tests; one conformance suite runs over all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from tidegate.errors import ObjectRejectedError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tidegate.objects.model import ObjectVersion
    from tidegate.settings import Settings


class ObjectStore(Protocol):
    """A landing: the bucket (and prefix) or folder that people drop files into.

    Keys are always full keys of the bucket, the landing's prefix included; for a folder, paths
    below the landing with ``/``.
    Errors: ObjectMissingError, ObjectOverwrittenError, StoreUnavailableError for everything that
    may pass, SettingsError when the bucket or the credentials don't exist, and
    ObjectRejectedError with one of these rules: ``key`` (not a key below the landing, or none that
    an upload may have), ``folder`` and ``not_a_file`` (something else than a file stands there),
    ``unreadable`` (its owner keeps it from us), ``archived`` (it must be restored first).
    """

    #: the landing as a URL, for messages
    url: str
    #: bucket name; for a folder, the absolute path of the landing
    bucket: str
    #: what every key of the landing begins with: empty, or a text that ends in ``/``
    prefix: str

    def relative_key(self, key: str) -> str:
        """The part of `key` below the landing, which is what data contracts match on.

        ``store.prefix + relative`` is the way back. A key that is not below the landing raises
        ObjectRejectedError (rule ``key``).
        """
        if not key.startswith(self.prefix) or key == self.prefix:
            msg = f"{key!r} is not a key below the landing {self.url}."
            raise ObjectRejectedError(msg, rule="key")
        return key.removeprefix(self.prefix)

    def list(self, prefix: str = "") -> Iterator[ObjectVersion]:
        """Every current object under landing + `prefix`, ordered by key (as UTF-8), in bounded memory.

        `prefix` is the beginning of a text, not a folder: ``orders/2024`` finds ``orders/2024-01.csv``.
        """

    def stat(self, key: str) -> ObjectVersion:
        """The current version of `key`."""

    def head(self, obj: ObjectVersion, size: int) -> bytes:
        """The first `size` bytes of exactly this version (fewer when it is shorter)."""

    def fetch(self, obj: ObjectVersion, target: Path) -> str:
        """Copy exactly this version to `target`, whole or not at all; return its SHA-256 (hex).

        The copy holds the stored bytes: nothing is unpacked on the way.
        """

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
