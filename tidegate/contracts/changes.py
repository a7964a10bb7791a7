"""What changed between two descriptions of a contract, whom it breaks, and the version that follows."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from tidegate.contracts.columns import Columns, Parse
from tidegate.contracts.describe import full
from tidegate.contracts.dialect import DETECT, Dialect
from tidegate.contracts.policies import Budget, Lookup, Merge, Replace
from tidegate.contracts.widening import accepts_all, is_wider_type

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    #: what `describe` gives, or a part of it
    Told = Mapping[str, Any]


class Effect(StrEnum):
    """Whom a change concerns."""

    #: words for people
    TEXT = "text"
    #: files accepted before are accepted, and the table has the columns that it had
    COMPATIBLE = "compatible"
    #: files or rows accepted before may be refused
    SUPPLIERS = "breaking for suppliers"
    #: who reads the table may find other columns, types, nulls or rows
    READERS = "breaking for readers"


@dataclass(frozen=True)
class Change:
    """One difference."""

    #: which part of the contract, such as ``columns.amount.nullable``
    what: str
    was: Any
    now: Any
    effect: Effect

    @property
    def breaking(self) -> bool:
        return self.effect in (Effect.SUPPLIERS, Effect.READERS)


_MAJOR, _MINOR, _PATCH = 0, 1, 2


def changes(was: Told, now: Told) -> list[Change]:
    """Every difference but the version's, in the order of the description."""
    return [
        *_texts(was, now),
        *_keys(was, now),
        *_dialect(was, now),
        *_columns(was, now),
        *_row_rules(was, now),
        *_column_policy(was, now),
        *_values(was, now),
        *_steps(was, now),
        *_load(was, now),
        *_limits(was, now),
        *_table(was, now),
    ]


def next_version(version: str, found: list[Change]) -> str:
    """The least version that may follow `version` after these changes; itself when there are none.

    A breaking change steps the first number, any other the second, words alone the third. Before
    1.0.0 it is the second number for breaking changes and the third for the others.
    """
    if not found:
        return version
    major, minor, patch = (int(part) for part in version.split("."))
    size = min(
        _MAJOR if one.breaking else _MINOR if one.effect is Effect.COMPATIBLE else _PATCH for one in found
    )
    if major == 0:
        size = min(size + 1, _PATCH)
    steps = {_MAJOR: (major + 1, 0, 0), _MINOR: (major, minor + 1, 0), _PATCH: (major, minor, patch + 1)}
    return ".".join(map(str, steps[size]))


def _one(what: str, was: Any, now: Any, effect: Effect) -> Iterator[Change]:
    if was != now:
        yield Change(what, was, now, effect)


def _either(*, compatible: bool, otherwise: Effect = Effect.SUPPLIERS) -> Effect:
    return Effect.COMPATIBLE if compatible else otherwise


def _texts(was: Told, now: Told) -> Iterator[Change]:
    yield from _one("name", was["name"], now["name"], Effect.READERS)
    for field in ("owner", "description"):
        yield from _one(field, was[field], now[field], Effect.TEXT)


def _keys(was: Told, now: Told) -> Iterator[Change]:
    kept = set(was["keys"]) <= set(now["keys"])
    yield from _one("keys", was["keys"], now["keys"], _either(compatible=kept))


def _dialect(was: Told, now: Told) -> Iterator[Change]:
    before, after = full(Dialect, was["dialect"]), full(Dialect, now["dialect"])
    for field, value in after.items():
        effect = _either(compatible=value == DETECT)
        yield from _one(f"dialect.{field}", before.get(field), value, effect)


def _columns(was: Told, now: Told) -> Iterator[Change]:
    before = {one["name"]: one for one in was["columns"]}
    after = {one["name"]: one for one in now["columns"]}
    for name, one in before.items():
        if name not in after:
            ignored = full(Columns, now["column_policy"])["extra"] == "ignore"
            yield Change(f"columns.{name}", one["type"], None, _either(compatible=ignored))
    for name, one in after.items():
        if name in before:
            yield from _column(f"columns.{name}", before[name], one)
        else:
            optional = one["nullable"] and full(Columns, now["column_policy"])["missing"] == "null"
            yield Change(f"columns.{name}", None, one["type"], _either(compatible=optional))
    order = [name for name in after if name in before]
    positions = [name for name in before if name in after]
    by_position = full(Dialect, now["dialect"])["header_lines"] == 0
    held = full(Columns, now["column_policy"])["reordered"] == "hold"
    yield from _one("columns' order", positions, order, _either(compatible=not (by_position or held)))


