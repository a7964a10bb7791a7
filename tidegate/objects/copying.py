"""A copy of an object on the local disk: whole or not at all, hashed while it is written."""

from __future__ import annotations

import hashlib
import uuid
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from tidegate.errors import StoreUnavailableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Where a copy goes: into a file, or into memory where it is known to be small.
Target = Path | BytesIO
#: Bytes moved at once: large enough that neither the calls nor the locks are felt.
BLOCK = 1 << 20


class Copy:
    """The copy being written."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._part = target.parent / f".{uuid.uuid4().hex}.part"
        self._hash = hashlib.sha256()
        #: bytes written so far
        self.size = 0
        with self._disk():
            target.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._part.open("wb")

    def write(self, block: bytes | memoryview) -> int:
        """Append `block`; StoreUnavailableError when the disk does not take it."""
        self._hash.update(block)
        with self._disk():
            self._file.write(block)
        self.size += len(block)
        return len(block)

    def seek(self, offset: int) -> int:
        """Start over, which is the only place a client library seeks to."""
        if offset != 0:
            msg = f"a copy can only start over, not continue at {offset}"
            raise ValueError(msg)
        with self._disk():
            self._file.seek(0)
            self._file.truncate()
        self._hash = hashlib.sha256()
        self.size = 0
        return 0

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def finish(self) -> None:
        """Put the copy in its place."""
        with self._disk():
            self._file.close()
            self._part.replace(self._target)

    def discard(self) -> None:
        """Remove what there is of a copy that was not finished."""
        with suppress(OSError):  # the block that is left by an error has the say
            self._file.close()
        self._part.unlink(missing_ok=True)

    @contextmanager
    def _disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            msg = f"The copy {self._target} can't be written: {error.strerror}. Look at the disk's space."
            raise StoreUnavailableError(msg) from error


class CopyInMemory:
    """A copy that takes no disk, for objects known to be small."""

    def __init__(self, target: BytesIO) -> None:
        self._target = target
        self._hash = hashlib.sha256()
        #: bytes written so far
        self.size = 0

    def write(self, block: bytes | memoryview) -> int:
        """Append `block`."""
        self._hash.update(block)
        self.size += self._target.write(block)
        return len(block)

    def seek(self, offset: int) -> int:
        """Start over, which is the only place a client library seeks to."""
        if offset != 0:
            msg = f"a copy can only start over, not continue at {offset}"
            raise ValueError(msg)
        self._target.seek(0)
        self._target.truncate()
        self._hash = hashlib.sha256()
        self.size = 0
        return 0

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()


@contextmanager
def whole_copy(target: Target) -> Iterator[Copy | CopyInMemory]:
    """Give a copy to write; the file `target` appears when the block ends well, and not otherwise."""
    if isinstance(target, BytesIO):
        yield CopyInMemory(target)
        return
    copy = Copy(target)
    try:
        yield copy
        copy.finish()
    finally:
        copy.discard()


def open_source(source: Path) -> BinaryIO:
    """Open a file that is to be uploaded; UsageError when it can't be read."""
    if not source.is_file():
        msg = f"{source} is not a file; name one that is."
        raise UsageError(msg)
    try:
        return source.open("rb")
    except OSError as error:
        msg = f"{source} can't be read: {error.strerror}."
        raise UsageError(msg) from error
