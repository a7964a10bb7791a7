"""What is particular to a DuckDB file: its errors, its lock within a process, its layout, its queries."""

import errno
import os
import pickle
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import duckdb
import polars as pl
import pytest

from tests.conformance.warehouse_kit import Stage, version
from tidegate.contracts import Append, Merge
from tidegate.errors import (
    AccountingError,
    FatalError,
    RetryableError,
    TidegateError,
    UsageError,
    WarehouseLockedError,
    WarehouseUnavailableError,
)
from tidegate.warehouse import HeldSelection, layout, records, statements
from tidegate.warehouse.connection import ample_memory, commit, opened
from tidegate.warehouse.duckdb import DuckDBWarehouse
from tidegate.warehouse.failures import MEANING, meaning, translated

CLASSES = [
    thing for thing in vars(duckdb).values() if isinstance(thing, type) and issubclass(thing, duckdb.Error)
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "tidegate.duckdb"


@pytest.fixture
def stage(path: Path, tmp_path: Path) -> Stage:
    return Stage(tmp_path / "staging", DuckDBWarehouse(path, lock_timeout=5.0), Append())


@pytest.fixture
def loaded(stage: Stage) -> Stage:
    stage.drop("a.csv", 1, [(1, "a", 0)])
    return stage


# Errors


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_exception_of_duckdb_has_a_meaning(kind: type[duckdb.Error]) -> None:
    assert kind.__name__ in MEANING
    with (
        pytest.raises(TidegateError, match=r"w\.duckdb: it broke\. \w+") as caught,
        translated(Path("w.duckdb")),
    ):
        raise kind("it broke.")
    assert isinstance(caught.value, RetryableError | FatalError)
    assert caught.value.__cause__ is not None


def test_a_class_that_duckdb_adds_means_what_its_base_means() -> None:
    class NewError(duckdb.OperationalError):
        pass

    assert isinstance(meaning(NewError("it broke"), Path("w")), WarehouseUnavailableError)


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (
            duckdb.IOException("Could not write file: No space left on device"),
            WarehouseUnavailableError,
            "Make room",
        ),
        (OSError(errno.ENOSPC, "No space left on device"), WarehouseUnavailableError, "Make room"),
        (OSError(errno.EIO, "Input/output error"), WarehouseUnavailableError, "Try again"),
        (duckdb.IOException('Cannot open "x": Permission denied'), FatalError, "write the file"),
        (PermissionError(errno.EACCES, "Permission denied"), FatalError, "write the file"),
        (duckdb.IOException("checksum 1 does not match stored checksum 2"), FatalError, "damaged"),
        (duckdb.FatalException("checksum 1 does not match"), FatalError, "damaged"),
        (duckdb.IOException("with version number 99, but we can only read 64"), FatalError, "newer DuckDB"),
        (
            duckdb.IOException('No files found that match the pattern "x"'),
            FatalError,
            "process the objects again",
        ),
        (
            duckdb.OutOfMemoryException("could not allocate block"),
            WarehouseUnavailableError,
            "Try again",
        ),
    ],
)
def test_errors_of_one_class_are_told_apart_by_their_text(
    error: duckdb.Error | OSError, kind: type[TidegateError], says: str
) -> None:
    found = meaning(error, Path("w.duckdb"))
    assert type(found) is kind
    assert says in str(found)


def test_errors_travel_between_processes() -> None:
    locked = pickle.loads(pickle.dumps(WarehouseLockedError("held", holder_pid=7)))
    unaccounted = pickle.loads(pickle.dumps(AccountingError("missing", object_ids=("x",))))
    assert (str(locked), locked.holder_pid) == ("held", 7)
    assert (str(unaccounted), unaccounted.object_ids) == ("missing", ("x",))


