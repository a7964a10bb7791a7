"""Which contract takes a key, and whether two would."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandera.polars as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.contracts import Contract, ControlTotals
from tidegate.contracts.keys import KeyPattern
from tidegate.contracts.overlaps import shared_key
from tidegate.contracts.registry import Registry
from tidegate.contracts.snapshots import Snapshots
from tidegate.operations.contract_check import check

GLOBS = st.lists(st.sampled_from(["**/", "**", "*", "?", "a", "b", "/", ".csv"]), min_size=1, max_size=7).map(
    "".join
)
KEYS = st.text("ab/.csv", max_size=8)

if TYPE_CHECKING:
    from pathlib import Path


class Row(pa.DataFrameModel):
    text: str


def contract(name: str, keys: list[str], manifest: str | None = None) -> Contract:
    totals = ControlTotals(manifest=manifest, rows="rows") if manifest else None
    return Contract(
        name=name, version="1.0.0", owner="o", description="d", keys=keys, schema=Row, totals=totals
    )


@given(one=GLOBS, two=GLOBS, key=KEYS)
def test_two_globs_share_a_key_or_none_matches_both(one: str, two: str, key: str) -> None:
    shared = shared_key(one, two)
    both = KeyPattern(one), KeyPattern(two)
    if shared is None:
        assert not all(pattern.matches(key) for pattern in both)
    else:
        assert all(pattern.matches(shared) for pattern in both)
        assert shared == shared_key(two, one) or len(shared) == len(shared_key(two, one) or "")


@pytest.mark.parametrize(
    ("one", "two", "shared"),
    [
        ("orders/*.csv", "orders/*.csv", "orders/.csv"),
        ("orders/*.csv", "*/2026.csv", "orders/2026.csv"),
        ("orders/*.csv", "**/*.csv", "orders/.csv"),
        ("**/a.csv", "a.csv", "a.csv"),
        ("a/**/z.csv", "a/z.csv", "a/z.csv"),
        ("a/**/z.csv", "a/?/?/z.csv", "a/x/x/z.csv"),
        ("orders/*.csv", "orders/*/*.csv", None),
        ("orders/*.csv", "orders-*/*.csv", None),
        ("a?.csv", "a/.csv", None),
        ("a.csv", "A.csv", None),
    ],
)
def test_a_shared_key_is_a_shortest(one: str, two: str, shared: str | None) -> None:
    assert shared_key(one, two) == shared
    assert shared_key(two, one) == shared


@given(globs=st.lists(st.lists(GLOBS, min_size=1, max_size=3), min_size=1, max_size=6), key=KEYS)
def test_of_many_contracts_those_that_match_are_found(globs: list[list[str]], key: str) -> None:
    contracts = {f"d{number}": contract(f"d{number}", keys) for number, keys in enumerate(globs)}
    found = [one.name for one in Registry(contracts).match(key)]
    assert found == [name for name, one in contracts.items() if one.matches(key)]


MANIFESTS = st.sampled_from(["{key}.ctl", "{stem}.ctl", "a/{stem}", "{key}", "a.csv", "{stem}.csv"])


@given(
    pairs=st.lists(st.tuples(GLOBS, MANIFESTS), min_size=1, max_size=4), key=KEYS | KEYS.map("{}.ctl".format)
)
def test_of_many_contracts_that_of_a_manifest_is_found(pairs: list[tuple[str, str]], key: str) -> None:
    contracts = {f"d{number}": contract(f"d{number}", [glob], to) for number, (glob, to) in enumerate(pairs)}
    found = Registry(contracts).manifest_of(key)
    assert found == next((one for one in contracts.values() if one.has_manifest(key)), None)


def test_of_many_patterns_those_with_a_shared_key_are_told(tmp_path: Path) -> None:
    globs = {"one": "x**/y", "two": "xy", "three": "z/*.csv", "four": "z/?.csv", "five": "other/*"}
    registry = Registry({name: contract(name, [glob]) for name, glob in globs.items()})
    told = {one.dataset: one.warnings for one in check(registry, Snapshots(tmp_path))}
    assert "both match keys such as 'xy'" in told["one"][0]
    assert "both match keys such as 'z/x.csv'" in told["four"][0]
    assert [name for name, warnings in told.items() if warnings] == ["four", "one"]
    assert not any(one.warnings for one in check(registry, Snapshots(tmp_path), overlaps=False))
