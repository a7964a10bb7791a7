"""Whether the parts of one contract fit together. Cheap: nothing is read, no step is run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from tidegate.contracts.columns import Parse
from tidegate.contracts.policies import Append, Lookup, Merge, Replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from tidegate.contracts.model import Contract
    from tidegate.contracts.places import Where

_PLACEHOLDER = re.compile(r"\{(\w*)\}")


@dataclass(frozen=True)
class Mistake:
    """Something that the author has to change."""

    #: contract, field, value, and what to use instead
    message: str
    #: which part of the Contract
    where: Where


def mistakes(contract: Contract) -> list[Mistake]:
    """Everything in the declaration that can't be meant, or can't work."""
    try:
        columns = dict(contract.schema.to_schema().columns)
    except Exception as error:  # noqa: BLE001 - whatever Pandera raises, the schema is at fault
        return [_mistake(contract, ("schema",), f"the schema {contract.schema.__name__} is wrong: {error}")]
    found = (
        *_texts(contract),
        *_policies(contract),
        *_steps(contract),
        *_column_policy(contract, columns),
        *_parse_rules(contract, columns),
        *_totals(contract, columns),
    )
    return [_mistake(contract, where, message) for where, message in found]


def _mistake(contract: Contract, where: Where, message: str) -> Mistake:
    return Mistake(f"Contract {contract.name!r}: {message}", where)


def unknown(name: str, known: Iterable[str]) -> str:
    """What to use instead of a name that is not there."""
    listed = list(known)
    near = get_close_matches(name, listed, 1)
    return f"did you mean {near[0]!r}?" if near else f"use one of {', '.join(listed)}."


def _texts(contract: Contract) -> Iterator[tuple[Where, str]]:
    for name in ("owner", "description"):
        if not str(getattr(contract, name)).strip():
            advice = "say who answers questions" if name == "owner" else "say in a sentence what it holds"
            yield (name,), f"{name} is empty; {advice}."
    for number, glob in enumerate(contract.keys):
        if not glob.strip("/") or glob.startswith("/"):
            yield (
                ("keys", number),
                (
                    f"keys has {glob!r}, which no key matches; write it without a / in front, "
                    f"such as '{contract.name}/*.csv'."
                ),
            )
    if isinstance(contract.null_tokens, str):
        yield ("null_tokens",), f"null_tokens = {contract.null_tokens!r} is one text; give a list of texts."


def _steps(contract: Contract) -> Iterator[tuple[Where, str]]:
    steps: Sequence[Any] = contract.normalize
    for number, step in enumerate(steps):
        if isinstance(step, Lookup):
            yield (
                ("normalize", number),
                f"normalize has the lookup in {step.dataset!r}, and lookups belong to enrich; move it there.",
            )


def _policies(contract: Contract) -> Iterator[tuple[Where, str]]:
    load: Any = contract.load
    if not isinstance(load, (Append, Merge, Replace)):
        name = getattr(load, "__name__", repr(load))
        yield ("load",), f"load = {name} is no load policy; use Append(), Merge(key=[…]) or Replace()."
    elif isinstance(load, Merge):
        if isinstance(load.key, str):
            yield ("load", "key"), f"Merge(key={load.key!r}) is one text; write key=[{load.key!r}]."
        elif not load.key:
            yield ("load", "key"), "Merge(key=[]) says nothing; name the columns that tell rows apart."
    budget = contract.budget
    if budget.max_share is not None and not 0 <= budget.max_share <= 1:
        percent = f", such as {budget.max_share / 100:g}" if 1 < budget.max_share <= 100 else ""  # noqa: PLR2004
        yield (
            ("budget", "max_share"),
            f"Budget(max_share={budget.max_share!r}) is no share; use a number from 0 to 1{percent}.",
        )
    if budget.max_rows is not None and budget.max_rows < 0:
        yield ("budget", "max_rows"), f"Budget(max_rows={budget.max_rows!r}) can't be used; use 0 or more."


def _column_policy(contract: Contract, columns: dict[str, Any]) -> Iterator[tuple[Where, str]]:
    policy = contract.columns
    for alias, target in policy.aliases.items():
        where = ("columns", "aliases", alias)
        if target not in columns:
            yield (
                where,
                (
                    f"columns.aliases leads from {alias!r} to {target!r}, which the schema lacks; "
                    f"{unknown(target, columns)}"
                ),
            )
        if alias in columns:
            yield (
                where,
                (
                    f"columns.aliases has {alias!r}, which is a column of the schema itself; "
                    "take the alias out, or name the former name of the column."
                ),
            )
    if policy.missing == "null" and columns and not any(column.nullable for column in columns.values()):
        yield (
            ("columns", "missing"),
            (
                "columns.missing = 'null' reads missing columns as nulls, and no column of the schema may be "
                "null; mark those that may with pa.Field(nullable=True), or use missing='hold'."
            ),
        )
    if policy.ignore_case:
        lower: dict[str, str] = {}
        for name in columns:
            same = lower.setdefault(name.casefold(), name)
            if same != name:
                yield (
                    ("columns", "ignore_case"),
                    f"columns.ignore_case makes {same!r} and {name!r} one name; take it out, or rename one.",
                )
    if contract.dialect.header_lines == 0 and (policy.aliases or policy.ignore_case):
        field = "aliases" if policy.aliases else "ignore_case"
        yield (
            ("columns", field),
            (
                f"columns.{field} is about names, and with dialect.header_lines = 0 the files have none; "
                "take one of the two out."
            ),
        )


def _parse_rules(contract: Contract, columns: dict[str, Any]) -> Iterator[tuple[Where, str]]:
    import polars as pl

    plain = Parse()
    declared: Mapping[str, Any] = contract.parse
    for name, rules in declared.items():
        if name not in columns:
            yield (
                ("parse", name),
                f"parse has rules for {name!r}, which the schema lacks; {unknown(name, columns)}",
            )
            continue
        if not isinstance(rules, Parse):
            yield ("parse", name), f"parse[{name!r}] = {rules!r} is no Parse; write Parse(…)."
            continue
        kind = column_type(columns[name])
        moment = isinstance(kind, pl.Datetime)
        fits = {
            "formats": kind.is_temporal(),
            "time_zone": moment and getattr(kind, "time_zone", None) is not None,
            "decimal": kind.is_float() or kind.is_decimal(),
            "thousands": kind.is_numeric(),
            "true": kind == pl.Boolean,
            "false": kind == pl.Boolean,
        }
        for field, can in fits.items():
            if getattr(rules, field) != getattr(plain, field) and not can:
                yield (
                    ("parse", name, field),
                    (
                        f"parse[{name!r}].{field} = {getattr(rules, field)!r} means nothing for a column of "
                        f"type {kind}; take it out, or change the column's type."
                    ),
                )
        if rules.time_zone is not None and not _is_zone(rules.time_zone):
            yield (
                ("parse", name, "time_zone"),
                (
                    f"parse[{name!r}].time_zone = {rules.time_zone!r} is no time zone; use a name such as "
                    "'Europe/Zurich' or 'UTC'."
                ),
            )


def column_type(column: Any) -> Any:
    """A Pandera column's type as an instance of Polars'; Null for a column without one."""
    import polars as pl

    kind = column.dtype.type if column.dtype is not None else pl.Null()
    return kind() if isinstance(kind, type) else kind


def _is_zone(name: str) -> bool:
    from zoneinfo import ZoneInfo

    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True


def _totals(contract: Contract, columns: dict[str, Any]) -> Iterator[tuple[Where, str]]:
    totals = contract.totals
    if totals is None:
        return
    if totals.trailer is not None:
        if contract.dialect.footer is None:
            yield (
                ("totals", "trailer"),
                (
                    "totals.trailer is looked for in the footer, and dialect.footer is not set, so that the "
                    r"trailer counts as a row; write dialect=Dialect(footer=r'^TOTAL;') or what fits."
                ),
            )
        for name in re.compile(totals.trailer).groupindex:
            if name != "rows":
                yield from _summed(name, columns, ("totals", "trailer"), "totals.trailer has a group")
    for name in totals.sums:
        yield from _summed(name, columns, ("totals", "sums", name), "totals.sums has")
    wrong = set(_PLACEHOLDER.findall(totals.manifest or "")) - {"key", "stem"}
    if wrong:
        yield (
            ("totals", "manifest"),
            f"totals.manifest = {totals.manifest!r} holds {{{min(wrong)}}}; use {{key}} or {{stem}}.",
        )
    elif totals.manifest == "{key}":
        yield ("totals", "manifest"), "totals.manifest is the file itself; write '{key}.json' or what fits."


def _summed(name: str, columns: dict[str, Any], where: Where, what: str) -> Iterator[tuple[Where, str]]:
    if name not in columns:
        yield where, f"{what} {name!r}, which the schema lacks; {unknown(name, ('rows', *columns))}"
    elif not column_type(columns[name]).is_numeric():
        kind = column_type(columns[name])
        yield where, f"{what} {name!r}, a column of type {kind}, which has no sum; use a column of numbers."
