"""Control totals: what a supplier says a file holds, held against what was read."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from decimal import Context, Decimal, Inexact
from typing import TYPE_CHECKING, Any

import polars as pl

from tidegate.contracts import Parse
from tidegate.errors import ObjectRejectedError, writable
from tidegate.reading import RECORD
from tidegate.stages.parse import parse
from tidegate.stages.sentences import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tidegate.contracts import Contract, ControlTotals
    from tidegate.stages.parse import Parsed

#: The name that stands for the number of records.
ROWS = "rows"
#: Room for the digits of any sum; the default context would round it to 28.
_EXACT = Context(prec=100, traps=[Inexact])
#: Characters of what was announced that a reason shows.
_SHOWN = 100


@dataclass
class _Sum:
    """The sum of one column, exact for whole and decimal numbers whatever their size."""

    kind: pl.DataType
    total: Any = 0
    #: how many floats there are, and their sum without signs: how far rounding may carry a sum of them
    count: int = 0
    size: float = 0.0
    #: values that could not be read
    unread: int = 0

    def add(self, values: pl.Series) -> None:
        if self.kind.is_float():
            wide = values.cast(pl.Float64)
            self.total += float(wide.sum() or 0)
            self.size += float(wide.abs().sum() or 0)
            self.count += wide.len() - wide.null_count()
        elif isinstance(self.kind, pl.Decimal):
            part = Decimal(_exact(values.to_physical())).scaleb(-self.kind.scale, _EXACT)
            self.total = _EXACT.add(self.total, part)
        else:
            self.total += _exact(values)

    def equals(self, announced: Any, places: int) -> bool:
        """Whether this is the sum that is announced with so many decimal places.

        Floats may differ by what rounding alone explains. Reading a text rounds by at most half of
        2**-52 of the value (2**-23 where the column has 32 bits), and so does each addition of the
        running sum, here and at the supplier's: together count * 2**-52 of the values' size. The
        supplier may round the sum to the decimal places it is written with; a sum written without
        any is taken for a whole number, not for a rounded one.
        """
        if not self.kind.is_float():
            return bool(announced == self.total)
        lost = self.count * 2.0**-52 + (2.0**-23 if isinstance(self.kind, pl.Float32) else 0)
        rounded = 0.5 * 10.0**-places if places else 0
        return math.isclose(
            float(Decimal(announced)), self.total, rel_tol=0, abs_tol=lost * self.size + rounded
        )

    @property
    def text(self) -> str:
        return f"{self.total:.15g}" if self.kind.is_float() else str(self.total)


class TotalsCheck:
    """Adds up what is read of one file; without totals in the contract it does nothing."""

    def __init__(self, contract: Contract, columns: Mapping[str, pl.DataType]) -> None:
        self._contract = contract
        self._totals = contract.totals
        self._records = 0
        self._damaged = 0
        self._sums = {name: _Sum(columns[name]) for name in _summed(contract.totals)}

    def add(self, parsed: Parsed, records: int) -> None:
        """Count records, and add the values that could be read, of rejected rows too."""
        self._records += records
        self._damaged += records - parsed.rows.height
        for name, column in self._sums.items():
            column.add(parsed.rows[name])
            column.unread += parsed.unread.filter(pl.col("column") == name).height

    def settle(self, footer: Sequence[str], manifest: Callable[[], bytes] | None, *, delimiter: str) -> None:
        """ObjectRejectedError when the file does not hold what its supplier says, or nothing is said."""
        if self._totals is None:
            return
        if self._totals.trailer is not None:
            announced: Mapping[str, Any] = _of_trailer(self._totals.trailer, footer, delimiter)
        else:
            announced = _of_manifest(self._totals, manifest)
        wrong = [problem for name, said in announced.items() if (problem := self._problem(name, said))]
        if wrong:
            raise _refused(f"The file does not hold what its supplier says: {'; '.join(wrong)}.")

    def _problem(self, name: str, said: Any) -> str | None:
        if name == ROWS:
            wanted = _whole(said)
            return None if wanted == self._records else _records_differ(wanted, self._records)
        got = self._sums[name]
        if got.equals(self._number(name, said), self._places(name, said)):
            return None
        left_out = [
            *([f"{self._damaged} damaged {_plural('record', self._damaged)}"] if self._damaged else []),
            *([f"{got.unread} {_plural('value', got.unread)} that can't be read"] if got.unread else []),
        ]
        without = f" without {' and '.join(left_out)}" if left_out else ""
        return (
            f"the sum of {name} is announced as {_shown(said)}, what was read adds up to {got.text}{without}"
        )

    def _number(self, name: str, said: Any) -> Any:
        """The announced sum: a number as it is, a text read as the column's values are."""
        if isinstance(said, (int, Decimal)) and not isinstance(said, bool):
            return said
        value = None
        if isinstance(said, str):
            kind = _widest(self._sums[name].kind)
            one = pl.DataFrame({RECORD: [1], name: [said]}, schema={RECORD: pl.Int64, name: pl.String})
            value = parse(one, {name: kind}, self._contract).rows[name][0]
        if value is None:
            raise _refused(
                f"The announced sum of {name}, {_shown(said)}, is not a number as the column's values are."
            )
        return value

    def _places(self, name: str, said: Any) -> int:
        """With how many decimal places the sum is written; none where it has a power of ten."""
        if isinstance(said, str):
            mark = self._contract.parse.get(name, Parse()).decimal
            found = re.search(rf"{re.escape(mark)}(\d+)\D*$", said)
            return len(found[1]) if found is not None else 0
        return max(0, -int(said.as_tuple().exponent)) if isinstance(said, Decimal) else 0


