"""Typed rows against their schema: every rule that a row breaks, with a sentence for its supplier.

Pandera's checks give one mask each, and the masks are used. `DataFrameSchema.validate` is not: its
`drop_invalid_rows` lets rows pass in some settings (pandera issue 1830), it tells only the first of
several joint `unique` rules, takes two missing values for duplicates, and an environment variable
can switch it off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from tidegate.errors import ContractError, ObjectRejectedError
from tidegate.stages.model import RECORD
from tidegate.stages.parse import no_rejections
from tidegate.stages.schema import pandera_schema
from tidegate.stages.sentences import (
    authors_words,
    builtin_name,
    builtin_wording,
    check_sentence,
    missing_sentence,
    one_line,
    row_sentence,
    rule_name,
    sentence,
    shown,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tidegate.contracts import Contract
    from tidegate.stages.parse import Parsed


def check(parsed: Parsed, contract: Contract) -> pl.DataFrame:
    """One rejection (record, column, rule, value, message) for each rule that a record breaks.

    What only follows from a value that could not be read is left out. ObjectRejectedError when a
    check judges the file as a whole; ContractError when a check can't be run.
    """
    if not parsed.rows.height:
        return no_rejections()
    broken = [*_missing(parsed, contract), *_duplicates(parsed, contract), *_failing(parsed, contract)]
    together = pl.concat([no_rejections(), *broken])
    if len({frame.select("column", "rule").row(0) for frame in broken if frame.height}) == len(broken):
        return together
    # Two checks of one name on one column, or none of its own: the row broke that rule once.
    return together.unique(["record", "column", "rule"], keep="first", maintain_order=True)


def is_rowwise(contract: Contract) -> bool:
    """Whether each row is judged without the others, so that a file may be checked block by block."""
    return not unique_columns(contract) and all(
        check.element_wise or builtin_name(check) not in (None, "unique_values_eq")
        for _, check in _checks(contract)
    )


def runs_own_code(contract: Contract) -> bool:
    """Whether any check is a function of the contract's author."""
    return any(builtin_name(check) is None for _, check in _checks(contract))


def unique_columns(contract: Contract) -> list[tuple[str, ...]]:
    """The columns, or groups of columns, whose values may occur once in a file."""
    schema = pandera_schema(contract)
    single = [(name,) for name, column in schema.columns.items() if column.unique]
    joint = schema.unique or []
    groups = [joint] if joint and isinstance(joint[0], str) else joint
    return list(dict.fromkeys([*single, *(tuple(group) for group in groups)]))


def _checks(contract: Contract) -> Iterator[tuple[str | None, Any]]:
    schema = pandera_schema(contract)
    for name, column in schema.columns.items():
        yield from ((name, check) for check in column.checks)
    yield from ((None, check) for check in schema.checks)


def _missing(parsed: Parsed, contract: Contract) -> Iterator[pl.DataFrame]:
    for name, column in pandera_schema(contract).columns.items():
        if not column.nullable and parsed.rows[name].null_count():
            words = missing_sentence(name, pl.col(name))
            yield _rejected(parsed, parsed.rows[name].is_null(), [name], "nullable", words)


def _duplicates(parsed: Parsed, contract: Contract) -> Iterator[pl.DataFrame]:
    again = "but another row of the file has the same"
    for group in unique_columns(contract):
        values = parsed.rows.select(group)
        # As in SQL, what is missing equals nothing.
        whole = values.select(pl.all_horizontal(pl.all().is_not_null())).to_series()
        twice = values.is_duplicated() & whole
        if len(group) == 1:
            words = sentence(group[0], pl.col(group[0]), pl.lit(f"{again}; each value may occur only once"))
            yield _rejected(parsed, twice, group, "unique", words)
        elif twice.any():
            listed = pl.concat_str([shown(pl.col(name)) for name in group], separator=" and ")
            names = " and ".join(map(one_line, group))
            words = pl.format(
                "{} are {}, {}; together they may occur only once.", pl.lit(names), listed, pl.lit(again)
            )
            yield _rejected(parsed, twice, group, f"unique({', '.join(group)})", words)


