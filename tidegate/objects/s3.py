"""A bucket of S3, or of anything that speaks its protocol, as the landing.

An object's version is its versionId where the bucket keeps versions, else its eTag. Every call names
bucket and key apart, so that a key may hold anything: blanks, ``?``, ``#``, ``[``, ``*``, ``%``. No
listing is ever remembered. What refusals mean stands in objects/s3_errors.py.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import re
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, BinaryIO

from s3fs import S3FileSystem
from s3fs.core import S3_RETRYABLE_ERRORS

from tidegate.clock import now
from tidegate.errors import ObjectOverwrittenError, StoreUnavailableError, TidegateError
from tidegate.objects.copying import BLOCK, Target, open_source, whole_copy
from tidegate.objects.model import ObjectVersion
from tidegate.objects.s3_errors import (
    ABSENT,
    BOTO_ERRORS,
    EMPTY,
    NO_BUCKET,
    NO_VERSIONING,
    code_of,
    explain,
    no_bucket,
)
from tidegate.objects.store import ObjectStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tidegate.objects.landing import Landing
    from tidegate.settings import S3Settings

_log = logging.getLogger(__name__)

#: What botocore returns: the answer's fields by name.
_Answer = dict[str, Any]

#: Uploads above this many bytes go in parts of at least this size; S3 takes 10,000 of them.
PART = 32 << 20
_MAX_PARTS = 10_000

_ETAG = re.compile(r"[0-9a-f]{32}(-\d+)?")
_TRANSPORT_ERRORS = (*BOTO_ERRORS, *S3_RETRYABLE_ERRORS)


class S3Store(ObjectStore):
    """Objects are all keys below the prefix, folder markers (keys that end in ``/``) included."""

    def __init__(self, landing: Landing, settings: S3Settings) -> None:
        self.bucket = landing.bucket
        self.prefix = landing.prefix
        self.url = f"s3://{landing.bucket}/{landing.prefix}"
        self._settings = settings
        self._connections: dict[int, S3FileSystem] = {}

    def list(self, prefix: str = "") -> Iterator[ObjectVersion]:
        """Holds one answer of the bucket in memory: at most 1,000 versions."""
        start = self.prefix + prefix
        for page in self._versions(start) if self._keeps_versions() else self._keys(start):
            for item in page:
                if item["Key"] != self.prefix:
                    yield _object(self.bucket, item["Key"], item, item["Size"])

    def stat(self, key: str) -> ObjectVersion:
        self.relative_key(key)
        answer = self._call("head_object", key)
        return _object(self.bucket, key, answer, answer["ContentLength"])

    def head(self, obj: ObjectVersion, size: int) -> bytes:
        if size <= 0 or obj.size == 0:
            return b""
        try:
            with self._body(obj, Range=f"bytes=0-{size - 1}") as body:
                return body.read(size)
        except _EmptyError:
            return b""

    def fetch(self, obj: ObjectVersion, target: Target) -> str:
        with whole_copy(target) as copy, self._body(obj) as body:
            while block := body.read(BLOCK):
                copy.write(block)
            if copy.size != body.size:
                msg = f"{obj.url}: the connection broke after {copy.size} of {body.size} bytes."
                raise StoreUnavailableError(msg)
        return copy.sha256

    def put(self, source: Path, key: str) -> ObjectVersion:
        self.relative_key(key)
        with open_source(source) as file:
            size = os.fstat(file.fileno()).st_size
            if size <= PART:
                answer = self._call("put_object", key, Body=file.read())
            else:
                answer = self._put_parts(file, key, size)
        return _object(self.bucket, key, answer, size)

    def _put_parts(self, file: BinaryIO, key: str, size: int) -> _Answer:
        length = max(PART, math.ceil(size / _MAX_PARTS))
        upload = self._call("create_multipart_upload", key)["UploadId"]
        try:
            parts = {"Parts": [*self._parts(file, key, upload, length)]}
            return self._call("complete_multipart_upload", key, UploadId=upload, MultipartUpload=parts)
        except BaseException:
            # parts of an upload that is never completed would be paid for until someone notices
            self._abandon(key, upload)
            raise

    def _parts(self, file: BinaryIO, key: str, upload: str, length: int) -> Iterator[_Answer]:
        number = 0
        while block := file.read(length):
            number += 1
            part = self._call("upload_part", key, UploadId=upload, PartNumber=number, Body=block)
            yield {"PartNumber": number, "ETag": part["ETag"]}

    def _abandon(self, key: str, upload: str) -> None:
        try:
            self._call("abort_multipart_upload", key, UploadId=upload)
        except TidegateError as error:
            _log.warning(
                "The parts uploaded for s3://%s/%s (upload %s) could not be removed: %s",
                self.bucket,
                key,
                upload,
                error,
                extra={"action": "s3.abort_upload"},
            )

    def _keeps_versions(self) -> bool:
        """Asked for each listing: versioning may be switched on while Tidegate runs."""
        try:
            answer = self._request("get_bucket_versioning")
        except _TRANSPORT_ERRORS as error:
            if code_of(error) in NO_VERSIONING:
                return False
            raise self._explain(error, None) from error
        return answer.get("Status") in {"Enabled", "Suspended"}

    def _keys(self, start: str) -> Iterator[Sequence[_Answer]]:
        more: _Answer | None = {}
        while more is not None:
            answer = self._call("list_objects_v2", None, Prefix=start, **more)
            yield answer.get("Contents", [])
            token = answer.get("NextContinuationToken")
            more = {"ContinuationToken": token} if answer.get("IsTruncated") and token else None

    def _versions(self, start: str) -> Iterator[Sequence[_Answer]]:
        # the plain listing has no versionIds, and an event's version is one
        more: _Answer | None = {}
        while more is not None:
            answer = self._call("list_object_versions", None, Prefix=start, **more)
            yield [item for item in answer.get("Versions", []) if item["IsLatest"]]
            more = None
            if answer.get("IsTruncated"):
                more = {"KeyMarker": answer["NextKeyMarker"]}
                if answer.get("NextVersionIdMarker"):
                    more["VersionIdMarker"] = answer["NextVersionIdMarker"]

    @contextmanager
    def _body(self, obj: ObjectVersion, **how: str) -> Iterator[_Body]:
        """The bytes of exactly `obj`."""
        pin = _pin(obj)
        try:
            answer = self._request("get_object", Key=obj.key, **pin, **how)
        except _TRANSPORT_ERRORS as error:
            raise self._explain_absence(error, obj) from error
        body = _Body(answer, self._filesystem().loop)
        try:
            # a server that knows nothing of conditions would send whatever is there now
            sent = answer.get("VersionId", obj.version) if "VersionId" in pin else _bare(answer["ETag"])
            if sent != obj.version:
                raise _overwritten(obj, sent)
            yield body
        except _TRANSPORT_ERRORS as error:
            raise self._explain(error, obj.key) from error
        finally:
            body.close()

    def _call(self, method: str, key: str | None, **arguments: Any) -> _Answer:
        try:
            return self._request(method, **({"Key": key} if key is not None else {}), **arguments)
        except _TRANSPORT_ERRORS as error:
            raise self._explain(error, key) from error

    def _request(self, method: str, **arguments: Any) -> _Answer:
        answer: _Answer = self._filesystem().call_s3(method, Bucket=self.bucket, **arguments)
        return answer

    def _filesystem(self) -> S3FileSystem:
        """This process's own connections: a forked child can't use its parent's."""
        process = os.getpid()
        if process not in self._connections:
            filesystem = S3FileSystem(
                endpoint_url=self._settings.endpoint_url,
                client_kwargs={"region_name": self._settings.region},
                config_kwargs={"retries": {"mode": "standard", "total_max_attempts": 3}},
                use_listings_cache=False,
                skip_instance_cache=True,
            )
            filesystem.retries = 1  # botocore's own retries are enough; a task's come on top
            # Of two threads that come here at once, both get the first; the other was never connected.
            self._connections.setdefault(process, filesystem)
        return self._connections[process]

    def _explain_absence(self, error: BaseException, obj: ObjectVersion) -> TidegateError:
        """Tell apart why `obj` can't be had: overwritten, gone, or for now."""
        code = code_of(error)
        if code in EMPTY:
            return _EmptyError()
        unknown_version = code in {"400", "InvalidArgument"} and "version" in str(error).lower()
        if code not in ABSENT and not unknown_version:
            return self._explain(error, obj.key)
        try:
            current = self.stat(obj.key)
        except TidegateError as absence:
            return absence
        if current.version == obj.version:
            return StoreUnavailableError(f"{obj.url}: the bucket contradicts itself; try again.")
        return _overwritten(obj, current.version)

    def _explain(self, error: BaseException, key: str | None) -> TidegateError:
        if code_of(error) in ABSENT and not self._bucket_exists():
            return no_bucket(self.bucket)
        return explain(error, f"s3://{self.bucket}/{self.prefix if key is None else key}")

    def _bucket_exists(self) -> bool:
        try:
            self._request("head_bucket")
        except _TRANSPORT_ERRORS as error:
            # only a plain "no" is one: with no right to ask, the key is what is missing
            return code_of(error) not in {"404", *NO_BUCKET}
        return True


