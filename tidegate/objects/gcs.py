"""A bucket of Google Cloud Storage as the landing.

An object's version is its generation. As with S3 (see objects/s3_errors.py), a refusal for lack of
rights is StoreUnavailableError: it says nothing about the object.
"""

from __future__ import annotations

from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any

from tidegate.clock import now
from tidegate.errors import (
    ObjectMissingError,
    ObjectOverwrittenError,
    ObjectRejectedError,
    SettingsError,
    StoreUnavailableError,
    TidegateError,
)
from tidegate.objects.copying import Target, open_source, whole_copy
from tidegate.objects.model import ObjectVersion
from tidegate.objects.store import ObjectStore

try:
    from google.api_core.exceptions import (
        BadRequest,
        Forbidden,
        GoogleAPICallError,
        NotFound,
        PreconditionFailed,
        RequestRangeNotSatisfiable,
        RetryError,
        Unauthorized,
    )
    from google.auth.credentials import AnonymousCredentials
    from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError
    from google.cloud.storage import Blob, Client
    from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
    from google.cloud.storage.retry import DEFAULT_RETRY
    from urllib3.exceptions import HTTPError
except ImportError as missing:
    message = (
        f"A landing at gs:// needs Google's client ({missing}). Install it with: pip install 'tidegate[gcs]'"
    )
    raise SettingsError(message) from missing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tidegate.objects.landing import Landing
    from tidegate.settings import GcsSettings

#: requests' errors are OSErrors
_TRANSPORT_ERRORS = (
    OSError,
    GoogleAPICallError,
    RetryError,
    GoogleAuthError,
    DataCorruption,
    InvalidResponse,
    HTTPError,
)
#: seconds to connect, and to wait for the next bytes
_TIMEOUT = (5, 30)
#: Google's own retries end after this long; a task's come on top
_RETRY = DEFAULT_RETRY.with_timeout(15.0)
_FIELDS = "items(name,generation,size,timeCreated,md5Hash),nextPageToken"


