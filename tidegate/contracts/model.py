"""The declaration of one dataset. Declarations only: nothing here reads or writes data."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tidegate.contracts.keys import KeyPattern
from tidegate.errors import ContractError

if TYPE_CHECKING:
    import polars as pl

#: A named normalization or enrichment step. It may change and add columns, and must keep the
#: rows: their number, their order, and the engine's own column ``_record``.
Step = Callable[["pl.LazyFrame"], "pl.LazyFrame"]

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_VERSION = re.compile(r"\d+\.\d+\.\d+")


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """How the files of a dataset are written."""

    delimiter: str = ","
    quote: str = '"'
    encoding: str = "utf-8"

    def __post_init__(self) -> None:
        for name in ("delimiter", "quote"):
            if len(getattr(self, name)) != 1:
                msg = f"Dialect({name}={getattr(self, name)!r}): must be one character."
                raise ContractError(msg)


@dataclass(frozen=True, kw_only=True)
class Append:
    """The table is the union of the newest version of every key.

    A corrected file under the same key replaces the rows of the older version; one with the same
    content changes nothing.
    """


@dataclass(frozen=True, kw_only=True)
class Merge:
    """Upsert on `key`. The newest row wins: by `order_by` first, then by its object's order."""

    key: Sequence[str]
    #: column that says which of two rows with one key is newer; None: the object's order alone
    order_by: str | None = None


@dataclass(frozen=True, kw_only=True)
class Replace:
    """The newest object is the table."""

    #: whether a file without rows may empty the table; else it is quarantined
    allow_empty: bool = False


LoadPolicy = Append | Merge | Replace


@dataclass(frozen=True, kw_only=True)
class Lookup:
    """Take columns from another dataset, matched by key; rows without a match get nulls.

    Of several reference rows with one key, the first of the newest object counts.
    """

    #: the reference dataset
    dataset: str
    #: this dataset's column -> the reference's column
    on: Mapping[str, str]
    #: new column here -> the reference's column
    take: Mapping[str, str]
    #: seconds an object waits for a reference that was never loaded, before it is quarantined
    hold_seconds: float = 600.0


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How many rows of one object may be refused before the whole object is held."""

    max_rows: int | None = None
    #: share of rows read, 0 to 1
    max_share: float | None = None

    def exceeded_by(self, rejected: int, read: int) -> bool:
        """Whether `rejected` of `read` rows are too many; all of them always are."""
        if rejected and rejected == read:
            return True
        if self.max_rows is not None and rejected > self.max_rows:
            return True
        return self.max_share is not None and read > 0 and rejected / read > self.max_share


@dataclass(frozen=True, kw_only=True)
class Contract:
    """Everything Tidegate knows of a dataset.

    Mistakes of the author raise ContractError when the module is imported, and name the field.
    """

    #: dataset and table name: lower case, digits, underscores
    name: str
    #: semantic version; step it with every change
    version: str
    #: who to ask
    owner: str
    description: str
    #: globs over the object's key below the landing: ``*`` stays within a folder, ``**`` does not
    keys: Sequence[str]
    #: a pandera.polars DataFrameModel: columns of the file, typed, in any order
    schema: type[Any]
    dialect: Dialect = Dialect()
    #: texts that mean "no value", in every column
    null_tokens: Sequence[str] = ("",)
    normalize: Sequence[Step] = ()
    enrich: Sequence[Lookup | Step] = ()
    load: LoadPolicy = field(default_factory=Append)
    budget: Budget = field(default_factory=Budget)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            self._wrong("name", "use lower-case letters, digits and underscores, a letter first")
        if not _VERSION.fullmatch(self.version):
            self._wrong("version", "use a semantic version such as 1.0.0")
        if not self.keys:
            self._wrong("keys", "name at least one key pattern such as 'orders/*.csv'")
        keys = vars(self)["keys"]  # a single text passes for a sequence of texts
        if isinstance(keys, str):
            self._wrong("keys", "give a list of patterns, not one text")
        if not callable(getattr(self.schema, "to_schema", None)):
            self._wrong("schema", "give a class derived from pandera.polars.DataFrameModel")
        steps: tuple[object, ...] = (*self.normalize, *self.enrich)
        for step in steps:
            if not isinstance(step, Lookup) and not callable(step):
                self._wrong("normalize/enrich", f"{step!r} is neither a function nor a Lookup")

    def _wrong(self, what: str, advice: str) -> None:
        value = getattr(self, what, "")
        msg = f"Contract {self.name!r}: {what} = {value!r} can't be used; {advice}."
        raise ContractError(msg)

    @cached_property
    def patterns(self) -> tuple[KeyPattern, ...]:
        return tuple(KeyPattern(glob) for glob in self.keys)

    def matches(self, key: str) -> bool:
        """Whether `key` (below the landing) belongs to this dataset."""
        return any(pattern.matches(key) for pattern in self.patterns)

    @property
    def lookups(self) -> tuple[Lookup, ...]:
        return tuple(step for step in self.enrich if isinstance(step, Lookup))