class _EmptyError(TidegateError):
    """A range was asked of an object that has no bytes."""


class _Body:
    """What the bucket sends of one object, read from a thread while it arrives on the loop's."""

    def __init__(self, answer: _Answer, loop: asyncio.AbstractEventLoop) -> None:
        self._stream = answer["Body"]
        self._loop = loop
        #: bytes that the bucket announced
        self.size: int = answer["ContentLength"]

    def read(self, size: int) -> bytes:
        """The next `size` bytes, fewer only at the end."""
        return asyncio.run_coroutine_threadsafe(self._gather(size), self._loop).result()

    async def _gather(self, size: int) -> bytes:
        chunks = []
        while size > 0 and (chunk := await self._stream.read(size)):
            chunks.append(chunk)
            size -= len(chunk)
        return b"".join(chunks)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stream.close)


def _object(bucket: str, key: str, answer: _Answer, size: int) -> ObjectVersion:
    etag = _bare(answer["ETag"])
    version = answer.get("VersionId")
    return ObjectVersion(
        store="s3",
        bucket=bucket,
        key=key,
        version=version if version and version != "null" else etag,
        size=size,
        uploaded_at=_uploaded_at(answer),
        etag=etag,
    )


def _uploaded_at(answer: _Answer) -> datetime:
    if "LastModified" in answer:
        moment: datetime = answer["LastModified"]
        return moment.astimezone(UTC)
    # an upload's answer has only the time at which the bucket wrote it
    date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    return parsedate_to_datetime(date).astimezone(UTC) if date else now()


def _pin(obj: ObjectVersion) -> dict[str, str]:
    """What to ask for to get exactly this version or nothing."""
    by_etag = obj.version == obj.etag or (obj.etag is None and _ETAG.fullmatch(obj.version))
    return {"IfMatch": f'"{obj.version}"'} if by_etag else {"VersionId": obj.version}


def _bare(etag: str) -> str:
    return etag.strip('"')


def _overwritten(obj: ObjectVersion, current: str) -> ObjectOverwrittenError:
    msg = (
        f"{obj.url}: the version {obj.version} no longer exists, {current} has taken its place. "
        "The newer version is an object of its own."
    )
    return ObjectOverwrittenError(msg)