def _column(what: str, was: Told, now: Told) -> Iterator[Change]:
    wider = is_wider_type(was["type"], now["type"])
    yield from _one(f"{what}.type", was["type"], now["type"], _either(compatible=wider))
    looser = Effect.READERS if now["nullable"] else Effect.SUPPLIERS
    yield from _one(f"{what}.nullable", was["nullable"], now["nullable"], looser)
    lost = Effect.SUPPLIERS if now["unique"] else Effect.READERS
    yield from _one(f"{what}.unique", was["unique"], now["unique"], lost)
    for field in ("title", "description"):
        yield from _one(f"{what}.{field}", was.get(field), now.get(field), Effect.TEXT)
    yield from _checks(what, was.get("checks", []), now.get("checks", []))


def _checks(what: str, was: list[Told], now: list[Told]) -> Iterator[Change]:
    before = {one["check"]: dict(one) for one in was}
    after = {one["check"]: dict(one) for one in now}
    for name in (*before, *(name for name in after if name not in before)):
        old, new = before.get(name), after.get(name)
        said = [one.pop("description", None) for one in (old, new) if one is not None]
        if old is None or new is None:
            yield Change(f"{what}.{name}", _said(old), _said(new), _either(compatible=new is None))
            continue
        effect = _either(compatible=accepts_all(old, new))
        yield from _one(f"{what}.{name}", _said(old), _said(new), effect)
        yield from _one(f"{what}.{name}.description", said[0], said[-1], Effect.TEXT)


def _said(check: Told | None) -> Any:
    """What a check compares with: the value alone when it is one."""
    rest = {name: value for name, value in (check or {}).items() if name != "check"}
    return None if check is None else next(iter(rest.values())) if len(rest) == 1 else rest


def _row_rules(was: Told, now: Told) -> Iterator[Change]:
    yield from _checks("row_checks", was["row_checks"], now["row_checks"])
    lost = Effect.SUPPLIERS if now["unique_together"] else Effect.READERS
    yield from _one("unique_together", was["unique_together"], now["unique_together"], lost)


def _column_policy(was: Told, now: Told) -> Iterator[Change]:
    before, after = full(Columns, was["column_policy"]), full(Columns, now["column_policy"])
    lenient = {"missing": "null", "extra": "ignore", "reordered": "accept", "ignore_case": True}
    for field, best in lenient.items():
        effect = _either(compatible=after[field] == best)
        yield from _one(f"column_policy.{field}", before[field], after[field], effect)
    kept = before["aliases"].items() <= after["aliases"].items()
    yield from _one("column_policy.aliases", before["aliases"], after["aliases"], _either(compatible=kept))


def _values(was: Told, now: Told) -> Iterator[Change]:
    yield from _null_tokens("null_tokens", was["null_tokens"], now["null_tokens"], _takes_texts(now))
    yield from _one("trim", was["trim"], now["trim"], _either(compatible=now["trim"]))
    columns = {one["name"]: one for one in now["columns"]}
    known = {one["name"] for one in was["columns"]}
    for name in sorted({*was["parse"], *now["parse"]}):
        if name in columns and name in known:
            before, after = (full(Parse, one["parse"].get(name, {})) for one in (was, now))
            for one in (before, after):
                whole = was if one is before else now
                for field in ("null_tokens", "trim"):
                    if one[field] is None:
                        one[field] = whole[field]
            yield from _parse(f"parse.{name}", before, after, columns[name])