@pytest.mark.parametrize("content", [b"", b"x" * 5000], ids=["empty", "garbage"])
def test_a_file_that_is_no_database_is_not_touched(path: Path, stage: Stage, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    for call in (
        lambda: stage.drop("a.csv", 1),
        lambda: stage.warehouse.commits(["x"]),
        lambda: stage.ask("SELECT 1"),
    ):
        with pytest.raises(FatalError, match=r"tidegate\.duckdb.*damaged"):
            call()
    assert path.read_bytes() == content


def test_a_database_cut_short_is_said_to_be_damaged(path: Path, loaded: Stage) -> None:
    os.truncate(path, 20_000)
    with pytest.raises(FatalError, match="damaged"):
        loaded.table()


def test_staged_rows_that_are_gone_are_said_to_be_gone(stage: Stage) -> None:
    request = stage.request(version("a.csv", 1), [(1, "a", 0)])
    assert request.rows is not None
    request.rows.unlink()
    with pytest.raises(FatalError, match="process the objects again"):
        stage.load(request)


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is denied to root")
def test_a_folder_that_may_not_be_written_is_named(path: Path, stage: Stage) -> None:
    path.parent.mkdir(mode=0o555)
    with pytest.raises(FatalError, match="Let this user write"):
        stage.drop("a.csv", 1)


def test_a_folder_in_place_of_the_file_is_an_error(path: Path, stage: Stage) -> None:
    path.mkdir(parents=True)
    with pytest.raises(FatalError):
        stage.drop("a.csv", 1)


# The file


def test_the_first_load_makes_the_file_and_nothing_beside_it(path: Path, loaded: Stage) -> None:
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    assert loaded.table() == [(1, "a")]


def test_reading_makes_no_file(path: Path, stage: Stage) -> None:
    assert stage.warehouse.commits(["x"]) == {}
    assert not path.parent.exists()


def test_a_file_without_layout_is_an_empty_warehouse(path: Path, stage: Stage) -> None:
    """As a kill between the making of the file and the first commit leaves it."""
    path.parent.mkdir()
    with opened(path, read_only=False, lock_timeout=1.0):
        pass
    assert stage.warehouse.commits(["x"]) == {}
    assert stage.warehouse.latest_snapshot("orders") is None
    with pytest.raises(UsageError, match="Nothing was loaded yet"):
        stage.ask("SELECT 1")
    stage.drop("a.csv", 1, [(1, "a", 0)])
    assert stage.table() == [(1, "a")]


def test_a_newer_layout_is_refused(path: Path, loaded: Stage) -> None:
    with opened(path, read_only=False, lock_timeout=1.0) as con:
        con.execute("UPDATE warehouse.tidegate.meta SET value = 99")
    for call in (lambda: loaded.drop("b.csv", 2), lambda: loaded.warehouse.commits(["x"]), loaded.table):
        with pytest.raises(FatalError, match=r"layout 99; this Tidegate knows up to 2\..*update"):
            call()


def test_an_older_layout_is_brought_up_to_date_with_its_rows(path: Path, stage: Stage) -> None:
    one = version("a.csv", 1)
    with opened(path, read_only=False, lock_timeout=1.0) as con:
        con.execute("BEGIN")
        con.execute(statements.text("0001_layout"))
        con.execute(statements.statement("records", "note_layout", version=1))
        con.execute(
            "INSERT INTO tidegate.commits BY NAME SELECT ? AS object_id, 'orders' AS dataset, 's3' AS store, "
            "'landing' AS bucket, 'a.csv' AS key, ? AS version, 's3://landing/a.csv' AS url, 1 AS size, "
            "? AS uploaded_at, 'c' AS content_sha256, 'loaded' AS outcome, '' AS reason, 2 AS rows_read, "
            "1 AS rows_loaded, 1 AS rows_rejected, 0 AS rows_duplicate, '1.0.0' AS contract_version, "
            "1 AS attempt, 'b' AS batch_id, 'f' AS flow_run_id, [] AS others, now() AS committed_at, "
            "true AS active, ? AS order_at",
            [one.object_id, one.version, one.uploaded_at, one.uploaded_at],
        )
        con.execute(
            "INSERT INTO tidegate.rejected_rows BY NAME SELECT ? AS object_id, 'orders' AS dataset, "
            "2 AS record, 3 AS line, 'type' AS rule, '1.0.0' AS contract_version, 1 AS attempt, "
            "now() AS rejected_at",
            [one.object_id],
        )
        con.execute("COMMIT")
    # Reading alone brings it up to date, too.
    before = stage.warehouse.commits([one.object_id])[one.object_id]
    assert (before.rows_read, before.rows_rejected, before.dialect) == (2, 1, "")
    assert stage.ask("SELECT value FROM tidegate.meta") == [(layout.newest(),)]
    (line,) = stage.warehouse.held(HeldSelection())
    assert (line.rows, line.rule, line.standing) == (1, "type", True)
    # How it was read then is not known, so a redrive loads it anew as a whole.
    (again,) = stage.load(
        stage.request(one, [(1, "a", 0), (2, "b", 0)], attempt=2, redrive=True, dialect="{}")
    )
    assert (again.rows_loaded, again.rows_rejected, again.dialect) == (2, 0, "{}")
    closed = 'SELECT record, "offset", closed_reason, closed_contract_version FROM tidegate.rejected_rows'
    assert stage.ask(closed) == [(2, None, "tried_again", "1.0.0")]


def test_every_script_has_a_number_of_its_own() -> None:
    assert list(layout.scripts()) == list(range(1, len(layout.scripts()) + 1))


def test_the_file_is_let_go_of_when_a_call_fails(stage: Stage) -> None:
    with pytest.raises(AccountingError):
        stage.drop("a.csv", 1, [(1, "a", 0)], rows_read=2)
    assert stage.drop("a.csv", 1, [(1, "a", 0)]).rows_loaded == 1


# Threads of one process


def test_threads_take_turns(path: Path, loaded: Stage, tmp_path: Path) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        stage = Stage(tmp_path / f"staging-{number}", DuckDBWarehouse(path, lock_timeout=30.0), Append())
        try:
            for turn in range(3):
                stage.drop(f"{number}-{turn}.csv", turn, [(number, str(turn), 0)])
                stage.warehouse.commits(["x"])
                stage.table()
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(loaded.table()) == 13


@pytest.fixture
def held(loaded: Stage, path: Path) -> Iterator[None]:
    assert loaded.table()
    inside, done = threading.Event(), threading.Event()

    def hold() -> None:
        with opened(path, read_only=True, lock_timeout=1.0):
            inside.set()
            done.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    assert inside.wait(10)
    yield
    done.set()
    thread.join()


@pytest.mark.usefixtures("held")
def test_another_thread_is_waited_for_and_named(path: Path, tmp_path: Path) -> None:
    impatient = Stage(tmp_path / "staging", DuckDBWarehouse(path, lock_timeout=0.05), Append())
    with pytest.raises(WarehouseLockedError, match=r"held in this process for the 0\.05 s") as caught:
        impatient.table()
    assert caught.value.holder_pid == os.getpid()


def test_a_connection_that_is_not_ours_is_waited_for(path: Path, loaded: Stage, tmp_path: Path) -> None:
    impatient = Stage(tmp_path / "staging", DuckDBWarehouse(path, lock_timeout=0.05), Append())
    with duckdb.connect(str(path)), pytest.raises(WarehouseLockedError):
        impatient.drop("b.csv", 2)
    assert loaded.table() == [(1, "a")]


@pytest.mark.usefixtures("held")
@pytest.mark.skipif(sys.version_info >= (3, 12), reason="forking with threads warns there")
def test_a_forked_child_does_not_wait_for_threads_it_does_not_have(path: Path) -> None:
    child = os.fork()
    if child == 0:
        try:
            with opened(path, read_only=True, lock_timeout=1.0):
                os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


# Queries


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_csv('{secret}')",
        "SELECT * FROM '{secret}'",
        "SELECT * FROM read_text('{secret}')",
        "SELECT * FROM glob('{folder}/*')",
        "SELECT * FROM duckdb_secrets()",
        "SELECT * FROM sniff_csv('{secret}')",
    ],
)
def test_a_query_reaches_no_other_file(loaded: Stage, tmp_path: Path, sql: str) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("a,b\n1,2\n")
    with pytest.raises(UsageError, match="disabled by configuration"):
        loaded.ask(sql.format(secret=secret, folder=tmp_path))


