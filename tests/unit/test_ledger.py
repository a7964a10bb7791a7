from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from tidegate import clock
from tidegate.errors import LedgerUnavailableError, LedgerVersionError, SettingsError
from tidegate.events import ObjectUploaded, Via
from tidegate.ledger import Ledger, Owner, Upload, open_ledger, queries
from tidegate.ledger.tables import PROJECTIONS, metadata
from tidegate.objects import ObjectVersion, is_newer
from tidegate.operations.liveness import this_host
from tidegate.operations.recover import release_stopped_claims
from tidegate.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

START = datetime(2026, 1, 1, tzinfo=UTC)
ME = Owner(host="here", pid=1, pid_started=0.0)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    (tmp_path / "tidegate.toml").write_text("")
    ledger = open_ledger(load_settings(tmp_path))
    yield ledger
    ledger.close()


def upload(key: str, version: int = 1, *, dataset: str | None = "flights", size: int = 10) -> Upload:
    return Upload(
        notice=ObjectUploaded(
            object=ObjectVersion(
                store="folder",
                bucket="/landing",
                key=key,
                version=f"{version}-{size}",
                size=size,
                uploaded_at=START + timedelta(seconds=version),
            ),
            via=Via.WATCH,
        ),
        dataset=dataset,
        problem="" if dataset else "No data contract matches the key.",
    )


def s3(
    key: str, etag: str, second: int, *, version: str | None = None, sequencer: str | None = None
) -> Upload:
    obj = ObjectVersion(
        store="s3",
        bucket="b",
        key=key,
        version=version or etag,
        etag=etag,
        size=1,
        uploaded_at=START + timedelta(seconds=second),
        sequencer=sequencer,
    )
    return Upload(notice=ObjectUploaded(object=obj, via=Via.SQS), dataset="flights")


def states(ledger: Ledger) -> dict[str, str]:
    return {entry.key: entry.state for entry in ledger.ask(queries.find)}


def claim(ledger: Ledger, run: str, *, objects: int = 1000, size: int = 10**9) -> list[str]:
    batch = ledger.claim("flights", run, ME, max_objects=objects, max_bytes=size)
    return [one.object.key for one in batch.objects]


def test_a_repeated_notice_changes_nothing(ledger: Ledger) -> None:
    first = ledger.record([upload("a"), upload("b"), upload("a")])
    again = ledger.record([upload("b"), upload("a")])
    assert (len(first.new), first.known) == (2, 1)
    assert (len(again.new), again.known) == (0, 2)
    assert ledger.last_seq() == 2


def test_an_upload_without_contract_is_final_and_says_why(ledger: Ledger) -> None:
    ledger.record([upload("x", dataset=None)])
    (entry,) = ledger.ask(queries.find)
    assert (entry.state, entry.reason) == ("unmatched", "No data contract matches the key.")
    assert claim(ledger, "run") == []


def test_objects_are_claimed_once_oldest_first_up_to_the_limits(ledger: Ledger) -> None:
    ledger.record([upload(key) for key in "abcde"])
    assert claim(ledger, "one", objects=2) == ["a", "b"]
    assert claim(ledger, "two", size=15) == ["c"]
    assert claim(ledger, "three") == ["d", "e"]
    assert claim(ledger, "four") == []


def test_an_object_over_the_byte_limit_is_claimed_alone(ledger: Ledger) -> None:
    ledger.record([upload("big", size=10**12), upload("small")])
    assert claim(ledger, "one", size=100) == ["big"]
    assert claim(ledger, "two", size=100) == ["small"]


def test_a_large_object_is_claimed_alone_and_waits_for_small_ones_but_not_for_long(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "now", lambda: START + timedelta(seconds=30))
    sizes = {"first": 10**8, "a": 10, "second": 10**9, "b": 10**7}
    ledger.record([upload(key, size=size) for key, size in sizes.items()])
    assert claim(ledger, "one") == ["a", "b"]
    ledger.record([upload("c")])
    monkeypatch.setattr(clock, "now", lambda: START + timedelta(seconds=90))
    assert [claim(ledger, run) for run in ("two", "three", "four")] == [["first"], ["second"], ["c"]]
    ledger.record([upload("third", size=10**8)])
    assert claim(ledger, "five") == ["third"]


