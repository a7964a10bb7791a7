import hashlib
import json
from functools import partial
from io import StringIO
from pathlib import Path

import duckdb
import polars as pl
import pytest
from rich.console import Console
from rich.table import Table

from benchmarks import orders, results
from benchmarks.cases import CASES, FULL_ONLY, case
from benchmarks.measuring import Series, interleaved, line_through, ratio
from benchmarks.results import Goal, Result, WrongResultError
from benchmarks.tidegate_system import same
from tidegate.contracts.registry import load_registry
from tidegate.operations.check import check

CONTRACTS = Path(__file__).parents[2] / "benchmarks"


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_same_orders_give_the_same_bytes(tmp_path: Path) -> None:
    orders.write_orders(tmp_path / "a.csv", 7_000, 300)
    orders.write_orders(tmp_path / "b.csv", 7_000, 300)
    orders.write_orders(tmp_path / "c.csv", 7_001, 300)
    assert sha256(tmp_path / "a.csv") == sha256(tmp_path / "b.csv")
    assert sha256(tmp_path / "a.csv") != sha256(tmp_path / "c.csv")
    assert sha256(tmp_path / "a.csv") == "c2c4120df647cebddca180e929637c81a95bfd8e483e6f95d492a6efc460cb44"


def test_small_files_hold_what_one_file_would(tmp_path: Path) -> None:
    files = orders.write_small_files(tmp_path, 400, 3, 50)
    orders.write_orders(tmp_path / "whole.csv", 400, 150)
    whole = pl.read_csv(tmp_path / "whole.csv")
    assert len({file.name for file in files}) == 3
    assert pl.concat([pl.read_csv(file) for file in files]).equals(whole)
    assert whole.columns == list(orders.COLUMNS)
    assert whole["order_id"].to_list() == list(range(400, 550))


def test_sums_of_a_file_are_those_expected_of_it(tmp_path: Path) -> None:
    orders.write_orders(tmp_path / "orders.csv", 1_000_000, 500)
    with duckdb.connect() as con:
        con.execute("CREATE TABLE orders AS SELECT * FROM read_csv(?)", [str(tmp_path / "orders.csv")])
        right = orders.expected(1_000_000, 500)
        assert orders.loaded(con, "orders") == right
        same(orders.loaded(con, "orders"), right, "DuckDB")
        con.execute("UPDATE orders SET unit_price = unit_price + 0.01 WHERE order_id = 1000007")
        with pytest.raises(WrongResultError, match="DuckDB loaded other rows"):
            same(orders.loaded(con, "orders"), right, "DuckDB")


@pytest.mark.parametrize("first", [0, 10_000_000, 1_000_000_000])
def test_every_order_and_reference_keeps_its_contract(tmp_path: Path, first: int) -> None:
    registry = load_registry("contracts", CONTRACTS)
    orders.write_orders(tmp_path / "orders.csv", first, 400)
    files = [tmp_path / "orders.csv", *orders.write_references(tmp_path)]
    for file in files:
        verdict = check(file, registry[file.stem])
        assert verdict.ok, verdict.report
    keys = {name: set(pl.read_csv(tmp_path / f"{name}.csv").to_series(0)) for name in orders.REFERENCES}
    rows = pl.read_csv(tmp_path / "orders.csv")
    for name in orders.REFERENCES:
        assert set(rows[name.removesuffix("s")]) <= keys[name]


def test_median_and_p95_are_of_the_values() -> None:
    series = Series("files", values=[float(number) for number in range(100, 0, -1)])
    assert series.median == 50.5
    assert series.p95 == 95
    assert (series.lowest, series.highest) == (1, 100)
    assert Series("few", values=[3.0, 1.0, 2.0]).p95 == 3


def test_a_ratio_compares_round_by_round() -> None:
    ours, theirs = Series("ours", values=[1.0, 4.0, 3.0]), Series("theirs", values=[2.0, 8.0, 2.0])
    found = ratio(ours, theirs)
    assert (found.of, found.to) == ("ours", "theirs")
    assert (found.median, found.lowest, found.highest) == (0.5, 0.5, 1.5)


def test_a_ratio_of_unequal_numbers_compares_medians() -> None:
    found = ratio(Series("ours", values=[1.0, 2.0, 3.0]), Series("theirs", values=[8.0]))
    assert (found.median, found.lowest, found.highest) == (0.25, 0.125, 0.375)


def test_every_other_round_runs_in_reverse() -> None:
    called: list[tuple[str, int]] = []
    candidates = {name: partial(lambda name, number: called.append((name, number)), name) for name in "ab"}
    interleaved(3, candidates)
    assert called == [("a", 0), ("b", 0), ("b", 1), ("a", 1), ("a", 2), ("b", 2)]


def test_an_estimate_lies_on_the_line_through_the_points() -> None:
    assert line_through({0: 1.0, 10: 2.0, 20: 3.0}, 100) == pytest.approx(11.0)
    assert line_through({0: 3.0, 10: 2.0, 20: 1.0}, 100) == pytest.approx(2.0), "noise is no gain"


def example() -> Result:
    result = Result("burst", quick=True, facts={"files": 3})
    result.add("Tidegate").values.extend([0.5, 0.25])
    result.add("dlt").values.extend([1.0, 1.0])
    result.ratios.append(ratio(result["Tidegate"], result["dlt"]))
    result.goals = [
        Goal("burst", "x", 0.375, 0.5, 0.25),
        Goal("faster", "x", 7.0, 8.0, at_least=True),
        Goal("start", "s", 0.1, 0.5),
    ]
    return result


def shown(table: Table) -> str:
    text = StringIO()
    console = Console(width=160, file=text)
    console.print(table)
    return text.getvalue()


def test_tables_tell_numbers_and_what_is_reached() -> None:
    result = example()
    assert "375 ms" in shown(results.measured_table([result]))
    assert "0.38" in shown(results.ratio_table([result]))
    told = shown(results.goal_table([result])).splitlines()
    verdicts = [line.split("│")[-2].strip() for line in told if "│" in line]
    assert verdicts == ["reached", "not reached", "reached"]


def test_results_are_kept_with_every_measurement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    told = json.loads(results.write(example()).read_text())
    assert [one["values"] for one in told["series"]] == [[0.5, 0.25], [1.0, 1.0]]
    assert [one["reached"] for one in told["goals"]] == [True, False, True]
    assert {"cpu", "cpus", "memory_gb", "commit", "polars"} <= set(told["environment"])


@pytest.mark.parametrize("name", CASES)
def test_every_case_is_there(name: str) -> None:
    assert callable(case(name))
    assert set(FULL_ONLY) <= set(CASES)
