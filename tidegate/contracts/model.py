"""The declaration of one dataset. Declarations only: nothing here reads or writes data."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tidegate.contracts.columns import Columns, Parse
from tidegate.contracts.dialect import DETECT, Dialect
from tidegate.contracts.keys import KeyPattern
from tidegate.contracts.manifests import is_manifest, manifest_beginnings, manifest_key
from tidegate.contracts.policies import Append, Budget, ControlTotals, LoadPolicy, Lookup
from tidegate.errors import ContractError

if TYPE_CHECKING:
    import polars as pl

#: A named normalization or enrichment step. It may change and add columns, and must keep the
#: rows: their number, their order, and the engine's own column ``_record``.
Step = Callable[["pl.LazyFrame"], "pl.LazyFrame"]

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_VERSION = re.compile(r"\d+\.\d+\.\d+")


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
    #: how the files are written; "detect" is short for ``Dialect.detect()``
    dialect: Dialect = field(default_factory=Dialect)
    #: which columns a file may have
    columns: Columns = field(default_factory=Columns)
    #: texts that mean "no value", in every column without rules of its own
    null_tokens: Sequence[str] = ("",)
    #: whether blanks around every text are taken off before it is read
    trim: bool = False
    #: column -> how its texts are read
    parse: Mapping[str, Parse] = field(default_factory=dict)
    normalize: Sequence[Step] = ()
    enrich: Sequence[Lookup | Step] = ()
    load: LoadPolicy = field(default_factory=Append)
    budget: Budget = field(default_factory=Budget)
    #: what the supplier says the file holds
    totals: ControlTotals | None = None

    def __post_init__(self) -> None:
        if vars(self)["dialect"] == DETECT:
            object.__setattr__(self, "dialect", Dialect.detect())
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
                self._wrong(
                    "normalize" if step in tuple(self.normalize) else "enrich",
                    f"{step!r} is neither a function nor a Lookup",
                )

    def _wrong(self, what: str, advice: str) -> None:
        value = getattr(self, what, "")
        msg = f"Contract {self.name!r}: {what} = {value!r} can't be used; {advice}."
        raise ContractError(msg, field=what)

    @cached_property
    def patterns(self) -> tuple[KeyPattern, ...]:
        return tuple(KeyPattern(glob) for glob in self.keys)

    def matches(self, key: str) -> bool:
        """Whether `key` (below the landing) holds data of this dataset; its manifests do not."""
        return any(pattern.matches(key) for pattern in self.patterns) and not self.has_manifest(key)

    def has_manifest(self, key: str) -> bool:
        """Whether `key` is where the manifest of an object of this dataset lies."""
        pattern = self.totals.manifest if self.totals is not None else None
        return pattern is not None and is_manifest(pattern, self.keys, key)

    @property
    def manifest_beginnings(self) -> list[str]:
        """Texts of which each manifest's key begins with one; none without manifests."""
        pattern = self.totals.manifest if self.totals is not None else None
        return (
            [] if pattern is None else manifest_beginnings(pattern, [one.beginning for one in self.patterns])
        )

    def manifest_key(self, key: str) -> str | None:
        """Where the manifest of `key` lies, below the landing; None when the contract asks for none."""
        pattern = self.totals.manifest if self.totals is not None else None
        return None if pattern is None else manifest_key(pattern, key)

    @property
    def lookups(self) -> tuple[Lookup, ...]:
        return tuple(step for step in self.enrich if isinstance(step, Lookup))

    @property
    def refuses_unmatched(self) -> bool:
        """Whether a lookup may still refuse rows that passed validation."""
        return any(lookup.unmatched == "reject" for lookup in self.lookups)
