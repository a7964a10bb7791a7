"""Files of several blocks: read where they lie, judged by several threads, told of on the way."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import TYPE_CHECKING, Any

import pandera.polars as pa
import polars as pl
import pytest

from tidegate.contracts import Contract, Lookup
from tidegate.errors import ContractError
from tidegate.ledger import ClaimedObject
from tidegate.objects.folder import FolderStore
from tidegate.reading import LineKind
from tidegate.reading.reader import BLOCK_BYTES
from tidegate.stages import file_check
from tidegate.stages.enrich import enrich
from tidegate.stages.file_check import check_file
from tidegate.stages.model import VerdictState
from tidegate.stages.normalize import normalize
from tidegate.stages.references import References
from tidegate.stages.staging import Staging
from tidegate.stages.validate import validate

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tidegate.objects import ObjectVersion

ROWS = 250_000


class Call(pa.DataFrameModel):
    call_id: int = pa.Field(ge=1)
    made_on: pl.Date
    place: str
    remark: str = pa.Field(nullable=True)


def longer(rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows.with_columns(number=pl.int_range(pl.len()), year=pl.col("made_on").dt.year())


def contract(**changes: Any) -> Contract:
    values: dict[str, Any] = {
        "name": "calls",
        "version": "1.0.0",
        "owner": "o",
        "description": "d",
        "keys": ["calls/*.csv"],
        "schema": Call,
        "normalize": [longer],
        "enrich": [Lookup(dataset="places", on={"place": "code"}, take={"city": "city"})],
    }
    return Contract(**{**values, **changes})


def line(number: int) -> str:
    """Every thousandth row breaks a rule, others are quoted, one line is damaged."""
    if number == 70_001:
        return f'{number},2024-01-02,p1,"half\n'
    day = "2024-13-01" if number % 1000 == 0 else "2024-01-02"
    remark = '"one, and ""two"""' if number % 7 == 0 else f'"{"far, " * 9}"' if number % 3 else ""
    return f"{number},{day},p{number % 5},{remark}\n"


@pytest.fixture(scope="module")
def content() -> bytes:
    text = "call_id,made_on,place,remark\n" + "".join(map(line, range(1, ROWS + 1)))
    assert len(text) > 1.5 * BLOCK_BYTES
    return text.encode()


@pytest.fixture
def store(tmp_path: Path, content: bytes) -> FolderStore:
    folder = tmp_path / "landing"
    (folder / "calls").mkdir(parents=True)
    (folder / "calls" / "may.csv").write_bytes(content)
    return FolderStore(folder)


@pytest.fixture
def staging(tmp_path: Path) -> Staging:
    return Staging(tmp_path / "staging")


def claimed(obj: ObjectVersion) -> ClaimedObject:
    return ClaimedObject(
        object=obj, dataset="calls", attempt=1, crashes=0, correlation_id="c", traceparent=None
    )