@pytest.mark.parametrize(
    "sql",
    [
        "COPY orders TO '{folder}/out.csv'",
        "EXPORT DATABASE '{folder}/out'",
        "ATTACH '{folder}/out.duckdb'",
        "INSTALL httpfs",
        "SET enable_external_access = true",
        "EXPLAIN ANALYZE COPY orders TO '{folder}/out.csv'",
        "EXPLAIN ANALYZE DELETE FROM orders",
        "CHECKPOINT",
        "UPDATE orders SET id = 2",
    ],
)
def test_a_query_changes_nothing(loaded: Stage, tmp_path: Path, sql: str) -> None:
    with pytest.raises(UsageError):
        loaded.ask(sql.format(folder=tmp_path))
    assert list(tmp_path.glob("out*")) == []
    assert loaded.table() == [(1, "a")]


@pytest.mark.parametrize(
    "sql",
    [
        "FROM orders",
        "WITH x AS (SELECT 1) SELECT * FROM x;",
        "DESCRIBE orders",
        "SHOW TABLES",
        "SUMMARIZE orders",
        "EXPLAIN SELECT * FROM orders",
        "VALUES (1)",
        "SELECT count(*) FROM tidegate.commits -- at the end",
        "PIVOT orders ON value IN ('a') USING sum(id)",
    ],
)
def test_all_that_reads_can_be_asked(loaded: Stage, sql: str) -> None:
    columns, rows = loaded.warehouse.query(sql)
    assert columns
    assert rows