def test_large_objects_uploaded_in_the_future_have_their_turn_and_small_ones_between(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def at(seconds: int, *uploads: Upload) -> None:
        monkeypatch.setattr(clock, "now", lambda: START + timedelta(seconds=seconds))
        ledger.record(uploads)

    large = [upload(f"large {n}", 10**9, size=10**8) for n in range(3)]
    at(0, large[0], upload("a"))
    assert claim(ledger, "one") == ["a"]
    at(60, upload("b"), large[1], large[2])
    assert [claim(ledger, run) for run in ("two", "three")] == [["large 0"], ["b"]]
    at(130, upload("c"))
    assert [claim(ledger, run) for run in ("four", "five", "six")] == [["large 1"], ["large 2"], ["c"]]


def test_small_objects_are_not_kept_back_by_large_ones_that_came_later(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "now", lambda: START)
    ledger.record([upload("a"), upload("large", size=10**8)])
    monkeypatch.setattr(clock, "now", lambda: START + timedelta(seconds=90))
    assert [claim(ledger, run) for run in ("one", "two")] == [["a"], ["large"]]


def test_a_retried_run_gets_its_own_unfinished_objects_and_nothing_else(ledger: Ledger) -> None:
    ledger.record([upload("a"), upload("b")])
    claim(ledger, "run")
    ledger.end_claim("run", "The warehouse was locked.")
    ledger.record([upload("c")])
    assert states(ledger) == {"a": "failed", "b": "failed", "c": "pending"}
    assert claim(ledger, "run") == ["a", "b"]


def test_a_dead_runs_objects_are_pending_again_and_blamed_in_ever_smaller_groups(ledger: Ledger) -> None:
    ledger.record([upload(f"k{n:02}") for n in range(30)])
    for run, expected in (("one", 30), ("two", 3), ("three", 3)):
        assert len(claim(ledger, run, objects=30)) == expected
        ledger.release(run, "It was killed.")
    # 24 have seen one crash and come first, ten at a time as a tenth of 100; those with two come alone.
    assert len(claim(ledger, "four", objects=1000)) == 24
    assert len(claim(ledger, "five", objects=1000)) == 1
    ledger.release("five", "It was killed.")
    assert sorted({entry.crashes for entry in ledger.ask(queries.find)}) == [1, 2, 3]


def test_objects_of_runs_that_a_stop_has_ended_wait_without_blame(ledger: Ledger) -> None:
    ledger.record([upload("a"), upload("b")])
    for key, owner in (("stopped", Owner(host=this_host(), pid=2**22 + 1, pid_started=0.0)), ("other", ME)):
        ledger.claim("flights", key, owner, max_objects=1, max_bytes=10)
    assert release_stopped_claims(ledger) == 1
    # Whether another machine's process lives is not for a stop here to say.
    assert {entry.key: (entry.state, entry.crashes) for entry in ledger.ask(queries.find)} == {
        "a": ("pending", 0),
        "b": ("running", 0),
    }
    batch = ledger.claim("flights", "next", ME, max_objects=10, max_bytes=10)
    # What the stopped run had committed without telling is looked for, blame or not.
    assert [(one.object.key, one.claimed_before) for one in batch.objects] == [("a", True)]
    ledger.record([upload("c")])
    batch = ledger.claim("flights", "another", ME, max_objects=10, max_bytes=10)
    assert [(one.object.key, one.claimed_before) for one in batch.objects] == [("c", False)]


def test_objects_on_which_a_run_died_are_not_kept_back_for_ever(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.record([upload("suspect")])
    claim(ledger, "one")
    ledger.release("one", "It was killed.")
    ledger.record([upload("new")])
    later = clock.now() + timedelta(minutes=2)
    monkeypatch.setattr("tidegate.ledger.claims.clock.now", lambda: later)
    assert claim(ledger, "two") == ["suspect"]


def test_a_run_that_ends_leaves_nothing_running(ledger: Ledger) -> None:
    ledger.record([upload("a")])
    claim(ledger, "run")
    ledger.end_claim("run")
    assert states(ledger) == {"a": "failed"}


def test_a_page_of_a_listing_made_before_a_newer_upload_is_no_newer_than_it(ledger: Ledger) -> None:
    ledger.record([s3("k", "NEW", 9, version="v2", sequencer="0B")])
    stale = s3("k", "OLD", 5, version="v1")
    ledger.record([replace(stale, notice=replace(stale.notice, via=Via.RECONCILE))])
    objects = {entry.version: entry.object for entry in ledger.ask(queries.find)}
    assert is_newer(objects["v2"], objects["v1"])


def test_content_that_came_back_within_a_second_is_found_in_the_listing(ledger: Ledger) -> None:
    for etag, after in (("A", 0.1), ("B", 0.5)):
        told = s3("k", etag, 1)
        exact = replace(told.notice.object, uploaded_at=START + timedelta(seconds=1 + after))
        ledger.record([replace(told, notice=replace(told.notice, object=exact))])
    listed = s3("k", "A", 1)
    listed = replace(listed, notice=replace(listed.notice, via=Via.RECONCILE))
    assert [len(ledger.record([listed]).new) for _ in range(2)] == [1, 0]


def test_a_claim_taken_back_has_no_heartbeat(ledger: Ledger) -> None:
    ledger.record([upload("a")])
    claim(ledger, "run")
    assert ledger.heartbeat("run")
    ledger.release("run", "silent")
    assert not ledger.heartbeat("run")


def test_content_that_comes_back_on_an_unversioned_bucket_is_a_new_object(ledger: Ledger) -> None:
    first = ledger.record([s3("k", "A", 1), s3("k", "B", 2), s3("k", "A", 3)])
    again = ledger.record([s3("k", "A", 3), s3("k", "B", 2), s3("k", "A", 1)])
    assert len(first.new) == 3
    assert len(again.new) == 0


def test_a_listing_without_version_ids_finds_what_an_event_recorded(ledger: Ledger) -> None:
    ledger.record([s3("k", "A", 1, version="v1", sequencer="0A")])
    assert ledger.unknown([s3("k", "A", 1)]) == []
    assert len(ledger.unknown([s3("k", "B", 2)])) == 1


def test_a_listed_object_is_newer_than_what_events_told_of_its_second(ledger: Ledger) -> None:
    told = s3("k", "A", 1)
    late = replace(told.notice.object, uploaded_at=START + timedelta(seconds=1.9), sequencer="00A1")
    ledger.record([replace(told, notice=replace(told.notice, object=late))])
    listed = s3("k", "B", 1)
    ledger.record([replace(listed, notice=replace(listed.notice, via=Via.RECONCILE))])
    old, new = (entry.object for entry in ledger.ask(queries.find))
    assert (old.version, new.version) == ("A", "B")
    assert is_newer(new, old)


def test_concurrent_writers_lose_nothing_and_double_nothing(ledger: Ledger) -> None:
    def work(number: int) -> int:
        return len(ledger.record([upload(f"k{(number + n) % 40}") for n in range(40)]).new)

    with ThreadPoolExecutor(8) as pool:
        new = sum(pool.map(work, range(16)))
    assert new == 40
    assert ledger.last_seq() == 40


def test_rebuild_gives_the_same_tables(ledger: Ledger) -> None:
    ledger.record([upload("a"), upload("b"), upload("x", dataset=None)])
    claim(ledger, "one", objects=1)
    ledger.release("one", "killed")
    claim(ledger, "two")
    ledger.end_claim("two", "locked")
    before = dump(ledger)
    assert ledger.rebuild() == ledger.last_seq()
    assert dump(ledger) == before


def test_dead_letters_keep_their_text(ledger: Ledger) -> None:
    ledger.dead_letter(text="{not json", origin="sqs://queue", error="Not JSON.")
    ledger.dead_letter(text="{not json", origin="sqs://queue", error="Not JSON.")
    (letter,) = ledger.ask(queries.dead_letters)
    assert letter.data == {"error": "Not JSON.", "text": "{not json", "cut": False}


def test_an_oversized_dead_letter_is_cut_and_says_so(ledger: Ledger) -> None:
    ledger.dead_letter(text="ü" * 100_000, origin="sqs://queue", error="Not JSON.")
    (letter,) = ledger.ask(queries.dead_letters)
    assert letter.data["cut"]
    assert len(letter.data["text"]) == 16_000


def test_migrations_make_the_tables_the_code_declares(ledger: Ledger) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with ledger.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_a_ledger_of_the_first_schema_is_brought_up_to_date_with_its_objects(tmp_path: Path) -> None:
    from alembic import command
    from alembic.config import Config

    from tidegate.ledger import migrations

    (tmp_path / "tidegate.toml").write_text("")
    (tmp_path / ".tidegate").mkdir()
    one = ObjectVersion(store="folder", bucket="/l", key="a", version="1-1", size=1, uploaded_at=START)
    object_id = one.object_id
    engine = sa.create_engine(f"sqlite:///{tmp_path}/.tidegate/ledger.db")
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.exec_driver_sql(
            "INSERT INTO objects (object_id, url, store, bucket, key, version, dataset, state, reason, via, "
            "correlation_id, attempt, crashes, pending_seq, uploaded_at, recorded_at, rows_rejected) VALUES "
            f"('{object_id}', 'file:///l/a', 'folder', '/l', 'a', '1-1', 'd', 'loaded', '', 'watch', 'c', "
            "1, 0, 1, "
            "'2026-01-01 00:00:00', '2026-01-01 00:00:00', 2)"
        )
    engine.dispose()
    ledger = open_ledger(load_settings(tmp_path))
    assert [(entry.key, entry.report) for entry in ledger.ask(queries.find)] == [("a", None)]
    assert [entry.key for entry in ledger.ask(queries.unreported)] == ["a"]
    ledger.reopen({object_id: "d"}, START, requested_by="me", states=("loaded",), redrive=True)
    batch = ledger.claim("d", "run", ME, max_objects=1, max_bytes=1)
    assert [one.redrive for one in batch.objects] == [True]
    ledger.close()


def test_a_log_without_stories_gets_them_and_is_counted(ledger: Ledger, tmp_path: Path) -> None:
    from alembic import command
    from alembic.config import Config

    from tidegate.ledger import migrations

    ledger.record([upload("a"), upload("b"), upload("x", dataset=None)])
    claim(ledger, "run", objects=1)
    ledger.dead_letter(text="{not json", origin="sqs://queue", error="Not JSON.")
    before, log = dump(ledger), ledger.events_after(0, 100)

    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "tidegate.toml").write_text("")
    (tmp_path / "old" / ".tidegate").mkdir()
    engine = sa.create_engine(f"sqlite:///{tmp_path}/old/.tidegate/ledger.db")
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0004")
        connection.exec_driver_sql(f"ATTACH '{tmp_path}/.tidegate/ledger.db' AS new")
        for table in ("events", "objects", "claims", "leases"):
            known = sa.inspect(connection).get_columns(table)
            names = ", ".join(f'"{column["name"]}"' for column in known)
            connection.exec_driver_sql(f"INSERT INTO {table} ({names}) SELECT {names} FROM new.{table}")
    engine.dispose()

    old = open_ledger(load_settings(tmp_path / "old"))
    assert dump(old) == before
    assert old.events_after(0, 100) == log
    old.dead_letter(text="{not json", origin="sqs://queue", error="Not JSON.")
    assert old.record([upload("a"), upload("b")]).new == ()
    assert old.last_seq() == log[-1][0]
    assert (old.rebuild(), dump(old)) == (len(log), before)
    old.close()


def test_only_the_try_that_a_redrive_asked_for_is_one(ledger: Ledger) -> None:
    ledger.record([upload("a")])
    (object_id,) = [entry.object_id for entry in ledger.ask(queries.find)]
    redrives = []
    for attempt, redrive in enumerate([False, True, False]):
        run = f"run {attempt}"
        batch = ledger.claim("flights", run, ME, max_objects=1, max_bytes=100)
        ledger.release(run, "It was killed.")
        again = ledger.claim("flights", f"{run} again", ME, max_objects=1, max_bytes=100)
        redrives.append([one.redrive for one in (*batch.objects, *again.objects)])
        ledger.end_claim(f"{run} again")
        asked = not redrive
        ledger.reopen({object_id: "flights"}, START, requested_by="me", states=("failed",), redrive=asked)
    assert redrives == [[False] * 2, [True] * 2, [False] * 2]


def test_head_is_the_newest_migration() -> None:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    from tidegate.ledger import migrations

    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    assert ScriptDirectory.from_config(config).get_current_head() == migrations.HEAD


def test_a_ledger_of_a_newer_tidegate_is_refused(ledger: Ledger, tmp_path: Path) -> None:
    with ledger.writing() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(LedgerVersionError, match="Install the newer Tidegate"):
        open_ledger(load_settings(tmp_path))


def test_a_ledger_that_stays_locked_is_a_passing_trouble(ledger: Ledger, tmp_path: Path) -> None:
    other = sa.create_engine(f"sqlite:///{tmp_path}/.tidegate/ledger.db", connect_args={"timeout": 0})
    with ledger.writing(), other.connect() as connection, pytest.raises(sa.exc.OperationalError):
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    other.dispose()
    quick = Ledger(other)
    with ledger.writing(), pytest.raises(LedgerUnavailableError), quick.writing() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    quick.close()


def test_only_sqlite_is_offered_until_another_is_real(tmp_path: Path) -> None:
    (tmp_path / "tidegate.toml").write_text('ledger = "postgresql://me:secret@host/db"')
    with pytest.raises(SettingsError, match="only sqlite") as caught:
        open_ledger(load_settings(tmp_path))
    assert "secret" not in str(caught.value)


def dump(ledger: Ledger) -> dict[str, list[tuple[object, ...]]]:
    with ledger.reading() as connection:
        return {
            table.name: sorted(tuple(row) for row in connection.execute(sa.select(table)))
            for table in PROJECTIONS
        }
