from datetime import date
from pathlib import Path

from examples.extract_nycflights import EXTRACT_FOLDER, LAST_DAY_OF_EXTRACT, extract

BROKEN_ON_PURPOSE = {"flights-2013-01-08-wrong-header.csv", "flights-2013-01-09-bad-rows.csv"}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.csv")}


def test_the_extract_is_what_the_script_writes(tmp_path: Path) -> None:
    extract(tmp_path, last=LAST_DAY_OF_EXTRACT)
    kept = {
        key: text for key, text in contents(EXTRACT_FOLDER).items() if Path(key).name not in BROKEN_ON_PURPOSE
    }
    assert contents(tmp_path) == kept


def test_the_whole_year_keeps_every_line(tmp_path: Path) -> None:
    written = extract(tmp_path)
    flights = [path for path in written if path.parent.name == "flights"]
    lines = sum(path.read_bytes().count(b"\n") - 1 for path in flights)
    assert (len(flights), lines) == (365, 336_776)


def test_the_bad_rows_are_the_six_in_the_readme(tmp_path: Path) -> None:
    day = date(2013, 1, 9)
    extract(tmp_path, first=day, last=day)
    real = contents(tmp_path)["flights/flights-2013-01-09.csv"].splitlines()
    kept = contents(EXTRACT_FOLDER)["flights/flights-2013-01-09-bad-rows.csv"].splitlines()
    changed = [
        number for number, pair in enumerate(zip(real, kept, strict=True), start=1) if pair[0] != pair[1]
    ]
    assert changed == [57, 123, 288, 411, 560, 700]


def test_only_the_header_of_the_broken_file_is_wrong(tmp_path: Path) -> None:
    day = date(2013, 1, 8)
    extract(tmp_path, first=day, last=day)
    real = contents(tmp_path)["flights/flights-2013-01-08.csv"].splitlines()
    kept = contents(EXTRACT_FOLDER)["flights/flights-2013-01-08-wrong-header.csv"].splitlines()
    assert kept[0] == real[0].replace(b",dep_time", b",departure_time").replace(b"carrier", b"airline")
    assert kept[1:] == real[1:100]