def _exact(values: pl.Series) -> int:
    """The sum of whole numbers; Polars' own runs over at 128 bits."""
    if values.dtype in (pl.Int128, pl.UInt128):
        value, half = pl.col(values.name), pl.lit(_HALF, values.dtype)
        sums = values.to_frame().select(high=(value // half).sum(), low=(value % half).sum())
        return int(sums["high"][0]) * _HALF + int(sums["low"][0])
    return int(values.cast(pl.Int128).sum() or 0)


_HALF = 10**18


def _widest(kind: pl.DataType) -> pl.DataType:
    if isinstance(kind, pl.Decimal):
        return pl.Decimal(38, kind.scale)
    return pl.Int128() if kind.is_integer() else pl.Float64()


def _of_trailer(trailer: str, footer: Sequence[str], delimiter: str) -> dict[str, str]:
    """What the trailer says; it may stand on several lines when each says something else."""
    matches = [found for line in footer if (found := re.match(trailer, line)) is not None]
    if not matches:
        raise _refused(f"The file has no trailer line that matches {trailer!r}; it may have been cut off.")
    said: dict[str, str] = {}
    for found in matches:
        _refuse_half_a_number(found, delimiter)
        for name, text in found.groupdict().items():
            if text is not None and said.setdefault(name, text) != text:
                raise _refused(
                    f"The trailer stands twice, and says {_shown(said[name])} and {_shown(text)} of {name}; "
                    "two files may have been joined."
                )
    silent = [name for name in re.compile(trailer).groupindex if name not in said]
    if silent:
        raise _refused(f"The trailer {_shown(matches[0].string)} does not tell {', '.join(silent)}.")
    return said


def _refuse_half_a_number(found: re.Match[str], delimiter: str) -> None:
    """ObjectRejectedError when the match ends with a value, and what follows belongs to that number.

    What else follows is free: delimiters that fill the line up, a date, a currency.
    """
    cut = [name for name in found.groupdict() if found[name] and found.end(name) == found.end()]
    rest = found.string[found.end() :]
    if not cut or not found[0][-1].isdigit() or rest.startswith(delimiter):
        return
    if (_ROWS_GO_ON if cut == [ROWS] else _SUM_GOES_ON).match(rest):
        raise _refused(
            f"The trailer {_shown(found.string)} goes on with {_shown(rest)} within the number for "
            f"{' and '.join(cut)}. If it is another value, let the contract's totals.trailer match it too."
        )


#: A digit, a sign at the end, a power of ten, or a mark and digits. After a count a mark may end a
#: sentence or begin another value, unless it makes groups of three digits.
_SUM_GOES_ON = re.compile(r"\d|[-+]|[eE][-+]?\d|[.,'’]\d")  # noqa: RUF001
_ROWS_GO_ON = re.compile(r"\d|[-+]|[eE][-+]?\d|[.,'’]\d{3}(?!\d)")  # noqa: RUF001


def _of_manifest(totals: ControlTotals, manifest: Callable[[], bytes] | None) -> dict[str, Any]:
    if manifest is None:
        msg = "The manifest with the file's control totals is not beside it; both are needed."
        raise ObjectRejectedError(msg, rule="manifest")
    try:
        document = json.loads(manifest(), parse_float=_number_of, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise _refused(f"The manifest can't be read as JSON: {error}.") from None
    if not isinstance(document, dict):
        raise _refused('The manifest is JSON, but not an object with fields such as {"rows": 12}.')
    wanted = {**({ROWS: totals.rows} if totals.rows is not None else {}), **totals.sums}
    lacking = [path for path in wanted.values() if _field(document, path) is _NOTHING]
    if lacking:
        raise _refused(f"The manifest lacks {', '.join(map(repr, lacking))}.")
    said = {name: _field(document, path) for name, path in wanted.items()}
    for name, path in wanted.items():
        if isinstance(said[name], str) and writable(said[name]) != said[name]:
            raise _refused(f"The manifest's {path!r} is {_shown(said[name])}, which holds half a character.")
    return said


_NOTHING = object()


def _field(document: dict[str, Any], path: str) -> Any:
    """A field by its name, or by the names on the way to it, with dots between."""
    if path in document:
        return document[path]
    found: Any = document
    for name in path.split("."):
        if not isinstance(found, dict) or name not in found:
            return _NOTHING
        found = found[name]
    return found


def _number_of(text: str) -> Decimal:
    try:
        return Decimal(text)
    except ArithmeticError:
        msg = f"{text[:_SHOWN]} is too large or too small a number"
        raise ValueError(msg) from None


def _no_number(text: str) -> Any:
    msg = f"{text} is not a number in JSON"
    raise ValueError(msg)


def _summed(totals: ControlTotals | None) -> list[str]:
    if totals is None:
        return []
    if totals.trailer is not None:
        return [name for name in re.compile(totals.trailer).groupindex if name != ROWS]
    return list(totals.sums)


def _whole(said: Any) -> Decimal:
    """As Decimal, for which no number is too long to be compared and shown."""
    number = Decimal(said) if isinstance(said, (int, Decimal)) and not isinstance(said, bool) else None
    if isinstance(said, str) and (text := said.strip()).isascii() and text.isdigit():
        number = Decimal(text)
    if number is None or number != number.to_integral_value():
        raise _refused(f"The announced number of records, {_shown(said)}, is not a whole number.")
    return number


def _records_differ(announced: Decimal, read: int) -> str:
    told = f"{announced} {_plural('record', announced)} {'is' if announced == 1 else 'are'} announced"
    return f"{told}, {read} {'was' if read == 1 else 'were'} read"


def _plural(noun: str, count: Decimal | int) -> str:
    return noun if count == 1 else f"{noun}s"


def _shown(said: Any) -> str:
    """What was announced, as it stands in its place, on one line."""
    if isinstance(said, str):
        text = one_line(said)
        return f"'{text[:_SHOWN]}{'…' * (len(text) > _SHOWN)}'"
    if isinstance(said, Decimal):
        return str(said)
    text = json.dumps(said, default=str)
    return text[:_SHOWN] + "…" * (len(text) > _SHOWN)


def _refused(message: str) -> ObjectRejectedError:
    return ObjectRejectedError(message, rule="control_total")
