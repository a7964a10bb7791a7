"""Small objects that go through the stages together end as each of them would by itself."""

from __future__ import annotations

import gzip
import tempfile
from datetime import date
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandera.polars as pa
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tidegate.contracts import Budget, Columns, Contract, ControlTotals, Dialect, Lookup
from tidegate.errors import StoreUnavailableError, TidegateError
from tidegate.ledger.claims import ClaimedObject
from tidegate.stages.enrich import enrich
from tidegate.stages.enrich_together import enrich_together
from tidegate.stages.model import Verdict, VerdictState
from tidegate.stages.normalize import normalize
from tidegate.stages.normalize_together import normalize_together
from tidegate.stages.references import References
from tidegate.stages.staging import PART, Staging, file_and_part
from tidegate.stages.together import groups_of, validate_together
from tidegate.stages.validate import validate
from tidegate.testing.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tidegate.objects import ObjectVersion


class Sale(pa.DataFrameModel):
    number: int = pa.Field(ge=1)
    shop: str = pa.Field(str_length={"max_value": 3})
    day: pl.Date = pa.Field(nullable=True)
    note: str = pa.Field(nullable=True)


class UniqueSale(Sale):
    number: int = pa.Field(ge=1, unique=True)

    @pa.dataframe_check
    @classmethod
    def not_many_shops(cls, data: pa.PolarsData) -> pl.LazyFrame:
        return data.lazyframe.select(pl.col("shop").n_unique() < 4)


def add_place(rows: pl.LazyFrame) -> pl.LazyFrame:
    """What depends on all rows of an object."""
    return rows.with_columns(place=pl.col("number").rank("dense"), rows=pl.len())