class GcsStore(ObjectStore):
    """Objects are all names below the prefix, folder markers (names that end in ``/``) included."""

    def __init__(self, landing: Landing, settings: GcsSettings) -> None:
        self.bucket = landing.bucket
        self.prefix = landing.prefix
        self.url = f"gs://{landing.bucket}/{landing.prefix}"
        self._client = _connect(settings)
        self._bucket = self._client.bucket(landing.bucket)

    def list(self, prefix: str = "") -> Iterator[ObjectVersion]:
        """Holds one answer of the bucket in memory: at most 1,000 objects."""
        with self._asking(None):
            for blob in self._client.list_blobs(
                self._bucket, prefix=self.prefix + prefix, fields=_FIELDS, timeout=_TIMEOUT, retry=_RETRY
            ):
                if blob.name != self.prefix:
                    yield self._object(blob)

    def stat(self, key: str) -> ObjectVersion:
        self.relative_key(key)
        blob = self._bucket.blob(key)
        with self._asking(key):
            blob.reload(timeout=_TIMEOUT, retry=_RETRY)
        return self._object(blob)

    def head(self, obj: ObjectVersion, size: int) -> bytes:
        if size <= 0 or obj.size == 0:
            return b""
        start = BytesIO()
        try:
            # a checksum is of the whole object, and this is only its beginning
            self._download(obj, start, end=size - 1, checksum=None)
        except _EmptyError:
            return b""
        return start.getvalue()

    def fetch(self, obj: ObjectVersion, target: Target) -> str:
        with whole_copy(target) as copy:
            self._download(obj, copy, checksum="auto")
        return copy.sha256

    def put(self, source: Path, key: str) -> ObjectVersion:
        self.relative_key(key)
        blob = self._bucket.blob(key)
        with open_source(source), self._asking(key):
            blob.upload_from_filename(str(source), timeout=_TIMEOUT, retry=_RETRY)
        return self._object(blob)

    def _download(self, obj: ObjectVersion, sink: Any, **how: Any) -> None:
        blob = self._bucket.blob(obj.key, generation=int(obj.version))
        try:
            # raw: the stored bytes, as promised, even where Google would unpack them on the way
            blob.download_to_file(
                sink, client=self._client, raw_download=True, timeout=_TIMEOUT, retry=_RETRY, **how
            )
        except (NotFound, PreconditionFailed) as error:
            raise self._absence(obj) from error
        except RequestRangeNotSatisfiable as error:
            raise _EmptyError from error
        except _TRANSPORT_ERRORS as error:
            raise self._explain(error, obj.key) from error
        # what was sent says which generation it is; emulators that don't are asked afterwards
        sent = blob.generation or self.stat(obj.key).version
        if str(sent) != obj.version:
            raise _overwritten(obj, str(sent))

    def _absence(self, obj: ObjectVersion) -> TidegateError:
        try:
            current = self.stat(obj.key)
        except TidegateError as absence:
            return absence
        if current.version == obj.version:
            return StoreUnavailableError(f"{obj.url}: the bucket contradicts itself; try again.")
        return _overwritten(obj, current.version)

    @contextmanager
    def _asking(self, key: str | None) -> Iterator[None]:
        try:
            yield
        except _TRANSPORT_ERRORS as error:
            raise self._explain(error, key) from error

    def _explain(self, error: Exception, key: str | None) -> TidegateError:
        url = self.url if key is None else f"gs://{self.bucket}/{key}"
        if isinstance(error, NotFound):
            if key is None or not self._bucket_exists():
                msg = f"The bucket {self.bucket!r} does not exist. Create it, or set another `landing`."
                return SettingsError(msg)
            return ObjectMissingError(f"{url} is gone: the bucket holds no such key any more.")
        if isinstance(error, (Forbidden, Unauthorized)):
            msg = (
                f"{url}: access denied ({error}). Check the credentials and their role: Storage Object User."
            )
            return StoreUnavailableError(msg)
        if isinstance(error, BadRequest) and key is not None:
            return ObjectRejectedError(f"{url}: the bucket does not take this key: {error}.", rule="key")
        return StoreUnavailableError(f"{url}: no usable answer ({type(error).__name__}: {error}).")

    def _bucket_exists(self) -> bool:
        try:
            # a listing needs no right that reading does not; Bucket.exists() would
            next(iter(self._client.list_blobs(self._bucket, max_results=1, retry=_RETRY)), None)
        except NotFound:
            return False
        except _TRANSPORT_ERRORS:
            return True  # no right or no way to ask: then the key is what is known to be missing
        return True

    def _object(self, blob: Blob) -> ObjectVersion:
        return ObjectVersion(
            store="gcs",
            bucket=self.bucket,
            key=blob.name,
            version=str(blob.generation),
            size=blob.size,
            uploaded_at=blob.time_created or now(),
            etag=blob.md5_hash,
        )


class _EmptyError(TidegateError):
    """A range was asked of an object that has no bytes."""


def _connect(settings: GcsSettings) -> Client:
    try:
        if settings.endpoint_url:
            # an endpoint of one's own is an emulator, and emulators know no accounts
            return Client(
                project=settings.project or "emulator",
                credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]
                client_options={"api_endpoint": settings.endpoint_url},
            )
        return Client(project=settings.project)
    except (DefaultCredentialsError, OSError) as error:
        # the client also needs a project, and says so with an OSError
        msg = f"Google Cloud Storage can't be used: {error}. Log in with gcloud, and set [gcs] project."
        raise SettingsError(msg) from error


def _overwritten(obj: ObjectVersion, current: str) -> ObjectOverwrittenError:
    msg = (
        f"{obj.url}: the version {obj.version} no longer exists, {current} has taken its place. "
        "The newer version is an object of its own."
    )
    return ObjectOverwrittenError(msg)
