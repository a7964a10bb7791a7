"""csv-spectrum, the files that CSV readers are commonly tried on: tests/golden/csv-spectrum/README.md."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.reading_kit import check_books, contract_of, line_starts, read, rows_of

SPECTRUM = Path(__file__).parents[1] / "golden" / "csv-spectrum"

#: Files that are not written as RFC 4180 says.
DIALECTS: dict[str, dict[str, Any]] = {
    # Seconds of arc are marked by quotes in the middle of unquoted values.
    "location_coordinates": {"quote": False},
}


def expected(name: str) -> list[dict[str, str]]:
    rows = json.loads((SPECTRUM / "json" / f"{name}.json").read_text(encoding="utf-8"))
    if name == "location_coordinates":
        return [{**rows, "Contact Phone Number": "2095257564"}]
    return list(rows)


@pytest.mark.parametrize("patient", [False, True], ids=["fast", "patient"])
@pytest.mark.parametrize("name", sorted(path.stem for path in (SPECTRUM / "csvs").iterdir()))
def test_each_file_gives_the_rows_that_its_json_says(name: str, patient: bool) -> None:
    file = SPECTRUM / "csvs" / f"{name}.csv"
    rows = expected(name)
    schema = [{"name": column, "type": "str"} for column in rows[0]]
    contract = contract_of(
        {"schema": schema, "dialect": DIALECTS.get(name, {}), "contract": {"null_tokens": []}}
    )
    outcome = read(file, contract, patient=patient)
    check_books(outcome, line_starts(file.read_bytes()))
    assert outcome.rejected == []
    assert list(rows_of(outcome)) == [tuple(row.values()) for row in rows]