def stumble(rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows.with_columns(code=pl.col("note").fill_null("0").str.replace("text", "0").cast(pl.Int64))


def drop_later(rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows.filter(pl.col("number") < 90)


def lookup(unmatched: Any, **more: Any) -> Lookup:
    return Lookup(dataset="shops", on={"shop": "shop"}, take={"town": "town"}, unmatched=unmatched, **more)


def contract(**changes: Any) -> Contract:
    values: dict[str, Any] = {
        "name": "sales",
        "version": "1.0.0",
        "owner": "o",
        "description": "d",
        "keys": ["sales/*.csv"],
        "schema": Sale,
        "budget": Budget(max_share=0.6),
        "columns": Columns(extra="ignore"),
        "normalize": [add_place],
        "enrich": [lookup("keep")],
    }
    return Contract(**{**values, **changes})


KINDS = {
    "usual": contract(),
    "among rows": contract(schema=UniqueSale),
    "footer": contract(
        dialect=Dialect(footer="END.*", comment="#"),
        totals=ControlTotals(trailer=r"END (?P<rows>\d+)"),
    ),
    "stumbling": contract(normalize=[stumble, add_place, drop_later]),
    "rejecting": contract(enrich=[add_place, lookup("reject")], normalize=[]),
    "holding": contract(enrich=[lookup("hold", hold_seconds=60.0), add_place]),
    "declared": contract(dialect=Dialect(delimiter=";", quote="'", encoding="windows-1252", escape="\\")),
}
HEADER = b"number,shop,day,note\n"
LINES = [
    b"1,A,2026-01-31,text\n",
    b"2,B,,\n",
    b'3,A,2026-02-28,"a, quoted ""text"""\n',
    b"4,C,2026-01-01,12\r\n",
    b"5,A,,\xc3\xa9t\xc3\xa9\n",
    b"95,B,,0\n",
    b"0,A,,\n",
    b"x,ABCD,31.1.2026,\n",
    b"1,A\n",
    b'6,A,,"two\nlines"\n',
    b'7,A,,"never closed\n',
    b'8,A,,a stray " quote\n',
    b"9,A,,\xff\n",
    b"10,A,,\0\n",
    b"\n",
    b"# a remark\n",
    HEADER,
    b"11;A;2026-03-01;'a;b'\n",
    b"12,A,,text\r",
    b"13,A,,text",
    b"END 3\n",
    b"number;shop;day;note\n",
    b"\xef\xbb\xbf14,A,,\n",
]
SWAPPED = b"note,day,shop,number\ntext,2026-01-31,A,1\n,,B,2\n"
FILES = [
    b"",
    # What is open at the end of one file would be closed in the next.
    HEADER + b'1,A,,"never closed\n',
    HEADER + b'1,A,,text"\n' + LINES[0] * 2,
    HEADER + b"1,A,,text\r",
    HEADER + b"1,A,,a\r2,B,,b\r",
    HEADER,
    HEADER + b"".join(LINES[:6]),
    HEADER + b"".join(LINES[:6]) * 40,
    HEADER + LINES[0] + LINES[8] + LINES[1],
    HEADER + LINES[9] + LINES[0] + LINES[6],
    HEADER + LINES[10] + b"".join(LINES[:3]),
    HEADER + LINES[11] + LINES[12] + LINES[13] + LINES[0] * 9,
    HEADER + LINES[14] + LINES[0] + LINES[16] + LINES[1],
    SWAPPED,
    SWAPPED.replace(b",", b";").replace(b"\n", b"\r\n"),
    b"\xef\xbb\xbf" + HEADER + LINES[4] * 3,
    (HEADER + LINES[4] + LINES[0]).decode().encode("utf-16"),
    (HEADER + LINES[4] + LINES[0]).decode().encode("windows-1252"),
    HEADER + LINES[0] + LINES[5] + b"END 2\n",
    HEADER + LINES[0] + b"END 7\n",
    b"number,shop\n1,A\n",
    HEADER + b"1,Z,,\n2,A,,\n" + LINES[6] + LINES[0],
    HEADER + b"1,Z,,\n2,Y,,\n3,Y,,\n",
    gzip.compress(HEADER + LINES[0], mtime=0),
    gzip.compress(HEADER + LINES[0], mtime=0)[:-9],
    b"\0" * 50,
    b"number;shop;day;note\n11;A;2026-03-01;'a;b'\n12;B;;\xe9\\'\n",
]


class Bench:
    """The stages over some files, one by one or together, each with a staging folder of its own."""

    def __init__(self, folder: Path, files: Sequence[bytes], declared: Contract) -> None:
        self.folder = folder
        self.contract = declared
        self.store = MemoryStore("landing")
        uploaded = [self.store.put_bytes(f"sales/{n}.csv", content) for n, content in enumerate(files)]
        self.claimed = [claimed(one) for one in uploaded]
        self.references = References(folder)
        snapshot = folder / "shops" / "1-a.parquet"
        snapshot.parent.mkdir()
        shops = {"shop": ["A", "B", "C"], "town": ["in A", "in B", "in C"], "day": [date(2026, 1, 1)] * 3}
        pl.DataFrame(shops).write_parquet(snapshot)
        self.pinned = {"shops": "shops/1-a.parquet"}

    def one_by_one(self) -> list[Any]:
        staging = Staging(self.folder / "alone")
        return [self._alone(one, staging) for one in self.claimed]

    def _alone(self, one: ClaimedObject, staging: Staging) -> Any:
        verdict: Verdict | Exception = validate(one, self.contract, self.store, staging)
        stages: list[Callable[[Verdict], Verdict]] = [
            lambda before: normalize(before, self.contract, staging),
            lambda before: enrich(before, self.contract, self.pinned, self.references, staging),
        ]
        for stage in stages:
            if isinstance(verdict, Verdict) and verdict.state is VerdictState.PASSED:
                try:
                    verdict = stage(verdict)
                except Exception as error:  # noqa: BLE001 - what the run would hold the object for
                    verdict = error
        return told(verdict, staging)

    def together(self) -> list[Any]:
        staging = Staging(self.folder / "together")
        found: dict[str, Any] = {}
        for group in groups_of(self.claimed):
            found |= validate_together(group, self.contract, self.store, staging)
        for one in self.claimed:
            object_id = one.object.object_id
            if object_id not in found:
                found[object_id] = validate(one, self.contract, self.store, staging)
                if found[object_id].state is VerdictState.PASSED:
                    alone = Staging(self.folder / "left")
                    found[object_id] = self._alone(one, alone)
        found |= self._go_on(found, lambda some: normalize_together(some, self.contract, staging))
        found |= self._go_on(
            found,
            lambda some: enrich_together(some, self.contract, self.pinned, self.references, staging),
        )
        return [told(found[one.object.object_id], staging) for one in self.claimed]

    def _go_on(self, found: dict[str, Any], stage: Any) -> dict[str, Any]:
        passed = [
            one for one in found.values() if isinstance(one, Verdict) and one.state is VerdictState.PASSED
        ]
        files: dict[str, list[Verdict]] = {}
        for verdict in passed:
            files.setdefault(file_and_part(str(verdict.rows))[0], []).append(verdict)
        results: dict[str, Any] = {}
        for some in files.values():
            results |= stage(some)
            for verdict in some:
                if verdict.object_id not in results:
                    results |= stage([verdict])
        return results


def claimed(obj: ObjectVersion) -> ClaimedObject:
    return ClaimedObject(
        object=obj, dataset="sales", attempt=1, crashes=0, correlation_id="c", traceparent=None, redrive=False
    )


def told(found: Any, staging: Staging) -> Any:
    """All that is said of an object, with what the files hold, to compare."""
    if isinstance(found, Exception):
        return str(found) if isinstance(found, TidegateError) else repr(found)
    if not isinstance(found, Verdict):
        return found
    files = [_content(staging, one) for one in (found.rows, found.rejected, found.origins)]
    return found.model_dump(exclude={"rows", "rejected", "origins"}), files


def _content(staging: Staging, relative: str | None) -> Any:
    if relative is None:
        return None
    frame = pl.read_parquet(staging.path(relative))
    number = file_and_part(relative)[1]
    if number is not None:
        frame = frame.filter(pl.col(PART) == number).drop(PART)
    return dict(frame.schema), frame.rows()


def assert_alike(files: Sequence[bytes], declared: Contract) -> list[Any]:
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), files, declared)
        alone = bench.one_by_one()
        assert bench.together() == alone
        return alone


