"""The seam to a place that holds objects: five calls, one implementation a provider.

``tidegate.testing.memory`` holds the twin for tests; one conformance suite runs over all of them.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from tidegate.errors import ObjectRejectedError, SettingsError
from tidegate.objects.filenames import is_in_progress

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tidegate.objects.copying import Target
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

    def fetch(self, obj: ObjectVersion, target: Target) -> str:
        """Copy exactly this version to `target`; return its SHA-256 (hex).

        A file is whole or not there; what is in memory counts only when this returns. The copy holds
        the stored bytes: nothing is unpacked on the way.
        """

    @contextmanager
    def at_hand(self, obj: ObjectVersion) -> Iterator[Path | None]:
        """A path that exactly this version can be read under within the block; None: it must be fetched.

        ObjectOverwrittenError at the end of the block when the object was changed meanwhile, and
        StoreUnavailableError when it may have been: what was read is then worth nothing.
        """
        yield None

    def put(self, source: Path, key: str) -> ObjectVersion:
        """Upload a file so that watchers see it only when it is whole; return what was created.

        Its `uploaded_at` is when the store answered. S3 itself counts from the moment at which the
        upload arrived or, in parts, was begun: `stat` may tell an earlier time.
        """


def open_store(settings: Settings) -> ObjectStore:
    """The store for the landing in `settings`; imports only the provider it needs."""
    return _open("landing", settings.landing, settings.landing_dir, settings)


def open_quarantine(settings: Settings) -> ObjectStore:
    """The place for what is held; SettingsError when uploads would be looked for in it."""
    store = _open("quarantine", settings.quarantine, settings.quarantine_dir, settings)
    if _overlap(settings):
        msg = (
            f"quarantine: {store.url} and the landing lie in each other, so that files written there would "
            "be taken for uploads. Set another place."
        )
        raise SettingsError(msg)
    return store


def _overlap(settings: Settings) -> bool:
    landing, quarantine = settings.landing_dir, settings.quarantine_dir
    if landing is not None and quarantine is not None:
        if quarantine.is_relative_to(landing):
            return not any(map(is_in_progress, quarantine.relative_to(landing).parts))
        return landing.is_relative_to(quarantine)
    one, other = (url.rstrip("/") + "/" for url in (settings.landing, settings.quarantine))
    return one.startswith(other) or other.startswith(one)


def _open(setting: str, url: str, folder: Path | None, settings: Settings) -> ObjectStore:
    if folder is not None:
        from tidegate.objects.folder import FolderStore

        return FolderStore.made(folder, setting)
    from tidegate.objects.landing import Landing

    if url.startswith("s3://"):
        from tidegate.objects.s3 import S3Store

        return S3Store(Landing.parse(url, setting), settings.s3)
    if url.startswith("gs://"):
        from tidegate.objects.gcs import GcsStore

        return GcsStore(Landing.parse(url, setting), settings.gcs)
    scheme = url.partition("://")[0]
    msg = f"{setting} = {url!r}: {scheme}:// is not supported; use a folder, s3://… or gs://…"
    raise SettingsError(msg)
