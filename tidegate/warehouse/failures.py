"""What DuckDB's exceptions mean here: try again, or a person has to change something."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

import duckdb

from tidegate.errors import FatalError, TidegateError, UsageError, WarehouseUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_AGAIN = "Try again: a load that broke off left nothing behind, and one that committed is not repeated."
_BUG = "Nothing was committed. It is a fault of Tidegate or DuckDB: report it with this message."
_DAMAGED = "The file is damaged or was written by a newer DuckDB: update duckdb, or bring back a copy."
_STAGED = "Nothing was committed. The staged files do not fit the table: process the objects again."

#: DuckDB's exception class -> what to raise and what to advise. By name, for a class may be
#: missing in another release of DuckDB. The test lists DuckDB's classes and misses none here.
MEANING: dict[str, tuple[type[TidegateError], str]] = {
    # the world was in the way
    "ConnectionException": (WarehouseUnavailableError, _AGAIN),
    "FatalException": (WarehouseUnavailableError, _AGAIN),
    "HTTPException": (WarehouseUnavailableError, _AGAIN),
    "InterruptException": (WarehouseUnavailableError, _AGAIN),
    "IOException": (WarehouseUnavailableError, _AGAIN),
    "OperationalError": (WarehouseUnavailableError, _AGAIN),
    "ResourceInUseException": (WarehouseUnavailableError, _AGAIN),
    "OutOfMemoryException": (WarehouseUnavailableError, _AGAIN),
    "TransactionException": (WarehouseUnavailableError, _AGAIN),
    # the file
    "SerializationException": (FatalError, _DAMAGED),
    # staged values or types that the table can't take
    "ConstraintException": (FatalError, _STAGED),
    "ConversionException": (FatalError, _STAGED),
    "DataError": (FatalError, _STAGED),
    "IntegrityError": (FatalError, _STAGED),
    "OutOfRangeException": (FatalError, _STAGED),
    "TypeMismatchException": (FatalError, _STAGED),
    # a statement that should never have been sent, or could not be carried out
    "BinderException": (FatalError, _BUG),
    "CatalogException": (FatalError, _BUG),
    "DatabaseError": (FatalError, _BUG),
    "DependencyException": (FatalError, _BUG),
    "Error": (FatalError, _BUG),
    "OSError": (WarehouseUnavailableError, _AGAIN),
    "InternalError": (FatalError, _BUG),
    "InternalException": (FatalError, _BUG),
    "InvalidInputException": (FatalError, _BUG),
    "InvalidTypeException": (FatalError, _BUG),
    "NotImplementedException": (FatalError, _BUG),
    "NotSupportedError": (FatalError, _BUG),
    "ParserException": (FatalError, _BUG),
    "PermissionException": (FatalError, _BUG),
    "ProgrammingError": (FatalError, _BUG),
    "SequenceException": (FatalError, _BUG),
    "SyntaxException": (FatalError, _BUG),
}

#: DuckDB tells these apart by their text alone. Checked in this order, before MEANING.
_BY_TEXT: tuple[tuple[re.Pattern[str], type[TidegateError], str], ...] = (
    (
        re.compile(r"no space left|disk full|file too large|quota exceeded", re.IGNORECASE),
        WarehouseUnavailableError,
        "Make room on the disk. " + _AGAIN,
    ),
    (
        re.compile(r"permission denied|read-only file system|operation not permitted", re.IGNORECASE),
        FatalError,
        "Let this user write the file and its folder, or set [warehouse] path.",
    ),
    (
        re.compile(
            r"not a valid duckdb database|could not read enough bytes|checksum|version number|is a directory",
            re.IGNORECASE,
        ),
        FatalError,
        _DAMAGED,
    ),
    (
        re.compile(r"no files found that match|no magic bytes|get_next failed", re.IGNORECASE),
        FatalError,
        "Nothing was committed. Staged files are gone or damaged: process the objects again.",
    ),
)


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raise what DuckDB or the file system raises as one of ours, with its message and what to do."""
    try:
        yield
    except (duckdb.Error, OSError) as error:
        raise meaning(error, path) from error


@contextmanager
def blamed_on_caller(path: Path) -> Iterator[None]:
    """Like `translated`, for a statement that a person wrote: UsageError says what is wrong."""
    try:
        yield
    except duckdb.Error as error:
        mine = meaning(error, path)
        if isinstance(mine, FatalError):
            raise UsageError(str(error)) from error
        raise mine from error


def meaning(error: duckdb.Error | OSError, path: Path) -> TidegateError:
    """What to raise instead of `error`."""
    said = str(error)
    for pattern, kind, advice in _BY_TEXT:
        if pattern.search(said):
            return kind(f"{path}: {said.rstrip('.')}. {advice}")
    names = (name for name in (base.__name__ for base in type(error).__mro__) if name in MEANING)
    kind, advice = MEANING[next(names)]
    return kind(f"{path}: {said.rstrip('.')}. {advice}")