def test_times_are_in_utc(loaded: Stage) -> None:
    [(at,)] = loaded.ask("SELECT _loaded_at FROM orders")
    assert at.utcoffset().total_seconds() == 0
    assert loaded.ask("SELECT current_setting('TimeZone')") == [("UTC",)]


def test_a_query_that_needs_too_much_memory_is_not_called_wrong(
    loaded: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidegate.warehouse.connection.MEMORY_LIMIT", "30MB")
    with pytest.raises(WarehouseUnavailableError, match="memory"):
        loaded.ask("SELECT list(range) FROM range(20_000_000)")


def test_a_load_that_spilled_is_no_hindrance_to_the_next(path: Path, stage: Stage) -> None:
    stage.drop("a.csv", 1, [(1, "a", 0)])
    with opened(path, read_only=True, lock_timeout=1.0, memory="20MB") as con:
        con.execute("CREATE TEMP TABLE x AS SELECT range AS n, hash(range) AS h FROM range(3_000_000)")
        assert con.execute("SELECT count(*) FROM duckdb_temporary_files()").fetchone() != (0,)
    stage.drop("b.csv", 2, [(2, "b", 0)])
    assert stage.table() == [(1, "a"), (2, "b")]


def test_rows_that_need_more_memory_get_it(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(tmp_path / "staging", DuckDBWarehouse(path, lock_timeout=5.0), Append())
    stage.columns = {f"c{number}": pl.String() for number in range(40)}
    numbers = pl.Series(range(20_000)).cast(pl.String)
    rows = pl.DataFrame({name: name + numbers for name in stage.columns}).rows()
    given = []

    def asked() -> str:
        given.append(ample_memory())
        return given[-1]

    monkeypatch.setattr("tidegate.warehouse.duckdb.little_memory", lambda: "8MB")
    monkeypatch.setattr("tidegate.warehouse.duckdb.ample_memory", asked)
    assert stage.drop("a.csv", 1, rows).rows_loaded == len(rows)
    assert len(given) == 1
    assert stage.ask("SELECT count(DISTINCT c39) FROM orders") == [(len(rows),)]


# Statements


def test_a_merge_moves_only_the_rows_that_lose(path: Path, tmp_path: Path) -> None:
    stage = Stage(tmp_path / "staging", DuckDBWarehouse(path, lock_timeout=5.0), Merge(key=["id"]))
    stage.drop("a.csv", 1, [(n, "a", 0) for n in range(100)])
    assert stage.ask("SELECT count(*) FROM tidegate.beaten_orders") == [(0,)]
    stage.drop("b.csv", 2, [(n, "b", 0) for n in range(90, 110)])
    assert stage.ask("SELECT min(id), max(id), count(*) FROM tidegate.beaten_orders") == [(90, 99, 10)]


def test_a_moment_survives_the_way_through_sql(path: Path) -> None:
    one = version("a.csv", 0.000001).uploaded_at
    with opened(path, read_only=False, lock_timeout=1.0) as con:
        con.execute("BEGIN")
        sql = f"SELECT epoch_us(make_timestamptz({records.microseconds(one)}))"
        assert records.moment_of(con.execute(sql).fetchall()[0][0]) == one
        commit(con)
