"""What the tests of reading share: damaged files, contracts for them, and the books of one file read."""

from __future__ import annotations

import codecs
import json
import re
import tomllib
from collections import Counter
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import pandera.polars as pa
import polars as pl

from tidegate.contracts import Columns, Contract, Dialect, Parse
from tidegate.errors import ObjectRejectedError
from tidegate.reading import LINE, RECORD
from tidegate.stages.file_check import check_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

DAMAGED = Path(__file__).parents[1] / "golden" / "damaged"

DAMAGE_RULES = {"quoting", "fields", "encoding", "nul", "too_long", "header"}
#: What is compared of a rejection: all but its sentence.
REJECTED = ("record", "line", "offset", "column", "rule", "value", "raw")
LINE_KINDS = {"preamble", "header", "comment", "blank", "footer", "accepted", "rejected"}

_TYPES: dict[str, Any] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": bool,
    "date": pl.Date,
    "moment": Annotated[pl.Datetime, "us", "UTC"],
}


@dataclass(frozen=True)
class Outcome:
    """What came of one file, in plain values."""

    #: the rule, when the object as a whole is held; then all else is empty
    held: str | None
    #: record -> line and values
    accepted: dict[int, tuple[int, dict[str, Any]]]
    #: record, line, offset, column, rule, value, raw
    rejected: list[tuple[Any, ...]]
    #: kind -> how many physical lines
    lines: dict[str, int]


@dataclass(frozen=True)
class Case:
    """One folder of `DAMAGED`: a file, how it is declared, and what must come of it."""

    kind: str
    file: Path
    contract: Contract
    expected: Outcome
    #: what each physical line is; empty when the object is held
    lines: tuple[str, ...]

    def __str__(self) -> str:
        return self.kind


@cache
def damaged() -> tuple[Case, ...]:
    """Every case, ordered by its name."""
    return tuple(_case(folder) for folder in sorted(DAMAGED.iterdir()) if folder.is_dir())


def _case(folder: Path) -> Case:
    declared = tomllib.loads((folder / "case.toml").read_text(encoding="utf-8"))
    held = declared.get("held")
    accepted, rejected, lines = (
        [] if held else json.loads((folder / f"{name}.json").read_text())
        for name in ("accepted", "rejected", "lines")
    )
    (file,) = (path for path in folder.iterdir() if path.name.startswith("data."))
    return Case(
        kind=folder.name,
        file=file,
        contract=contract_of(declared),
        expected=Outcome(
            held=held,
            accepted={row["record"]: (row["line"], row["values"]) for row in accepted},
            rejected=sorted((tuple(row[key] for key in REJECTED) for row in rejected), key=repr),
            lines=dict(Counter(lines)),
        ),
        lines=tuple(lines),
    )


def contract_of(declared: Mapping[str, Any]) -> Contract:
    """The contract that a case.toml declares."""
    dialect = dict(declared.get("dialect", {}))
    if dialect.get("quote") is False:
        dialect["quote"] = None
    return Contract(
        name="damaged",
        version="1.0.0",
        owner="tests",
        description="A damaged file.",
        keys=["**"],
        schema=model(declared["schema"]),
        dialect=Dialect(**dialect),
        columns=Columns(**declared.get("columns", {})),
        parse={name: Parse(**rules) for name, rules in declared.get("parse", {}).items()},
        **declared.get("contract", {}),
    )


def model(columns: Sequence[Mapping[str, Any]]) -> type[pa.DataFrameModel]:
    """A Pandera model of columns as a case.toml names them."""
    fields: dict[str, Any] = {}
    types: dict[str, Any] = {}
    for column in columns:
        checks = {key: value for key, value in column.items() if key not in ("name", "type")}
        fields[column["name"]] = pa.Field(**checks)
        types[column["name"]] = _type(column["type"])
    return type("Row", (pa.DataFrameModel,), {"__annotations__": types, **fields})


def _type(name: str) -> Any:
    found = re.fullmatch(r"decimal\((\d+),(\d+)\)", name)
    return Annotated[pl.Decimal, int(found[1]), int(found[2])] if found else _TYPES[name]