@pytest.mark.parametrize("threads", [1, 4])
def test_blocks_are_judged_as_by_one_who_reads_in_turn(
    content: bytes, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    monkeypatch.setattr(file_check, "_workers", lambda _: threads)
    checked = check_file(content, contract())
    parts = list(checked.parts())
    assert len(parts) > 1
    valid = pl.concat([part.valid for part in parts])
    refused = pl.concat([part.rejections for part in parts])
    wrong = [*range(1000, ROWS + 1, 1000), 70_001]
    assert refused["record"].to_list() == sorted(wrong)
    assert refused["line"].to_list() == [number + 1 for number in sorted(wrong)]
    lines = content.split(b"\n")
    assert refused["raw"].to_list() == [lines[number].decode() for number in sorted(wrong)]
    for number, offset in refused.select("record", "offset").iter_rows():
        assert content.startswith(lines[number], offset)
    assert valid["call_id"].to_list() == sorted({*range(1, ROWS + 1)} - {*wrong})
    assert valid["_record"].equals(valid["call_id"])
    assert (checked.records, checked.rejected) == (ROWS, len(wrong))
    assert checked.lines == Counter(
        {LineKind.HEADER: 1, LineKind.ACCEPTED: ROWS - len(wrong), LineKind.REJECTED: len(wrong)}
    )


def test_a_large_file_of_a_folder_is_not_copied(
    store: FolderStore, staging: Staging, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(FolderStore, "fetch")
    told: list[int] = []
    verdict = validate(claimed(store.stat("calls/may.csv")), contract(), store, staging, progress=told.append)
    assert verdict.state is VerdictState.PASSED
    assert verdict.content_sha256 == hashlib.sha256(content).hexdigest()
    assert told == sorted(told)
    assert told[0] < told[-1] == len(content)


def _truncate(file: Path) -> None:
    file.write_bytes(b"call_id,made_on,place,remark\n")


def _change_a_letter(file: Path) -> None:
    with file.open("r+b") as stream:
        stream.seek(-3, 2)
        stream.write(b"X")


def _damage(file: Path) -> None:
    file.write_bytes(b"\0" * file.stat().st_size)


@pytest.mark.parametrize("change", [_truncate, _change_a_letter, _damage])
def test_a_file_changed_while_it_is_checked_is_overwritten(
    store: FolderStore, staging: Staging, change: Callable[[Path], None]
) -> None:
    file = store.root / "calls" / "may.csv"
    changes = iter([change])

    def meddle(_: int) -> None:
        for one in changes:
            one(file)

    obj = store.stat("calls/may.csv")
    verdict = validate(claimed(obj), contract(), store, staging, progress=meddle)
    assert verdict.state is VerdictState.OVERWRITTEN
    assert "no longer the version" in verdict.reason


@pytest.mark.parametrize("replace", [True, False], ids=["replaced", "deleted"])
def test_a_file_that_goes_away_while_it_is_checked_is_read_to_its_end(
    store: FolderStore, staging: Staging, content: bytes, replace: bool
) -> None:
    file = store.root / "calls" / "may.csv"
    other = store.root / "other.csv"
    other.write_bytes(b"other")
    files = iter([file])

    def meddle(_: int) -> None:
        for one in files:
            if replace:
                other.replace(one)
            else:
                one.unlink()

    verdict = validate(claimed(store.stat("calls/may.csv")), contract(), store, staging, progress=meddle)
    assert (verdict.state, verdict.rows_read) == (VerdictState.PASSED, ROWS)
    assert verdict.content_sha256 == hashlib.sha256(content).hexdigest()


def _with_places(tmp_path: Path) -> tuple[References, dict[str, str]]:
    (tmp_path / "references" / "places").mkdir(parents=True)
    rows = pl.DataFrame({"code": ["p0", "p1", "p2", "p1"], "city": ["Bern", "Rome", "Oslo", "older"]})
    rows.write_parquet(tmp_path / "references" / "places" / "1.parquet")
    return References(tmp_path / "references"), {"places": "places/1.parquet"}


def test_steps_see_all_rows_of_a_file_and_lookups_keep_their_order(
    store: FolderStore, staging: Staging, tmp_path: Path
) -> None:
    validated = validate(claimed(store.stat("calls/may.csv")), contract(), store, staging)
    normalized = normalize(validated, contract(), staging)
    references, pinned = _with_places(tmp_path)
    enriched = enrich(normalized, contract(), pinned, references, staging)
    rows = staging.rows(str(enriched.rows)).collect()
    records = pl.read_parquet(staging.path(str(validated.rows)))["_record"]
    assert rows["_record"].equals(records)
    assert rows["number"].to_list() == list(range(len(records)))
    cities = {0: "Bern", 1: "Rome", 2: "Oslo"}
    assert rows["city"].to_list() == [cities.get(number % 5) for number in records.to_list()]
    assert enriched.unmatched == {"places": sum(number % 5 > 2 for number in records.to_list())}


@pytest.mark.parametrize(
    ("step", "after"),
    [
        (lambda rows: rows.head(10), 10),
        (lambda rows: rows.reverse(), ROWS - ROWS // 1000 - 1),
        (lambda rows: rows.filter(pl.col("call_id") > 1), ROWS - ROWS // 1000 - 2),
    ],
    ids=["fewer", "other order", "one less"],
)
def test_a_step_that_changes_which_rows_there_are_is_refused(
    store: FolderStore, staging: Staging, step: Callable[[pl.LazyFrame], pl.LazyFrame], after: int
) -> None:
    validated = validate(claimed(store.stat("calls/may.csv")), contract(), store, staging)
    with pytest.raises(ContractError, match=rf"before, {after} after\)\. Steps may only change columns"):
        normalize(validated, contract(normalize=[step]), staging)
