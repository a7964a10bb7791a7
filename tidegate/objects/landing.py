"""How the landing of a bucket is written in the settings."""

from __future__ import annotations

from dataclasses import dataclass

from tidegate.errors import SettingsError


@dataclass(frozen=True, slots=True)
class Landing:
    """A bucket and the prefix below which uploads are looked for."""

    bucket: str
    #: empty, or a text that ends in ``/``
    prefix: str

    @classmethod
    def parse(cls, url: str, setting: str = "landing") -> Landing:
        """Read ``s3://bucket/prefix`` or ``gs://bucket/prefix``, with or without a slash at the end.

        The prefix stands as it is, as keys do: nothing in it is decoded or special.
        """
        scheme, _, rest = url.partition("://")
        bucket, _, prefix = rest.partition("/")
        if not bucket:
            msg = f"{setting} = {url!r} names no bucket; write {scheme}://bucket or {scheme}://bucket/prefix."
            raise SettingsError(msg)
        return cls(bucket, f"{prefix.removesuffix('/')}/" if prefix else "")

    def holds(self, bucket: str, key: str) -> bool:
        """Whether `key` of `bucket` lies below this landing."""
        return bucket == self.bucket and key.startswith(self.prefix) and key != self.prefix
