"""Columns and types: what a contract's file holds, and what its table will hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import polars as pl

from tidegate.contracts import Contract, Lookup
from tidegate.errors import ContractError
from tidegate.stages.model import RECORD
from tidegate.stages.parse import check_rules
from tidegate.stages.schema_options import check_options

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidegate.contracts.registry import Registry

#: Types a CSV column can be parsed into.
_SUPPORTED = (
    pl.String,
    pl.Boolean,
    pl.Date,
    pl.Datetime,
    pl.Time,
    pl.Decimal,
    pl.Float32,
    pl.Float64,
    *(pl.Int8, pl.Int16, pl.Int32, pl.Int64),
    *(pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64),
)


def pandera_schema(contract: Contract) -> Any:
    """The contract's schema as Pandera's object; ContractError when its class is wrong."""
    try:
        schema = contract.schema.to_schema()
    except Exception as error:
        msg = f"Contract {contract.name!r}: the schema {contract.schema.__name__} is wrong: {error}"
        raise ContractError(msg) from error
    check_options(contract, schema)
    return schema


def file_columns(contract: Contract) -> dict[str, pl.DataType]:
    """Column name -> type of the dataset's files, in the schema's order."""
    columns: dict[str, pl.DataType] = {}
    for name, column in pandera_schema(contract).columns.items():
        kind = column.dtype.type if column.dtype is not None else None
        if isinstance(kind, type):
            kind = kind()
        if not isinstance(kind, _SUPPORTED):
            msg = (
                f"Contract {contract.name!r}: column {name!r} has type {kind}, which can't be read "
                f"from CSV. Use one of {', '.join(t.__name__ for t in _SUPPORTED)}."
            )
            raise ContractError(msg)
        if name.startswith("_"):
            msg = f"Contract {contract.name!r}: column {name!r}: names with _ in front are the engine's."
            raise ContractError(msg)
        columns[name] = kind
    return columns


def table_columns(contract: Contract, registry: Registry) -> dict[str, pl.DataType]:
    """Column name -> type of the dataset's table, after normalization and enrichment.

    Found by running the contract's steps over a frame without rows, once for a registry.
    """
    known = _known.setdefault(registry, {})
    if contract.name not in known or known[contract.name][0] is not contract:
        known[contract.name] = (contract, _found_columns(contract, registry))
    return dict(known[contract.name][1])


#: Contracts of a registry by name, each with its table's columns.
_known: WeakKeyDictionary[Registry, dict[str, tuple[Contract, dict[str, pl.DataType]]]] = WeakKeyDictionary()


def _found_columns(contract: Contract, registry: Registry) -> dict[str, pl.DataType]:
    columns = file_columns(contract)
    check_rules(contract, columns)
    frame = pl.LazyFrame(schema={RECORD: pl.Int64, **columns})
    for step in (*contract.normalize, *contract.enrich):
        if isinstance(step, Lookup):
            reference = table_columns(registry[step.dataset], registry)
            here = dict(frame.collect_schema())
            _check_keys(contract, step, here, reference)
            _check_taken(contract, step, here)
            frame = frame.with_columns(
                pl.lit(None, dtype=_column(contract, step, reference, source)).alias(new)
                for new, source in step.take.items()
            )
        else:
            frame = run_step(contract, step, frame)
    schema = dict(frame.collect_schema())
    if schema.pop(RECORD, None) is None:
        msg = f"Contract {contract.name!r}: a step dropped the engine's column {RECORD!r}; keep it."
        raise ContractError(msg)
    return schema


def run_step(
    contract: Contract, step: Callable[[pl.LazyFrame], pl.LazyFrame], frame: pl.LazyFrame
) -> pl.LazyFrame:
    """Apply a contract's step; what it raises becomes a ContractError that names it."""
    name = getattr(step, "__name__", repr(step))
    try:
        result: object = step(frame)
        if isinstance(result, pl.LazyFrame):
            result.collect_schema()
    except Exception as error:
        msg = f"Contract {contract.name!r} {contract.version}: step {name} failed: {error}"
        raise ContractError(msg) from error
    if not isinstance(result, pl.LazyFrame):
        kind = type(result).__name__
        msg = f"Contract {contract.name!r}: step {name} returned {kind}; return the LazyFrame."
        raise ContractError(msg)
    return result


def _column(
    contract: Contract, lookup: Lookup, reference: dict[str, pl.DataType], source: str
) -> pl.DataType:
    for wanted in (source, *lookup.on.values()):
        if wanted not in reference:
            msg = (
                f"Contract {contract.name!r}: the lookup in {lookup.dataset!r} wants the column "
                f"{wanted!r}; that table has {', '.join(reference)}."
            )
            raise ContractError(msg)
    return reference[source]


def _check_taken(contract: Contract, lookup: Lookup, here: dict[str, pl.DataType]) -> None:
    twice = next((name for name in lookup.take if name in here), None)
    if twice is not None:
        msg = (
            f"Contract {contract.name!r}: the lookup in {lookup.dataset!r} takes {twice!r}, a column that "
            "the rows have already; give what is taken another name, or drop the column in a step before."
        )
        raise ContractError(msg)


def _check_keys(
    contract: Contract, lookup: Lookup, here: dict[str, pl.DataType], reference: dict[str, pl.DataType]
) -> None:
    """ContractError when the columns that a lookup matches on can't be matched."""
    for own, other in lookup.on.items():
        if own not in here:
            msg = (
                f"Contract {contract.name!r}: the lookup in {lookup.dataset!r} matches on {own!r}, a column "
                f"that the rows don't have; they have {', '.join(name for name in here if name != RECORD)}."
            )
            raise ContractError(msg)
        if other in reference and here[own] != reference[other]:
            msg = (
                f"Contract {contract.name!r}: the lookup in {lookup.dataset!r} matches {own!r} ({here[own]}) "
                f"with {other!r} ({reference[other]}); give both the same type."
            )
            raise ContractError(msg)
