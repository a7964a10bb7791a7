"""What is done with the rows: load policies, lookups, the quarantine budget, control totals."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from tidegate.errors import ContractError

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Longer waits are mistakes, and no date may lie that far ahead.
_TEN_YEARS = 315_360_000


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
    """Take columns from another dataset, matched by key.

    Of several reference rows with one key, the first of the newest object counts.
    """

    #: the reference dataset
    dataset: str
    #: this dataset's column -> the reference's column
    on: Mapping[str, str]
    #: new column here -> the reference's column
    take: Mapping[str, str]
    #: rows without a match: keep them with nulls, reject them, or hold the whole object until the
    #: reference is loaded anew. A row with a null in its own key is kept, whichever is chosen
    unmatched: Literal["keep", "reject", "hold"] = "keep"
    #: seconds after the upload was recorded for which an object waits for its reference: for one that
    #: was never loaded, and under `unmatched="hold"` for one that lacks a key; then only a redrive
    #: takes it up
    hold_seconds: float = 600.0

    def __post_init__(self) -> None:
        self._check_names()
        seconds: object = self.hold_seconds
        if not isinstance(seconds, (int, float)) or not 0 <= seconds <= _TEN_YEARS:
            msg = (
                f"Lookup(hold_seconds={self.hold_seconds!r}) can't be used; give seconds from 0 to "
                f"{_TEN_YEARS} (ten years)."
            )
            raise ContractError(msg, field="hold_seconds")
        if self.unmatched not in ("keep", "reject", "hold"):
            msg = f"Lookup(unmatched={self.unmatched!r}) can't be used; use keep, reject or hold."
            raise ContractError(msg, field="unmatched")

    def _check_names(self) -> None:
        given: dict[str, object] = {"on": self.on, "take": self.take}
        for name, names in given.items():
            if not isinstance(names, Mapping):
                msg = f"Lookup({name}={names!r}) can't be used; write {{'column here': 'column there'}}."
                raise ContractError(msg, field=name)
        if not self.on:
            msg = f"Lookup(on={{}}) matches nothing; say which column here is which one of {self.dataset}."
            raise ContractError(msg, field="on")
        own = next((name for name in self.take if name.startswith("_")), None)
        if own is not None:
            msg = f"Lookup(take={{{own!r}: …}}) can't be used: names with _ in front are the engine's."
            raise ContractError(msg, field="take")


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
class ControlTotals:
    r"""What the supplier says the file holds; an object that holds something else is held whole.

    From a trailer line: ``ControlTotals(trailer=r"TOTAL;(?P<rows>\d+);(?P<amount>[\d.]+)")``, whose
    named groups are ``rows`` or columns of the schema. The dialect's `footer` must match that line.
    From a JSON object beside the file: ``ControlTotals(manifest="{key}.json", rows="row_count",
    sums={"amount": "total_amount"})``.
    """

    #: regular expression over the footer's lines
    trailer: str | None = None
    #: key of the JSON object below the landing, with ``{key}`` and ``{stem}`` (the key without its
    #: last suffix)
    manifest: str | None = None
    #: the manifest's field that holds the number of records; dots lead into a field of a field
    rows: str | None = None
    #: column of the schema -> the manifest's field that holds the sum of its values
    sums: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.trailer is None) == (self.manifest is None):
            msg = "ControlTotals: give either a trailer or a manifest."
            raise ContractError(msg)
        if self.manifest is not None and self.rows is None and not self.sums:
            msg = "ControlTotals(manifest=…): name the field for rows, or the fields for sums."
            raise ContractError(msg)
        if self.trailer is not None:
            try:
                groups = re.compile(self.trailer).groupindex
            except re.error as error:
                msg = f"ControlTotals(trailer={self.trailer!r}) is not a regular expression: {error}."
                raise ContractError(msg, field="trailer") from None
            if not groups:
                msg = f"ControlTotals(trailer={self.trailer!r}): name its groups, such as (?P<rows>\\d+)."
                raise ContractError(msg, field="trailer")
