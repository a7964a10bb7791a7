"""A landing in memory: ObjectStore's twin for tests, which also passes the conformance suite."""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from tidegate.errors import ObjectMissingError, ObjectOverwrittenError
from tidegate.objects.copying import Target, open_source, whole_copy
from tidegate.objects.model import ObjectVersion
from tidegate.objects.store import ObjectStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_START = datetime(2024, 1, 1, tzinfo=UTC)


class MemoryStore(ObjectStore):
    """Behaves like a bucket that keeps no versions; each upload is one second after the one before."""

    def __init__(self, bucket: str = "memory", prefix: str = "") -> None:
        self.bucket = bucket
        self.prefix = prefix
        self.url = f"s3://{bucket}/{prefix}"
        #: the next calls fail with these, one each
        self.failures: deque[Exception] = deque()
        self._objects: dict[str, tuple[ObjectVersion, bytes]] = {}
        self._uploads = 0

    def list(self, prefix: str = "") -> Iterator[ObjectVersion]:
        self._fail_if_asked()
        start = self.prefix + prefix
        keys = [key for key in self._objects if key.startswith(start) and key != self.prefix]
        return iter([self._objects[key][0] for key in sorted(keys)])

    def stat(self, key: str) -> ObjectVersion:
        self._fail_if_asked()
        self.relative_key(key)
        return self._get(key)[0]

    def head(self, obj: ObjectVersion, size: int) -> bytes:
        self._fail_if_asked()
        return self._exactly(obj)[: max(size, 0)]

    def fetch(self, obj: ObjectVersion, target: Target) -> str:
        self._fail_if_asked()
        with whole_copy(target) as copy:
            copy.write(self._exactly(obj))
        return copy.sha256

    def put(self, source: Path, key: str) -> ObjectVersion:
        self._fail_if_asked()
        self.relative_key(key)
        with open_source(source) as file:
            return self.put_bytes(key, file.read())

    def put_bytes(self, key: str, content: bytes) -> ObjectVersion:
        """Upload `content` without a file."""
        self._uploads += 1
        obj = ObjectVersion(
            store="s3",
            bucket=self.bucket,
            key=key,
            version=f"{self._uploads:08d}",
            size=len(content),
            uploaded_at=_START + timedelta(seconds=self._uploads),
        )
        self._objects[key] = (obj, content)
        return obj

    def delete(self, key: str) -> None:
        """Take `key` out of the landing."""
        del self._objects[key]

    def _get(self, key: str) -> tuple[ObjectVersion, bytes]:
        try:
            return self._objects[key]
        except KeyError:
            msg = f"s3://{self.bucket}/{key} is gone: the bucket holds no such key any more."
            raise ObjectMissingError(msg) from None

    def _exactly(self, obj: ObjectVersion) -> bytes:
        current, content = self._get(obj.key)
        if current.version != obj.version:
            msg = f"{obj.url}: the version {obj.version} no longer exists."
            raise ObjectOverwrittenError(msg)
        return content

    def _fail_if_asked(self) -> None:
        if self.failures:
            raise self.failures.popleft()
