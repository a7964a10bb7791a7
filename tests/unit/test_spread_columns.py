"""Rows whose columns lie in several files: the same enriched rows as when all are written anew."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import duckdb
import pandera.polars as pa
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from tidegate.contracts import Budget, Contract, Lookup
from tidegate.errors import StagingUnavailableError
from tidegate.objects import ObjectVersion
from tidegate.stages import staging as spreading
from tidegate.stages.enrich import enrich
from tidegate.stages.load import load_request
from tidegate.stages.model import Verdict, VerdictState
from tidegate.stages.normalize import normalize
from tidegate.stages.references import References
from tidegate.stages.staging import Staging
from tidegate.warehouse.frames import side_by_side

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    Step = Callable[[pl.LazyFrame], pl.LazyFrame]

ROWS = 120
OBJECT = ObjectVersion(
    store="folder",
    bucket="landing",
    key="sales/1.csv",
    version="1",
    size=100,
    uploaded_at=datetime(2024, 1, 1, tzinfo=UTC),
)


class Sale(pa.DataFrameModel):
    a: int
    b: int
    shop: str
    other: str


def sales(height: int) -> pl.DataFrame:
    numbers = pl.DataFrame({"_record": range(1, height + 1)})
    shop = "s" + (pl.col("_record") % 7).cast(pl.String)
    other = "s" + (pl.col("_record") % 3).cast(pl.String)
    return numbers.with_columns(a=pl.col("_record") * 31 % 17, b=-pl.col("_record"), shop=shop, other=other)


def keep(take: str, on: str = "shop") -> Lookup:
    return Lookup(dataset="shops", on={on: "code"}, take={take: "town"}, unmatched="keep")


def refusing(take: str) -> Lookup:
    return Lookup(dataset="shops", on={"shop": "code"}, take={take: "town"}, unmatched="reject")


def contract(steps: Sequence[Step], enrich: Sequence[Any] = (keep("town"),)) -> Contract:
    return Contract(
        name="sales",
        version="1.0.0",
        owner="o",
        description="d",
        keys=["sales/*.csv"],
        schema=Sale,
        normalize=list(steps),
        enrich=list(enrich),
        budget=Budget(max_share=1.0),
    )


class Bench:
    """Two staging folders with the same validated rows."""

    def __init__(self, root: Path, height: int = ROWS) -> None:
        self.root = root
        (root / "references" / "shops").mkdir(parents=True)
        self.references = References(root / "references")
        shops = pl.DataFrame({"code": ["s0", "s1", "s2", "s4"], "town": ["Bern", "Rome", None, "Oslo"]})
        shops.write_parquet(root / "references" / "shops" / "1.parquet")
        self.rows = sales(height)

    def staged(self, name: str, row_group_size: int | None = None) -> tuple[Staging, Verdict]:
        staging = Staging(self.root / name)
        rows = staging.name("o1", 1, "validated.parquet")
        self.rows.write_parquet(staging.path(rows), row_group_size=row_group_size)
        origins = staging.name("o1", 1, "origins.parquet")
        line = pl.col("_record") + 1
        told = self.rows.select(record="_record", line=line, offset=line * 10, raw=line.cast(pl.String))
        told.write_parquet(staging.path(origins))
        verdict = Verdict(
            object_id="o1",
            attempt=1,
            state=VerdictState.PASSED,
            contract_version="1.0.0",
            rows_read=self.rows.height,
            rows_valid=self.rows.height,
            rows=rows,
            origins=origins,
        )
        return staging, verdict

    def enriched(self, name: str, own: Contract) -> pl.DataFrame | str:
        """What becomes of the rows, or what is said of them."""
        staging, verdict = self.staged(name)
        try:
            verdict = self.enrich(normalize(verdict, own, staging), own, staging)
        except Exception as error:  # noqa: BLE001 - compared with that of the other way
            return f"{type(error).__name__}: {error}".replace(str(staging.folder), "")
        if verdict.rows is None:
            return verdict.reason
        return staging.rows(verdict.rows).collect()

    def enrich(self, verdict: Verdict, own: Contract, staging: Staging) -> Verdict:
        return enrich(verdict, own, {"shops": "shops/1.parquet"}, self.references, staging)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(spreading, "_MANY_ROWS", 0)
    return Bench(tmp_path)


def swap(rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows.rename({"a": "b", "b": "a"})


def exploded_and_back(rows: pl.LazyFrame) -> pl.LazyFrame:
    lists = rows.with_columns(many=pl.concat_list("_record", "_record")).explode("many")
    return lists.unique("_record", keep="first", maintain_order=True).drop("many")


def forth_and_back(rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows.with_columns(pl.col("_record") + 1).with_columns(pl.col("_record") - 1)


STEPS: dict[str, Step] = {
    "forth and back": forth_and_back,
    "new": lambda rows: rows.with_columns(sum=pl.col("a") + pl.col("b")),
    "changed": lambda rows: rows.with_columns(pl.col("a") + 1),
    "changed to the same": lambda rows: rows.with_columns(pl.col("b").alias("b")),
    "constant": lambda rows: rows.with_columns(fixed=pl.lit("x"), least=pl.col("a").min()),
    "dropped": lambda rows: rows.drop("other"),
    "dropped and made": lambda rows: rows.with_columns(c=pl.col("a")).drop("a").rename({"c": "a"}),
    "swapped": swap,
    "swapped by expressions": lambda rows: rows.with_columns(a=pl.col("b"), b=pl.col("a")),
    "numbered": lambda rows: rows.drop("b").with_row_index("b"),
    "records numbered": lambda rows: rows.drop("_record").with_row_index("_record", 1),
    "records changed": lambda rows: rows.with_columns(pl.col("_record") + 1),
    "records gone": lambda rows: rows.drop("_record"),
    "window": lambda rows: rows.with_columns(w=pl.col("a").sum().over("shop"), r=pl.col("b").rank()),
    "reordered columns": lambda rows: rows.select("shop", "b", "_record", "other", "a"),
    "filtered": lambda rows: rows.filter(pl.col("a") > 3),
    "sorted": lambda rows: rows.sort("a", "_record"),
    "sorted and back": lambda rows: rows.sort("a").sort("_record"),
    "first rows": lambda rows: rows.head(10),
    "all rows": lambda rows: rows.head(10_000),
    "reversed columns": lambda rows: rows.with_columns(pl.col("b").reverse()),
    "shifted": lambda rows: rows.with_columns(before=pl.col("a").shift(1)),
    "map": lambda rows: rows.map_batches(lambda frame: frame.with_columns(frame["a"] * 2)),
    "map that drops": lambda rows: rows.map_batches(lambda frame: frame.head(5)),
    "exploded and back": exploded_and_back,
    "exploded": lambda rows: rows.with_columns(x=pl.concat_list("a", "b")).explode("x"),
    "filtered column": lambda rows: rows.with_columns(x=pl.col("a").filter(pl.col("a") > 3)),
    "wrong cast": lambda rows: rows.with_columns(x=pl.col("shop").cast(pl.Int64)),
    "wrong cast dropped": lambda rows: rows.with_columns(x=pl.col("shop").cast(pl.Int64)).drop("x"),
    "collected": lambda rows: rows.collect().lazy().with_columns(k=pl.col("a") - 1),
    "joined": lambda rows: rows.join(
        rows.select("_record", j="a"), on="_record", how="left", maintain_order="left"
    ),
    "beside itself": lambda rows: pl.concat([rows, rows.select(h="b")], how="horizontal"),
    "cached": lambda rows: rows.cache().with_columns(q=pl.col("a") * 3),
}
ENRICH: dict[str, list[Any]] = {
    "lookup": [keep("town")],
    "lookups": [keep("town"), keep("second", "other")],
    "chained": [keep("town"), keep("third", "town")],
    "steps": [lambda rows: rows.with_columns(e=pl.col("a") * pl.col("b")), keep("town"), swap],
    "holding": [Lookup(dataset="shops", on={"shop": "code"}, take={"town": "town"}, unmatched="hold")],
}


def _kind_of(found: object) -> str:
    """An error without what Polars makes up: values of whichever piece was first, ids of caches."""
    text = re.sub(r" for \d+ out of \d+ values: \[.*?\]", "", str(found))
    return re.sub(r"CACHE\[id: [0-9a-f-]+\]", "CACHE", text)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=3), after=st.sampled_from([*ENRICH])
)
def test_rows_and_errors_are_those_of_rows_written_whole(
    names: list[str], after: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    own = contract([STEPS[name] for name in names], ENRICH[after])
    bench = Bench(tmp_path_factory.mktemp("bench"))
    found = []
    for many in (0, ROWS + 1):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(spreading, "_MANY_ROWS", many)
            found.append(bench.enriched(f"staging-{many}", own))
    short, whole = found
    if isinstance(short, str) or isinstance(whole, str):
        assert _kind_of(short) == _kind_of(whole)
    else:
        assert_frame_equal(short, whole)


def in_place(staging: Staging, after: Verdict, before: Verdict) -> list[str]:
    files = json.loads(staging.path(str(after.rows)).read_text())["columns"]
    return [name for name, file in files.items() if file == before.rows]


@pytest.mark.parametrize(
    ("names", "left"),
    [
        (["new"], ["a", "b", "shop", "other"]),
        (["changed", "dropped"], ["b", "shop"]),
        (["swapped"], ["shop", "other"]),
        (["dropped and made"], ["b", "shop", "other"]),
        (["reordered columns", "window"], ["shop", "b", "other", "a"]),
        (["numbered"], ["a", "shop", "other"]),
        (["reversed columns"], ["a", "shop", "other"]),
    ],
)
def test_columns_that_steps_left_alone_stay_where_they_are(
    bench: Bench, names: list[str], left: list[str]
) -> None:
    staging, verdict = bench.staged("staging")
    after = normalize(verdict, contract([STEPS[name] for name in names]), staging)
    assert in_place(staging, after, verdict) == left


@pytest.mark.parametrize(
    "name", ["forth and back", "sorted and back", "map", "collected", "exploded and back"]
)
def test_all_is_written_where_rows_may_have_changed(bench: Bench, name: str) -> None:
    staging, verdict = bench.staged("staging")
    after = normalize(verdict, contract([STEPS[name]]), staging)
    assert pl.read_parquet(staging.path(str(after.rows)))["_record"].equals(bench.rows["_record"])


def test_rows_stay_where_they_are_when_a_contract_lost_its_lookups_meanwhile(bench: Bench) -> None:
    staging, verdict = bench.staged("staging")
    before = normalize(verdict, contract([STEPS["new"]]), staging)
    after = bench.enrich(before, contract([STEPS["new"]], []), staging)
    assert after.rows == before.rows
    assert staging.rows(str(after.rows)).collect_schema().names() == [*bench.rows.columns, "sum"]


def test_lookups_write_only_what_they_add(bench: Bench) -> None:
    staging, verdict = bench.staged("staging")
    own = contract([STEPS["changed"]], ENRICH["lookups"])
    normalized = normalize(verdict, own, staging)
    after = bench.enrich(normalized, own, staging)
    where = staging.where(str(after.rows))
    assert [name for name, file in where.items() if file == "o1-1/enriched.parquet"] == [
        "_record",
        "town",
        "second",
    ]
    assert [name for name, file in where.items() if file == "o1-1/normalized.parquet"] == ["a"]
    request = load_request(after, OBJECT, staging)
    assert request.rows == staging.path("o1-1/enriched.parquet")
    assert set(request.beside) == {"a", "b", "shop", "other"}


def test_times_finer_than_microseconds_are_cut_off_as_in_one_file(bench: Bench) -> None:
    def timed(rows: pl.LazyFrame) -> pl.LazyFrame:
        last = 86_400_000_000_000 - 1
        return rows.with_columns(
            moment=pl.when(pl.col("a") > 3).then(last - pl.col("_record") * 1301).cast(pl.Time)
        )

    staging, verdict = bench.staged("staging")
    own = contract([timed])
    after = bench.enrich(normalize(verdict, own, staging), own, staging)
    request = load_request(after, OBJECT, staging)
    asked = "SELECT _record, CAST(moment AS TIME) FROM {} ORDER BY _record"
    with duckdb.connect() as con:
        with side_by_side(con, request, ["a", "moment"]) as rows:
            spread = con.execute(asked.format(rows)).fetchall()
        staging.rows(str(after.rows)).sink_parquet(staging.folder / "whole.parquet")
        whole = con.execute(asked.format(f"'{staging.folder}/whole.parquet'")).fetchall()
    assert request.beside
    assert spread == whole


def test_rows_that_find_no_match_are_taken_out_of_all_files(bench: Bench) -> None:
    own = contract([STEPS["new"]], [refusing("town")])
    spread = bench.enriched("spread", own)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spreading, "_MANY_ROWS", ROWS + 1)
        whole = bench.enriched("whole", own)
    assert isinstance(spread, pl.DataFrame)
    assert isinstance(whole, pl.DataFrame)
    assert 0 < spread.height < ROWS
    assert_frame_equal(spread, whole)


def test_a_name_that_polars_takes_for_a_pattern_is_written(bench: Bench) -> None:
    staging, verdict = bench.staged("staging")
    bench.rows.rename({"b": "^a.*$"}).write_parquet(staging.path(str(verdict.rows)))
    step = STEPS["changed"]
    after = normalize(verdict, contract([step]), staging)
    expected = bench.rows.rename({"b": "^a.*$"}).with_columns(pl.col("a") + 1)
    assert_frame_equal(pl.read_parquet(staging.path(str(after.rows))), expected)


def test_a_verdict_is_noted_only_while_all_its_files_are_there(bench: Bench) -> None:
    staging, verdict = bench.staged("staging")
    after = normalize(verdict, contract([STEPS["new"]]), staging)
    with staging.noting("normalized", "1.0.0") as note:
        note([after])
    assert staging.notes("normalized", "1.0.0") == {("o1", 1): after}
    staging.path(str(verdict.rows)).rename(staging.folder / "elsewhere")
    assert staging.notes("normalized", "1.0.0") == {}
    (staging.folder / "elsewhere").rename(staging.path(str(verdict.rows)))
    staging.path("o1-1/normalized.parquet").unlink()
    assert staging.notes("normalized", "1.0.0") == {}


def test_files_that_hold_different_numbers_of_rows_are_refused(bench: Bench) -> None:
    staging, verdict = bench.staged("staging")
    own = contract([STEPS["new"]])
    after = normalize(verdict, own, staging)
    bench.rows.head(ROWS - 1).write_parquet(staging.path(str(verdict.rows)))
    with pytest.raises(StagingUnavailableError, match="different numbers of rows"):
        bench.enrich(after, own, staging)


def test_many_rows_in_unlike_row_groups_stay_side_by_side(tmp_path: Path) -> None:
    bench = Bench(tmp_path, 1_100_000)
    own = contract([STEPS["new"]], [keep("town")])
    for row_group_size in (7_001, 333_333):
        staging, verdict = bench.staged(f"staging-{row_group_size}", row_group_size=row_group_size)
        after = bench.enrich(normalize(verdict, own, staging), own, staging)
        assert staging.path("o1-1/normalized.json").exists()
        rows = staging.rows(str(after.rows)).collect()
        assert_frame_equal(rows.select(bench.rows.columns), bench.rows)
        assert rows["sum"].equals(bench.rows["a"] + bench.rows["b"])
        towns = ["Bern", "Rome", None, None, "Oslo", None, None]
        expected = bench.rows.select(pl.lit(towns).list.get(pl.col("_record") % 7)).to_series()
        assert rows["town"].equals(expected)
