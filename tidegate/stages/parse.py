"""Text to typed values, column by column; what can't be read is a rejection, never a null."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import polars as pl

from tidegate.contracts.columns import Parse
from tidegate.errors import ContractError
from tidegate.stages.expected import type_sentence
from tidegate.stages.model import RECORD, REJECTION_SCHEMA
from tidegate.stages.moments import check_formats, moment_readings
from tidegate.stages.numbers import number_reading

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tidegate.contracts import Contract

#: Columns of the rejections that parsing and checking make.
BROKEN = ("record", "column", "rule", "value", "message")
#: What "blanks around a text" are; no-break blanks and line ends stay, and show.
_BLANKS = " \t"
_NO_RULE = Parse()
#: field of Parse -> the types that it has a meaning for
_MEANT_FOR: dict[str, tuple[str, Callable[[pl.DataType], bool]]] = {
    "formats": ("dates, times and moments", lambda kind: kind.is_temporal()),
    "time_zone": (
        "moments with a time zone, such as Annotated[pl.Datetime, 'us', 'UTC']",
        lambda kind: isinstance(kind, pl.Datetime) and kind.time_zone is not None,
    ),
    "decimal": ("numbers", lambda kind: kind.is_numeric()),
    "thousands": ("numbers", lambda kind: kind.is_numeric()),
    "true": ("booleans", lambda kind: isinstance(kind, pl.Boolean)),
    "false": ("booleans", lambda kind: isinstance(kind, pl.Boolean)),
}


@dataclass(frozen=True)
class Parsed:
    """All records of a frame, typed, and what could not be read of them."""

    #: the engine's own columns, untouched, and the schema's; null where no value is or none could be read
    rows: pl.DataFrame
    #: columns of `BROKEN`, one row for each value that could not be read
    unread: pl.DataFrame
    #: the same records as they were written, row for row, for sentences that show values; None: as parsed
    text: pl.DataFrame | None = None


def parse(text: pl.DataFrame, columns: Mapping[str, pl.DataType], contract: Contract) -> Parsed:
    """Read a frame of texts into the given types, as the contract says.

    `text` holds ``_record``, the columns, and perhaps more of the engine's own, with _ in front.
    """
    rules = {name: contract.parse.get(name, _NO_RULE) for name in columns}
    cleaned = text.select(
        pl.col("^_.*$"),
        *(_cleaned(name, rules[name], contract) for name in columns),
    )
    ways = {name: _readings(kind, rules[name]) for name, kind in columns.items()}
    # Lazy, since only so what a reading says twice is worked out once.
    reading = (way[0](pl.col(name)).alias(name) for name, way in ways.items() if way)
    typed = cleaned.lazy().with_columns(reading).collect()
    for name, way in ways.items():
        for read in way[1:]:
            if typed[name].null_count() == cleaned[name].null_count():
                break
            typed = typed.with_columns(_further(typed[name], cleaned[name], read))
    unread = [
        _unread(text, cleaned, typed, name, type_sentence(name, kind, rules[name]))
        for name, kind in columns.items()
        if typed[name].null_count() != cleaned[name].null_count()
    ]
    return Parsed(typed, pl.concat([no_rejections(), *unread]), text)


def no_rejections() -> pl.DataFrame:
    """A frame of `BROKEN` without rows."""
    return pl.DataFrame(schema={name: REJECTION_SCHEMA[name] for name in BROKEN})


def null_tokens(contract: Contract, column: str) -> Sequence[str]:
    """The texts of `column` that mean "no value"."""
    own = contract.parse.get(column, _NO_RULE).null_tokens
    return contract.null_tokens if own is None else own


def check_rules(contract: Contract, columns: Mapping[str, pl.DataType]) -> None:
    """ContractError when a rule of `contract.parse` can't apply to its column."""
    for name, rule in contract.parse.items():
        if name not in columns:
            _wrong(contract, name, f"the schema has no such column; it has {', '.join(columns)}")
        kind = columns[name]
        for field in fields(rule):
            meant = _MEANT_FOR.get(field.name)
            value = getattr(rule, field.name)
            given = (tuple(value) if isinstance(value, list) else value) != field.default
            if meant and given and not meant[1](kind):
                _wrong(contract, name, f"{field.name} is for {meant[0]}, and the column is {kind}; remove it")
        try:
            if kind.is_temporal():
                check_formats(kind, rule)
        except ValueError as error:
            _wrong(contract, name, str(error))
        if rule.time_zone is not None:
            _check_zone(contract, name, rule.time_zone)
    for name, kind in columns.items():
        if isinstance(kind, pl.Datetime) and kind.time_zone is not None:
            _check_zone(contract, name, kind.time_zone)


def _check_zone(contract: Contract, column: str, zone: str) -> None:
    try:
        pl.Series([None], dtype=pl.Datetime("us")).dt.replace_time_zone(zone)
    except pl.exceptions.ComputeError:
        _wrong(
            contract, column, f"there is no time zone {zone!r}; use a name such as 'Europe/Zurich' or 'UTC'"
        )


def _wrong(contract: Contract, column: str, problem: str) -> None:
    msg = f"Contract {contract.name!r} {contract.version}: how column {column!r} is read: {problem}."
    raise ContractError(msg)


def _cleaned(name: str, rule: Parse, contract: Contract) -> pl.Expr:
    column = pl.col(name)
    if contract.trim if rule.trim is None else rule.trim:
        column = column.str.strip_chars(_BLANKS)
    nulls = list(null_tokens(contract, name))
    if not nulls:
        return column
    empty = column == nulls[0] if len(nulls) == 1 else column.is_in(nulls)
    return pl.when(~empty).then(column).alias(name)


def _readings(kind: pl.DataType, rule: Parse) -> list[Callable[[pl.Expr], pl.Expr]]:
    if isinstance(kind, pl.String):
        return []
    if kind.is_temporal():
        return moment_readings(kind, rule)
    return [_truth(rule)] if isinstance(kind, pl.Boolean) else [number_reading(kind, rule)]


def _truth(rule: Parse) -> Callable[[pl.Expr], pl.Expr]:
    true, false = ([text.lower() for text in texts] for texts in (rule.true, rule.false))

    def read(text: pl.Expr) -> pl.Expr:
        lower = text.str.to_lowercase()
        return pl.when(lower.is_in(true)).then(statement=True).when(lower.is_in(false)).then(statement=False)

    return read


def _further(value: pl.Series, text: pl.Series, read: Callable[[pl.Expr], pl.Expr]) -> pl.Series:
    pair = pl.DataFrame({"value": value, "text": text})
    missing = pl.when(pl.col("value").is_null()).then(pl.col("text"))
    return pair.select(pl.coalesce(pl.col("value"), read(missing)).alias(value.name)).to_series()


def _unread(
    text: pl.DataFrame, cleaned: pl.DataFrame, typed: pl.DataFrame, name: str, sentence: pl.Expr
) -> pl.DataFrame:
    lost = cleaned[name].is_not_null() & typed[name].is_null()
    frame = pl.DataFrame({"record": text[RECORD], "value": text[name], "cleaned": cleaned[name]}).filter(lost)
    return frame.select(
        pl.col("record").cast(pl.Int64),
        pl.lit(name).alias("column"),
        pl.lit("type").alias("rule"),
        pl.col("value"),
        sentence.alias("message"),
    )
