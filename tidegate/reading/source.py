"""An object's bytes, decompressed on the way, from a file or from memory."""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import lzma
import struct
import sys
import zipfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Self, cast

from tidegate.contracts.dialect import DETECT
from tidegate.errors import ObjectRejectedError

if TYPE_CHECKING:
    from pathlib import Path

_MAGIC = ((b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"BZh", "bz2"))
#: Of a file in it, of an empty archive, of one in several parts.
_ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_MAGIC_BYTES = 4


@dataclass(frozen=True, slots=True)
class Source:
    """Where the bytes come from, and how they are compressed."""

    content: Path | bytes
    compression: str

    @classmethod
    def of(cls, content: Path | bytes, compression: str) -> Source:
        """The source with the compression declared, or found by the first bytes."""
        if compression != DETECT:
            return cls(content, compression)
        if isinstance(content, bytes):
            head = content[:_MAGIC_BYTES]
        else:
            with content.open("rb") as file:
                head = file.read(_MAGIC_BYTES)
        if head.startswith(_ZIP_MAGIC):
            return cls(content, "zip")
        return cls(content, next((name for magic, name in _MAGIC if head.startswith(magic)), "none"))

    def open(self) -> Stream:
        """The decompressed bytes from the beginning."""
        return Stream(self)


class Stream:
    """Decompressed bytes; damage in the compressed ones is ObjectRejectedError of rule ``compression``."""

    def __init__(self, source: Source) -> None:
        self._compression = source.compression
        content = source.content
        self._raw: BinaryIO = io.BytesIO(content) if isinstance(content, bytes) else content.open("rb")
        self._plain: BinaryIO | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._plain is not None:
            self._plain.close()
        self._raw.close()

    def read(self, size: int) -> bytes:
        """Up to `size` bytes, fewer only at the end."""
        try:
            if self._plain is None:
                self._plain = _decompressed(self._raw, self._compression)
            return _filled(self._plain, size)
        except _errors_of(self._compression) as error:
            raise self._damaged(error) from error
        except OSError as error:
            # gzip and bz2 tell damage by an OSError, too; those of the system have a number.
            if error.errno is not None:
                raise
            raise self._damaged(error) from error

    @property
    def position(self) -> int:
        """How many of the object's bytes, as they are stored, were taken so far."""
        return self._raw.tell()

    def _damaged(self, error: Exception) -> ObjectRejectedError:
        msg = f"The {self._compression} data is damaged or cut off ({error}). Upload the file again."
        return ObjectRejectedError(msg, rule="compression")


def _errors_of(compression: str) -> tuple[type[Exception], ...]:
    plain: tuple[type[Exception], ...] = (EOFError, zlib.error, zipfile.BadZipFile)
    if compression == "zip":
        # A member may be compressed in ways of its own.
        return (*plain, lzma.LZMAError, struct.error, NotImplementedError)
    return (*plain, _zstd().ZstdError) if compression == "zstd" else plain


def _filled(stream: BinaryIO, size: int) -> bytes:
    parts: list[bytes] = []
    while size > 0:
        part = stream.read(size)
        if not part:
            break
        parts.append(part)
        size -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _decompressed(raw: BinaryIO, compression: str) -> BinaryIO:
    if compression == "gzip":
        return cast("BinaryIO", gzip.GzipFile(fileobj=raw))
    if compression == "bz2":
        return cast("BinaryIO", _Bz2Streams(raw))
    if compression == "zstd":
        return cast("BinaryIO", _zstd().ZstdFile(raw))
    if compression == "zip":
        return _only_member(raw)
    return raw


class _Bz2Streams:
    """The content of one bz2 stream or of several, one after the other.

    BZ2File takes whatever follows the first stream and is none for the end, and so drops a damaged
    one without a word. Here it is an error; only NUL bytes may follow, as they may in gzip.
    """

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        self._stream = bz2.BZ2Decompressor()

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; none only at the end."""
        while True:
            packed = b""
            if self._stream.eof:
                packed = self._between()
                if not packed:
                    return b""
                self._stream = bz2.BZ2Decompressor()
            elif self._stream.needs_input:
                packed = self._raw.read(io.DEFAULT_BUFFER_SIZE)
                if not packed:
                    raise EOFError("the data ends within a stream")
            content = self._stream.decompress(packed, size)
            if content:
                return content

    def _between(self) -> bytes:
        """What follows a stream, from its first byte that is not NUL."""
        packed = self._stream.unused_data.lstrip(b"\0")
        while not packed:
            more = self._raw.read(io.DEFAULT_BUFFER_SIZE)
            if not more:
                break
            packed = more.lstrip(b"\0")
        return packed

    def close(self) -> None:
        """The raw file is closed by whoever opened it."""


def _only_member(raw: BinaryIO) -> BinaryIO:
    try:
        archive = zipfile.ZipFile(raw)
        members = [member for member in archive.infolist() if not member.filename.endswith("/")]
        if len(members) == 1:
            return cast("BinaryIO", archive.open(members[0]))
    except (RuntimeError, NotImplementedError, ValueError) as error:
        msg = f"The zip archive can't be opened: {error}. Upload it without a password, or as gzip."
        raise ObjectRejectedError(msg, rule="compression") from error
    except OSError as error:
        # A directory that is said to begin before the file does.
        if error.errno != errno.EINVAL:
            raise
        raise ObjectRejectedError(_DAMAGED_ARCHIVE, rule="compression") from error
    except (LookupError, ArithmeticError, struct.error) as error:
        # zipfile checks little of what an archive says of itself before it calculates with it.
        raise ObjectRejectedError(_DAMAGED_ARCHIVE, rule="compression") from error
    msg = f"The zip archive holds {len(members)} files; one is expected. Upload each by itself."
    raise ObjectRejectedError(msg, rule="compression")


_DAMAGED_ARCHIVE = "The zip archive is damaged. Upload it again."


def _zstd() -> Any:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd
