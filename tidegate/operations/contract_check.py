"""Whether the project's contracts can work, and say what their versions said."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from tidegate.contracts import Merge
from tidegate.contracts.changes import Change, changes, next_version
from tidegate.contracts.describe import describe
from tidegate.contracts.overlaps import shared_key
from tidegate.contracts.snapshots import numbers
from tidegate.contracts.validity import unknown
from tidegate.errors import ContractError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tidegate.contracts import Contract
    from tidegate.contracts.registry import Registry
    from tidegate.contracts.snapshots import Snapshots

_SHOWN = 5
_MOST_OVERLAPS = 20
#: Pairs of patterns that are compared letter by letter, a millisecond each.
_MOST_COMPARED = 2_000


@dataclass
class Checked:
    """One contract, judged."""

    dataset: str
    version: str
    #: each a sentence that says where, what and what to do
    problems: list[str] = field(default_factory=list)
    #: each a sentence about what may be meant so
    warnings: list[str] = field(default_factory=list)
    #: whether its version was recorded by this very call
    recorded: bool = False


def check(
    registry: Registry, snapshots: Snapshots, *, write: bool = False, overlaps: bool = True
) -> list[Checked]:
    """Judge every contract; with `write`, record the versions that have no snapshot yet.

    With `overlaps`, a key that several match is warned of, which may take seconds.
    Nothing is recorded of a contract that has a problem, nor over what is recorded.
    """
    found = {
        contract.name: _check(contract, registry, snapshots, write=write)
        for contract in sorted(registry, key=lambda one: one.name)
    }
    for dataset, warning in islice(_overlaps(registry), _MOST_OVERLAPS if overlaps else 0):
        found[dataset].warnings.append(warning)
    return [*found.values()]


def current(contract: Contract, registry: Registry) -> dict[str, Any]:
    """The description of a contract as declared now, with its table's columns."""
    from tidegate.stages.schema import table_columns

    return describe(contract, table_columns(contract, registry))


def _overlaps(registry: Registry) -> Iterator[tuple[str, str]]:
    """Datasets with a key that the patterns of another match, too, and what to do about it."""
    told: set[tuple[str, str]] = set()
    for number, (one, two) in enumerate(_alike(registry)):
        if number == _MOST_COMPARED:
            yield one.dataset, _NOT_ALL.format(most=_MOST_COMPARED)
            return
        pair = (min(one.dataset, two.dataset), max(one.dataset, two.dataset))
        if one.dataset == two.dataset or pair in told:
            continue
        key = shared_key(one.glob, two.glob)
        # Of a manifest, the pattern is not all that counts.
        if key is not None and {*pair} <= {contract.name for contract in registry.match(key)}:
            told.add(pair)
            yield pair[0], _OVERLAP.format(place=registry.place(pair[0], ("keys",)), pair=pair, key=key)


_OVERLAP = (
    "{place}: {pair[0]} and {pair[1]} both match keys such as {key!r}, and such an object is unmatched. "
    "Make their patterns exclude each other."
)


_NOT_ALL = (
    "Many key patterns begin and end alike; {most:,} pairs of them were compared, and the others may match "
    "the same keys."
)


class _Pattern(NamedTuple):
    beginning: str
    ending: str
    glob: str
    dataset: str


def _alike(registry: Registry) -> Iterator[tuple[_Pattern, _Pattern]]:
    """Pairs of patterns whose keys may begin and end alike: few, even of thousands of contracts."""
    patterns = sorted(
        _Pattern(one.beginning, _ending(one.glob), one.glob, of.name)
        for of in registry
        for one in of.patterns
    )
    for number, one in enumerate(patterns):
        for two in islice(patterns, number + 1, None):
            if not two.beginning.startswith(one.beginning):
                break
            if one.ending.endswith(two.ending) or two.ending.endswith(one.ending):
                yield one, two


def _ending(glob: str) -> str:
    ending = glob[max(glob.rfind("*"), glob.rfind("?")) + 1 :]
    # ``**/`` may be nothing at all.
    return ending.removeprefix("/") if glob.removesuffix(ending).endswith("**") else ending


def _unkept_columns(contract: Contract, registry: Registry) -> list[str]:
    from tidegate.stages.schema import table_columns
    from tidegate.warehouse.ddl import table_types

    try:
        table_types(contract, table_columns(contract, registry))
    except ContractError as error:
        return [f"{registry.place(contract.name)}: {error}"]
    return []


def _check(contract: Contract, registry: Registry, snapshots: Snapshots, *, write: bool) -> Checked:
    checked = Checked(contract.name, contract.version)
    try:
        now = current(contract, registry)
    except ContractError as error:
        checked.problems.append(f"{registry.place(contract.name)}: {error}")
        return checked
    checked.problems.extend(
        _merge_columns(contract, registry, now["table"]) or _unkept_columns(contract, registry)
    )
    known = snapshots.versions(contract.name)
    if contract.version in known:
        checked.problems.extend(_unlike_recorded(registry, now, snapshots))
        return checked
    before = [version for version in known if numbers(version) < numbers(contract.version)]
    if len(before) < len(known):
        checked.problems.append(
            f"{_version_of(registry, contract.name)}: {contract.name} {contract.version} comes before "
            f"{known[-1]}, which is recorded; set version to at least {known[-1]}."
        )
    elif before:
        checked.problems.extend(_step_too_small(registry, now, snapshots, before[-1]))
    if not checked.problems and write:
        snapshots.record(now)
        checked.recorded = True
    elif not checked.problems:
        checked.problems.append(
            f"{_version_of(registry, contract.name)}: {contract.name} {contract.version} is not recorded; "
            "run tidegate contracts check --write and commit what it writes."
        )
    return checked


def _merge_columns(contract: Contract, registry: Registry, table: dict[str, str]) -> list[str]:
    load = contract.load
    if not isinstance(load, Merge):
        return []
    asked = [("key", name) for name in load.key]
    if load.order_by is not None:
        asked.append(("order_by", load.order_by))
    return [
        f"{registry.place(contract.name, ('load', argument))}: Contract {contract.name!r}: "
        f"Merge({argument}=…) names {name!r}, which its table lacks; {unknown(name, table)}"
        for argument, name in asked
        if name not in table
    ]


def _unlike_recorded(registry: Registry, now: dict[str, Any], snapshots: Snapshots) -> list[str]:
    name, version = now["name"], now["version"]
    found = changes(snapshots.read(name, version), now)
    if not found:
        return []
    newest = max([version, *snapshots.versions(name)], key=numbers)
    least = max(next_version(version, found), newest, key=numbers)
    return [
        (
            f"{_version_of(registry, name)}: {name} changed without a step of its version: {_told(found)}. "
            f"Set version to at least {least} ({_size(found)})."
        )
    ]


def _step_too_small(registry: Registry, now: dict[str, Any], snapshots: Snapshots, before: str) -> list[str]:
    found = changes(snapshots.read(now["name"], before), now)
    least = next_version(before, found)
    if numbers(now["version"]) >= numbers(least):
        return []
    return [
        (
            f"{_version_of(registry, now['name'])}: {now['name']} {now['version']} is too small a step from "
            f"{before}: {_told(found)}. Set version to at least {least} ({_size(found)})."
        )
    ]


def _version_of(registry: Registry, dataset: str) -> str:
    return registry.place(dataset, ("version",))


def _told(found: list[Change]) -> str:
    """The gravest changes first."""
    ordered = sorted(found, key=lambda one: not one.breaking)
    told = [f"{one.what} was {_shown(one.was)}, is {_shown(one.now)}" for one in ordered[:_SHOWN]]
    left = len(ordered) - len(told)
    return "; ".join([*told, *([f"and {left} more"] if left else [])])


def _shown(value: Any) -> str:
    return "not there" if value is None else repr(value)


def _size(found: list[Change]) -> str:
    effects = list(dict.fromkeys(one.effect.value for one in found if one.breaking))
    return ", ".join(effects) or (
        "compatible" if any(o.effect == "compatible" for o in found) else "words only"
    )