def _parse(what: str, was: dict[str, Any], now: dict[str, Any], column: Told) -> Iterator[Change]:
    text = column["type"] == "String" and not column["nullable"]
    before, after = (sorted(one["null_tokens"]) for one in (was, now))
    yield from _null_tokens(f"{what}.null_tokens", before, after, text)
    yield from _one(f"{what}.trim", was["trim"], now["trim"], _either(compatible=bool(now["trim"])))
    # The first format that fits counts: what is read may change unless the old ones stand in front.
    added = bool(was["formats"]) and now["formats"][: len(was["formats"])] == was["formats"]
    yield from _one(f"{what}.formats", was["formats"], now["formats"], _either(compatible=added))
    yield from _one(f"{what}.time_zone", was["time_zone"], now["time_zone"], Effect.READERS)
    for field in ("decimal", "thousands"):
        compatible = field == "thousands" and was[field] is None
        yield from _one(f"{what}.{field}", was[field], now[field], _either(compatible=compatible))
    for field in ("true", "false"):
        more = set(was[field]) <= set(now[field])
        yield from _one(f"{what}.{field}", was[field], now[field], _either(compatible=more))


def _null_tokens(what: str, was: Any, now: Any, takes_texts: bool) -> Iterator[Change]:
    """A token less is a text that can't be read; one more is a missing value in a required text."""
    compatible = set(was) <= set(now) and not takes_texts
    yield from _one(what, was, now, _either(compatible=compatible))


def _takes_texts(now: Told) -> bool:
    own = {name for name, rules in now["parse"].items() if "null_tokens" in rules}
    return any(
        one["type"] == "String" and not one["nullable"] and one["name"] not in own for one in now["columns"]
    )


def _steps(was: Told, now: Told) -> Iterator[Change]:
    """Steps change values, which no description shows; what they make of the columns is in the table."""
    for stage in ("normalize", "enrich"):
        code, changed = ([one for one in told[stage] if "step" in one] for told in (was, now))
        yield from _one(stage, code, changed, Effect.COMPATIBLE)
    before, after = _lookups(was), _lookups(now)
    for name in (*before, *(name for name in after if name not in before)):
        old, new = before.get(name), after.get(name)
        if old is None or new is None:
            refuses = new is not None and new["unmatched"] != "keep"
            yield from _one(f"enrich.{name}", old, new, _either(compatible=not refuses))
            continue
        for field, value in new.items():
            effect = Effect.COMPATIBLE
            if field == "unmatched":
                effect = Effect.READERS if value == "keep" else Effect.SUPPLIERS
            yield from _one(f"enrich.{name}.{field}", old[field], value, effect)


def _lookups(told: Told) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for one in told["enrich"]:
        if "lookup" in one:
            rest = {field: value for field, value in one.items() if field != "lookup"}
            name = f"{one['lookup']} by {', '.join(one['on'])}"
            found[name] = {**full(Lookup, rest), "dataset": one["lookup"]}
    return found


def _load(was: Told, now: Told) -> Iterator[Change]:
    before, after = was["load"], now["load"]
    if before["policy"] != after["policy"]:
        yield Change("load", before["policy"], after["policy"], Effect.READERS)
        return
    kind: Any = {"merge": Merge, "replace": Replace}.get(after["policy"])
    if kind is None:
        return
    old, new = full(kind, before), full(kind, after)
    for field in new:
        effect = Effect.READERS
        if field == "allow_empty":
            effect = _either(compatible=new[field])
        yield from _one(f"load.{field}", old[field], new[field], effect)


def _limits(was: Told, now: Told) -> Iterator[Change]:
    before, after = full(Budget, was["budget"]), full(Budget, now["budget"])
    for field, value in after.items():
        old = before[field]
        more = value is None or (old is not None and value >= old)
        yield from _one(f"budget.{field}", old, value, _either(compatible=more))
    yield from _one("totals", was["totals"], now["totals"], _either(compatible=now["totals"] is None))


def _table(was: Told, now: Told) -> Iterator[Change]:
    before, after = was.get("table"), now.get("table")
    if before is None or after is None:
        return
    for name in (*before, *(name for name in after if name not in before)):
        old, new = before.get(name), after.get(name)
        effect = _either(compatible=old is None, otherwise=Effect.READERS)
        yield from _one(f"table.{name}", old, new, effect)
