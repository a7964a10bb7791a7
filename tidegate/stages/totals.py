"""Control totals: what a supplier says a file holds, held against what was read."""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import polars as pl

from tidegate.errors import ObjectRejectedError
from tidegate.reading import RECORD
from tidegate.stages.parse import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tidegate.contracts import Contract, ControlTotals
    from tidegate.stages.parse import Parsed

#: The name that stands for the number of records.
ROWS = "rows"


class TotalsCheck:
    """Adds up what is read of one file; without totals in the contract it does nothing."""

    def __init__(self, contract: Contract, columns: Mapping[str, pl.DataType]) -> None:
        self._contract = contract
        self._columns = columns
        self._totals = contract.totals
        self._records = 0
        self._sums: dict[str, Any] = dict.fromkeys(_summed(contract.totals), 0)

    def add(self, parsed: Parsed, records: int) -> None:
        """Count records, and add the values that could be read, of rejected rows too."""
        self._records += records
        for name in self._sums:
            values = parsed.rows[name]
            # The sum of many whole numbers may need more than their 64 bits.
            wide = values.cast(pl.Int128) if values.dtype.is_integer() else values
            self._sums[name] += wide.sum() or 0

    def settle(self, footer: Sequence[str], manifest: Callable[[], bytes] | None) -> None:
        """ObjectRejectedError when the file does not hold what its supplier says, or nothing is said."""
        if self._totals is None:
            return
        if self._totals.trailer is not None:
            declared = self._of_trailer(self._totals.trailer, footer)
        else:
            declared = self._of_manifest(self._totals, manifest)
        wrong = [problem for name, text in declared.items() if (problem := self._problem(name, text))]
        if wrong:
            raise _refused(f"The file does not hold what its supplier says: {'; '.join(wrong)}.")

    def _problem(self, name: str, text: str) -> str | None:
        if name == ROWS:
            wanted, got = _whole(text), self._records
            return None if wanted == got else f"{text} records are announced, {got} were read"
        wanted = self._value(name, text)
        got = self._sums[name]
        same = math.isclose(wanted, got, rel_tol=1e-9) if isinstance(got, float) else wanted == got
        return None if same else f"the sum of {name} is announced as {text}, what was read adds up to {got}"

    def _value(self, name: str, text: str) -> Any:
        """The announced sum, written as the column's values are."""
        kind = self._columns[name]
        wide = pl.Decimal(38, kind.scale) if isinstance(kind, pl.Decimal) else kind
        wide = pl.Int128() if kind.is_integer() else wide
        one = pl.DataFrame({RECORD: [1], name: [text]}, schema={RECORD: pl.Int64, name: pl.String})
        value = parse(one, {name: wide}, self._contract).rows[name][0]
        if value is None:
            raise _refused(f"The announced sum of {name}, {text!r}, can't be read as a number.")
        return value

    def _of_trailer(self, trailer: str, footer: Sequence[str]) -> dict[str, str]:
        for line in footer:
            found = re.match(trailer, line)
            if found is not None:
                return {name: text for name, text in found.groupdict().items() if text is not None}
        raise _refused(f"The file has no trailer line that matches {trailer!r}; it may have been cut off.")

    def _of_manifest(self, totals: ControlTotals, manifest: Callable[[], bytes] | None) -> dict[str, str]:
        if manifest is None:
            raise _refused("The manifest with the file's control totals is not at hand.")
        try:
            document = json.loads(manifest(), parse_float=Decimal)
        except ValueError as error:
            raise _refused(f"The manifest can't be read as JSON: {error}.") from None
        names = {ROWS: totals.rows} if totals.rows is not None else {}
        wanted = {**names, **totals.sums}
        lacking = [field for field in wanted.values() if field not in document]
        if lacking:
            raise _refused(f"The manifest lacks {', '.join(map(repr, lacking))}.")
        return {name: str(document[field]) for name, field in wanted.items()}


def _summed(totals: ControlTotals | None) -> list[str]:
    if totals is None:
        return []
    if totals.trailer is not None:
        return [name for name in re.compile(totals.trailer).groupindex if name != ROWS]
    return list(totals.sums)


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None


def _refused(message: str) -> ObjectRejectedError:
    return ObjectRejectedError(message, rule="control_total")