def _failing(parsed: Parsed, contract: Contract) -> Iterator[pl.DataFrame]:
    names = list(pandera_schema(contract).columns)
    values = parsed.rows.select(names)
    checks = list(_checks(contract))
    passing = _all_pass(values, checks)
    for at, (column, check) in enumerate(checks):
        if at in passing:
            continue
        passed = _passed(values, column, check, contract)
        if passed.all():
            continue
        words = check_sentence(column, pl.col(column), check) if column else pl.lit(row_sentence(check))
        concerned = [column] if column else names
        yield _rejected(parsed, ~passed, concerned, rule_name(check), words, of_row=column is None)


def _all_pass(values: pl.DataFrame, checks: Sequence[tuple[str | None, Any]]) -> set[int]:
    """Which of Pandera's own checks all rows pass, told by one query instead of several for each.

    None when one of them can't be run: by itself it then says so.
    """
    from pandera.api.polars.types import PolarsData

    frame = values.lazy()
    asked: dict[str, pl.LazyFrame] = {}
    try:
        for at, (column, check) in enumerate(checks):
            if column is not None and builtin_name(check) not in (None, "unique_values_eq"):
                mask = check.get_backend(frame)(check).apply(PolarsData(frame, column))
                asked[str(at)] = mask.select(pl.all().all(ignore_nulls=check.ignore_na).alias(str(at)))
        if not asked:
            return set()
        found = pl.concat(asked.values(), how="horizontal").collect().row(0, named=True)
    except Exception:  # noqa: BLE001
        return set()
    return {int(at) for at, passed in found.items() if passed is True}


def _passed(values: pl.DataFrame, column: str | None, check: Any, contract: Contract) -> pl.Series:
    try:
        result = check(values.lazy(), column)
        passed: pl.Series = result.check_output.collect().to_series()
        if passed.dtype != pl.Boolean:
            msg = f"it gives {passed.dtype}, not true or false"
            raise TypeError(msg)  # noqa: TRY301
    except Exception as error:
        where = f"column {column!r}" if column else "the row"
        msg = (
            f"Contract {contract.name!r} {contract.version}: the check {rule_name(check)} of {where} "
            f"could not be run: {error}"
        )
        raise ContractError(msg) from error
    # A bare False has no failure cases: it is about the whole file, even when that has one row.
    about_file = passed.len() != values.height or result.failure_cases is None
    if about_file and not passed.all():
        words = authors_words(check) or builtin_wording(check) or ""
        msg = (
            f"The file as a whole breaks the rule {rule_name(check)} of {contract.name} {contract.version}"
            f"{': ' if words else ''}{words}."
        )
        raise ObjectRejectedError(msg, rule=rule_name(check))
    return passed


def _rejected(
    parsed: Parsed,
    broken: pl.Series,
    concerned: Sequence[str],
    rule: str,
    words: pl.Expr,
    *,
    of_row: bool = False,
) -> pl.DataFrame:
    """Rejections of the rows that are `broken`, but for those where a concerned value was not read."""
    unread = parsed.unread.filter(pl.col("column").is_in(list(concerned)))["record"]
    if unread.len():
        broken &= ~parsed.rows[RECORD].is_in(unread.implode())
    column = None if of_row or len(concerned) > 1 else concerned[0]
    source = parsed.rows if parsed.text is None else parsed.text
    told = source.filter(broken).with_columns(pl.col(concerned).cast(pl.String))
    value = pl.lit(None, dtype=pl.String) if column is None else pl.col(column)
    return told.select(
        pl.col(RECORD).cast(pl.Int64).alias("record"),
        pl.lit(column, dtype=pl.String).alias("column"),
        pl.lit(rule).alias("rule"),
        pl.when(value != "").then(value).alias("value"),
        words.alias("message"),
    )