@pytest.mark.parametrize("kind", KINDS)
def test_files_of_all_sorts_end_as_each_would_by_itself(kind: str) -> None:
    alone = assert_alike(FILES, KINDS[kind])
    states = {one[0]["state"] for one in alone if not isinstance(one, str)}
    assert states >= {VerdictState.PASSED, VerdictState.HELD}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(sorted(KINDS)),
    st.lists(
        st.one_of(
            st.lists(st.sampled_from(LINES), max_size=8).map(lambda lines: HEADER + b"".join(lines)),
            st.lists(st.sampled_from([HEADER, *LINES, SWAPPED]), max_size=4).map(b"".join),
            st.sampled_from(FILES),
            st.binary(max_size=40).map(lambda noise: HEADER + LINES[0] * 3 + noise),
        ),
        min_size=1,
        max_size=7,
    ),
)
@pytest.mark.slow
def test_any_files_end_as_each_would_by_itself(kind: str, files: list[bytes]) -> None:
    assert_alike(files, KINDS[kind])


def test_what_the_store_refuses_is_told_of_that_object_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path, [FILES[2], FILES[2], FILES[2]], contract())
    fetch = bench.store.fetch

    def troubled(obj: ObjectVersion, target: Any) -> str:
        if obj.key == "sales/1.csv":
            raise StoreUnavailableError("Not now.")
        return fetch(obj, target)

    monkeypatch.setattr(bench.store, "fetch", troubled)
    bench.store.put_bytes("sales/2.csv", b"another")
    found = validate_together(bench.claimed, bench.contract, bench.store, Staging(tmp_path / "staging"))
    results = [found[one.object.object_id] for one in bench.claimed]
    assert [getattr(one, "state", str(one)) for one in results] == ["passed", "Not now.", "overwritten"]


def test_a_group_is_bounded_and_holds_small_objects_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidegate.stages.together._GROUP_BYTES", 100)
    monkeypatch.setattr("tidegate.stages.together._SMALL_BYTES", 60)
    store = MemoryStore("landing")
    sizes = (50, 40, 61, 20, 60, 0)
    objects = [claimed(store.put_bytes(f"sales/{n}.csv", b"x" * size)) for n, size in enumerate(sizes)]
    assert [[one.object.size for one in group] for group in groups_of(objects)] == [[50, 40], [20, 60, 0]]


def test_packed_objects_are_judged_in_groups_of_bounded_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidegate.stages.together._MOST_TEXT", 600)
    texts = [HEADER + LINES[0] * lines for lines in (10, 10, 100, 1, 2)]
    bench = Bench(tmp_path, [gzip.compress(text) for text in texts], contract())
    found = validate_together(bench.claimed, bench.contract, bench.store, Staging(tmp_path / "staging"))
    verdicts = [found[one.object.object_id] for one in bench.claimed]
    assert [isinstance(one, Verdict) and one.rows_read for one in verdicts] == [10, 10, 100, 1, 2]
    files = [file_and_part(str(one.rows))[0] for one in verdicts if isinstance(one, Verdict)]
    assert [len([*same]) for _, same in groupby(files)] == [2, 1, 2]
    assert bench.together() == bench.one_by_one()