def read(file: Path, contract: Contract, *, patient: bool = False, block_bytes: int | None = None) -> Outcome:
    """Read and check one file; the one place in the tests of reading that knows the engine's calls.

    `block_bytes`: in pieces of that size, as a file is read that is larger than any here.
    """
    try:
        checked = check_file(file, contract, patient=patient)
        if block_bytes is not None:
            checked.reading.block_bytes = block_bytes
        parts = list(checked.parts())
    except ObjectRejectedError as error:
        return Outcome(error.rule, {}, [], {})
    accepted: dict[int, tuple[int, dict[str, Any]]] = {}
    rejected: list[tuple[Any, ...]] = []
    for part in parts:
        for row in part.valid.iter_rows(named=True):
            record, line = row.pop(RECORD), row.pop(LINE)
            assert record not in accepted, "two accepted rows have one record number"
            accepted[record] = (line, {name: _plain(value) for name, value in row.items()})
        assert part.records == part.valid.height + part.rejections["record"].n_unique()
        assert all(part.rejections["message"].str.len_chars() > 0)
        rejected += part.rejections.select(REJECTED).iter_rows()
    assert checked.records == len(accepted) + checked.rejected
    lines = {kind.name.lower(): count for kind, count in checked.lines.items() if count}
    return Outcome(None, accepted, sorted(rejected, key=repr), lines)


def _plain(value: Any) -> Any:
    if isinstance(value, date | datetime):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal) else value


def line_starts(content: bytes, *, wide: str | None = None) -> list[int]:
    """Byte offset of every physical line; `wide` is utf-16-le or utf-16-be for UTF-16.

    A byte order mark belongs to no line: the first one begins after it.
    """
    if wide is None:
        ends = re.finditer(rb"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z", content)
        starts = [found.start() for found in ends]
        mark = len(codecs.BOM_UTF8) if content.startswith(codecs.BOM_UTF8) else 0
        return [mark, *starts[1:]] if len(content) > mark else []
    units = content[: len(content) // 2 * 2].decode(wide, "surrogatepass")
    starts = [found.start() for found in re.finditer(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z", units)]
    if len(content) % 2 and (not units or units[-1] in "\r\n"):
        starts.append(len(units))
    offsets = [0]
    for char in units:
        offsets.append(offsets[-1] + len(char.encode(wide, "surrogatepass")))
    return [offsets[start] for start in starts]


def check_books(outcome: Outcome, starts: Sequence[int] | None = None) -> None:
    """Every line and every record is in one place only, and nothing is told of one that is not there.

    `starts` is where the file's physical lines begin, when that is known.
    """
    if outcome.held is not None:
        assert (outcome.accepted, outcome.rejected, outcome.lines) == ({}, [], {})
        return
    rejected = {row[0]: row[1:3] for row in outcome.rejected}
    origins = {(row[0], row[1], row[2], row[6]) for row in outcome.rejected}
    assert len(origins) == len(rejected), "one record's rejections tell of two places"
    rules = [(record, column, rule) for record, _, _, column, rule, _, _ in outcome.rejected]
    assert len(set(rules)) == len(rules), "one rule is told twice of a value"
    damaged = [row for row in outcome.rejected if row[4] in DAMAGE_RULES]
    assert all(row[3] is None for row in damaged)
    assert len({row[0] for row in damaged}) == len(damaged), "a damaged record has more than one rule"
    begins = {record: line for record, (line, _) in outcome.accepted.items()}
    assert not begins.keys() & rejected.keys(), "a record is accepted and rejected"
    begins.update((record, line) for record, (line, _) in rejected.items())
    assert sorted(begins) == list(range(1, len(begins) + 1)), "record numbers have a gap"
    lines = [begins[record] for record in sorted(begins)]
    assert lines == sorted(set(lines)), "records do not follow one another"
    assert outcome.lines.keys() <= LINE_KINDS
    assert outcome.lines.get("accepted", 0) >= len(outcome.accepted)
    assert outcome.lines.get("rejected", 0) >= len(rejected)
    if starts is not None:
        assert sum(outcome.lines.values()) == len(starts), "the kinds of lines do not cover the file"
        assert all(starts[line - 1] == offset for line, offset in rejected.values())


def narrow(contract: Contract) -> bool:
    """Whether the declared encoding makes each line end one byte, and nothing is packed."""
    return contract.dialect.encoding not in ("detect", "utf-16", "utf-16-le", "utf-16-be")


def rows_of(outcome: Outcome) -> Iterator[tuple[Any, ...]]:
    """The accepted rows' values, in the file's order."""
    for record in sorted(outcome.accepted):
        yield tuple(outcome.accepted[record][1].values())
