"""A local folder as the landing.

Hidden files and folders (a dot first) and names that end in .tmp, .part, .partial or .crdownload
are uploads in progress: they are never objects. Nothing outside the folder is ever read or written:
links to folders are not followed, and a link to a file counts only when the file is in the landing.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
import uuid
from collections import deque
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NoReturn

from tidegate.errors import (
    ObjectMissingError,
    ObjectOverwrittenError,
    ObjectRejectedError,
    SettingsError,
    StoreUnavailableError,
)
from tidegate.objects.copying import BLOCK, Target, whole_copy
from tidegate.objects.file_versions import moment, version_text
from tidegate.objects.filenames import is_in_progress, key_of, relative_of
from tidegate.objects.model import ObjectVersion
from tidegate.objects.putting import copy_durably, step_after
from tidegate.objects.store import ObjectStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tidegate.settings import Settings

_log = logging.getLogger(__name__)

_GONE = {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What stands at a key of the folder."""

    #: its size is None when it is not a file
    object: ObjectVersion
    is_file: bool
    is_folder: bool
    #: nanoseconds since 1970 of the last change of the content
    modified_ns: int
    #: nanoseconds since 1970 of the last change of content, name, rights or times
    changed_ns: int


class FolderStore(ObjectStore):
    r"""Objects are the regular files of the folder and its sub-folders.

    What is no file but bears a name like one (a folder, a pipe, a link to elsewhere) is not listed,
    and asking for it raises ObjectRejectedError instead of blocking.
    A name's bytes that are not UTF-8 stand in the key as ``\xNN`` (see objects/filenames.py).
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.bucket = str(self.root)
        self.prefix = ""
        #: told once each, however often the landing is listed
        self._unreadable_folders: set[str] = set()
        try:
            self.url = self.root.as_uri()
            self.bucket.encode()
        except UnicodeEncodeError:
            msg = f"landing = {self.bucket!r}: the folder's name is not UTF-8. Rename it or choose another."
            raise SettingsError(msg) from None

    @classmethod
    def from_settings(cls, settings: Settings) -> FolderStore:
        """The landing folder of `settings`, created when it is missing."""
        folder = settings.landing_dir
        if folder is None:
            raise SettingsError(f"landing = {settings.landing!r} is not a folder.")
        return cls.made(folder, "landing")

    @classmethod
    def made(cls, folder: Path, setting: str) -> FolderStore:
        """The folder that `setting` names, created when it is missing."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            msg = f"The {setting} {folder} can't be created: {error.strerror}. Set another with `{setting}`."
            raise SettingsError(msg) from error
        return cls(folder)

    def list(self, prefix: str = "") -> Iterator[ObjectVersion]:
        """Holds the names of one folder a level in memory, not those of the whole landing."""
        return (entry.object for entry in self.walk(prefix) if entry.is_file)

    def stat(self, key: str) -> ObjectVersion:
        entry = self.look(key)
        if entry is None:
            self._gone(key)
        if not entry.is_file:
            self._reject(key, self.root / self._relative(key))
        return entry.object

    def head(self, obj: ObjectVersion, size: int) -> bytes:
        with self._opened(obj) as file:
            return file.read(size)

    def fetch(self, obj: ObjectVersion, target: Target) -> str:
        with whole_copy(target) as copy, self._opened(obj) as file:
            # no further than the size, or a file that grows without end would never be done
            left = os.fstat(file.fileno()).st_size
            while left and (block := file.read(min(BLOCK, left))):
                copy.write(block)
                left -= len(block)
            if left:
                self._changed(obj, os.fstat(file.fileno()))
        return copy.sha256

    @contextmanager
    def at_hand(self, obj: ObjectVersion) -> Iterator[Path | None]:
        """Linux gives an open file a path of its own, whatever is put in the file's place meanwhile."""
        with ExitStack() as stack:
            with self._reading(obj.key):
                file = stack.enter_context(self._file(obj))
            path = Path(f"/proc/self/fd/{file.fileno()}")
            before = os.fstat(file.fileno())
            try:
                yield path if path.exists() else None
            finally:
                self._require_same(obj, before, os.fstat(file.fileno()))

    def put(self, source: Path, key: str) -> ObjectVersion:
        relative = self._relative(key)
        path = self.root / relative
        if any(is_in_progress(part) for part in Path(relative).parts):
            msg = (
                f"{key!r} has the name of an upload in progress (hidden, or ending in .tmp, .part, …), "
                "so nobody would ever see it; choose another name."
            )
            raise ObjectRejectedError(msg, rule="key")
        self._require_root()
        # as short as it can be: the name itself may already be as long as the disk allows
        part = path.parent / f".{uuid.uuid4().hex}.part"
        with self._writing(key):
            path.parent.mkdir(parents=True, exist_ok=True)
            if not self._is_straight(path.parent):
                self._reject(key, path.parent)
            try:
                copy_durably(source, part)
                status = step_after(part, path)
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)
        return self._version(key, status)

    def key_of(self, path: str) -> str | None:
        """The key of an absolute path below the landing; None for an upload in progress or elsewhere."""
        inside = f"{self.bucket}/"
        relative = path.removeprefix(inside)
        if relative == path or any(is_in_progress(part) for part in relative.split("/")):
            return None
        return key_of(relative)

    def path_of(self, key: str) -> Path:
        """Where `key`, or the folder with this key, lies; ObjectRejectedError when nothing can."""
        return self.root / self._relative(key.removesuffix("/"))

    def look(self, key: str) -> Entry | None:
        """What stands at `key` now; None when it is nothing or an upload in progress."""
        relative = self._relative(key)
        path = self.root / relative
        if any(is_in_progress(part) for part in Path(relative).parts):
            return None
        with self._reading(key):
            if not self._is_straight(path.parent):
                self._reject(key, path.parent)
            return self._entry(key, path)

    def walk(self, prefix: str = "") -> Iterator[Entry]:
        """Everything below the landing whose key begins with `prefix`, files or not, in key order."""
        self._require_root()
        start = self._folder_of(prefix)
        if start is None:
            return
        levels = deque([iter(self._children(start, prefix))])
        while levels:
            relative, is_folder = next(levels[-1], ("", False))
            if not relative:
                levels.pop()
                continue
            key = key_of(relative)
            if key.startswith(prefix):
                entry = self._entry(key, self.root / relative)
                if entry is not None:
                    yield entry
            if is_folder:
                levels.append(iter(self._children(relative, prefix)))

    def _folder_of(self, prefix: str) -> str | None:
        """The path below the landing of the folder to begin at; None when no key has `prefix`."""
        folder = prefix.rpartition("/")[0]
        if not folder:
            return None if prefix.startswith("/") else ""
        relative = relative_of(folder)
        if relative is None or any(is_in_progress(part) for part in relative.split("/")):
            return None
        return relative if self._is_straight(self.root / relative) else None

    def _children(self, folder: str, prefix: str) -> Sequence[tuple[str, bool]]:
        """Path below the landing, and whether to go into it, of what may begin with `prefix`."""
        found = []
        try:
            with os.scandir(self.root / folder) as entries:
                for entry in entries:
                    if is_in_progress(entry.name):
                        continue
                    relative = f"{folder}/{entry.name}" if folder else entry.name
                    is_folder = entry.is_dir(follow_symlinks=False)
                    order = key_of(relative) + ("/" if is_folder else "")
                    if order.startswith(prefix) or (is_folder and prefix.startswith(order)):
                        found.append((order, relative, is_folder))
        except PermissionError:
            if folder not in self._unreadable_folders:
                self._unreadable_folders.add(folder)
                _log.warning(
                    "The folder %s can't be read, so its files are not seen; give Tidegate the right to.",
                    self.root / folder,
                    extra={"action": "folder_unreadable"},
                )
        except OSError as error:
            if error.errno not in _GONE or not folder:
                raise self._unavailable(error) from error
        return [(relative, is_folder) for _, relative, is_folder in sorted(found)]

    def _entry(self, key: str, path: Path) -> Entry | None:
        try:
            status = path.lstat()
            if stat.S_ISLNK(status.st_mode):
                status = self._behind_link(path, status)
        except OSError as error:
            if error.errno in _GONE:
                return None
            if error.errno == errno.EACCES:
                self._unreadable(key)
            raise self._unavailable(error) from error
        return Entry(
            object=self._version(key, status),
            is_file=stat.S_ISREG(status.st_mode),
            is_folder=stat.S_ISDIR(status.st_mode),
            modified_ns=status.st_mtime_ns,
            changed_ns=status.st_ctime_ns,
        )

    def _behind_link(self, path: Path, link: os.stat_result) -> os.stat_result:
        """The status of the file that the link at `path` stands for, or of the link if it is none."""
        try:
            real = path.resolve()
            status = real.stat()
        except (OSError, RuntimeError):  # it leads nowhere, or in a circle
            return link
        return status if real.is_relative_to(self.root) and stat.S_ISREG(status.st_mode) else link

    def _version(self, key: str, status: os.stat_result) -> ObjectVersion:
        size = status.st_size if stat.S_ISREG(status.st_mode) else None
        return ObjectVersion(
            store="folder",
            bucket=self.bucket,
            key=key,
            version=version_text(status),
            size=size,
            uploaded_at=moment(status.st_mtime_ns),
        )

    @contextmanager
    def _opened(self, obj: ObjectVersion) -> Iterator[BinaryIO]:
        """The file of exactly `obj`; at the end, make sure that it stayed so while it was read."""
        with self._reading(obj.key), self._file(obj) as file:
            before = os.fstat(file.fileno())
            yield file
            self._require_same(obj, before, os.fstat(file.fileno()))

    @contextmanager
    def _file(self, obj: ObjectVersion) -> Iterator[BinaryIO]:
        """The file of exactly `obj`, as it is when the block begins."""
        self.stat(obj.key)
        # a file behind a link is opened at its own place, which `stat` found to be in the landing
        path = os.path.realpath(self.root / self._relative(obj.key))
        # NONBLOCK: opening a pipe that has just taken the file's place must not wait for a writer
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            self._require_version(obj, os.fstat(descriptor))
            yield file

    def _require_version(self, obj: ObjectVersion, status: os.stat_result) -> None:
        if version_text(status) != obj.version:
            self._changed(obj, status)

    def _require_same(self, obj: ObjectVersion, before: os.stat_result, after: os.stat_result) -> None:
        """Make sure that an open file's content stayed what it was."""
        self._require_version(obj, after)
        # Nobody can set this time, so it tells of a writer who set the other one back. It also changes
        # with the name: what was moved or replaced meanwhile is still what it was.
        if after.st_ctime_ns == before.st_ctime_ns or not self._stands(obj.key, after):
            return
        msg = f"{obj.url} was touched while it was read, so what was read does not count. It is read again."
        raise StoreUnavailableError(msg)

    def _stands(self, key: str, status: os.stat_result) -> bool:
        """Whether this file is what stands at `key`."""
        try:
            found = (self.root / self._relative(key)).stat()
        except OSError:
            return False
        return os.path.samestat(found, status)

    def _changed(self, obj: ObjectVersion, status: os.stat_result) -> NoReturn:
        msg = (
            f"{obj.url} is no longer the version {obj.version}: it was changed to {version_text(status)}. "
            "The newer version is an object of its own."
        )
        raise ObjectOverwrittenError(msg)

    def _relative(self, key: str) -> str:
        relative = relative_of(key)
        if relative is None:
            msg = f"{key!r} is not a key below the landing {self.url}."
            raise ObjectRejectedError(msg, rule="key")
        return relative

    def _is_straight(self, folder: Path) -> bool:
        """Whether no link lies on the way from the landing to `folder`."""
        return folder == self.root or Path(os.path.realpath(folder)) == folder

    def _require_root(self) -> None:
        if not self.root.is_dir():
            msg = f"The landing {self.root} is gone. Create the folder again or mount it."
            raise StoreUnavailableError(msg)

    @contextmanager
    def _reading(self, key: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in _GONE:
                self._require_root()
                self._gone(key)
            if error.errno in {errno.EACCES, errno.EPERM}:
                self._unreadable(key)
            if error.errno in {errno.ENXIO, errno.ELOOP, errno.EISDIR}:
                self._reject(key, self.root / self._relative(key))
            raise self._unavailable(error) from error

    @contextmanager
    def _writing(self, key: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno == errno.EISDIR:
                self._reject(key, self.root / self._relative(key))
            if error.errno in {errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG}:
                msg = f"{key!r} can't be a file below {self.root}: {error.strerror}. Choose another key."
                raise ObjectRejectedError(msg, rule="key") from error
            raise self._unavailable(error) from error

    def _gone(self, key: str) -> NoReturn:
        self._require_root()
        msg = f"{self.url}/{key} is gone: there is no such file any more. Drop it again if it is wanted."
        raise ObjectMissingError(msg)

    def _unreadable(self, key: str) -> NoReturn:
        msg = f"{self.url}/{key} may not be read by Tidegate. Change the file's rights, then redrive it."
        raise ObjectRejectedError(msg, rule="unreadable")

    def _unavailable(self, error: OSError) -> StoreUnavailableError:
        self._require_root()
        return StoreUnavailableError(f"The landing {self.root} did not answer: {error}.")

    def _reject(self, key: str, path: Path) -> NoReturn:
        """Say what stands at `path` instead of a file."""
        url = f"{self.url}/{key}"
        if path.is_symlink() or not self._is_straight(path):
            msg = f"{url} is a link, or lies behind one, to no file of the landing; drop the file itself."
            raise ObjectRejectedError(msg, rule="not_a_file")
        if path.is_dir():
            msg = f"{url} is a folder, not a file; rename it, or drop the file it was meant to be."
            raise ObjectRejectedError(msg, rule="folder")
        msg = f"{url} is a pipe, socket or device, not a file."
        raise ObjectRejectedError(msg, rule="not_a_file")
