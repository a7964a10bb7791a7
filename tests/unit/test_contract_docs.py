"""The worked example in the document on contracts gives what the document says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import pandera.polars as pa
import polars as pl

from tidegate.contracts import Contract
from tidegate.contracts.columns import Parse
from tidegate.stages.check import check
from tidegate.stages.model import RECORD
from tidegate.stages.parse import check_rules, parse
from tidegate.stages.schema import file_columns

DOCUMENT = Path(__file__).parents[2] / "docs" / "contracts.md"


def test_the_example_of_values_and_checks_gives_its_sentences() -> None:
    section = DOCUMENT.read_text().split("\n### Checks\n")[1].split("\n## ")[0]
    code, file, sentences = re.findall(r"^```\w+\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {"Annotated": Annotated, "Contract": Contract, "Parse": Parse, "pa": pa, "pl": pl}
    exec(compile(code, str(DOCUMENT), "exec", dont_inherit=True), names)
    contract: Contract = names["orders"]
    header, *records = [line.split(";") for line in file.splitlines()]
    text = pl.DataFrame(records, schema=header, orient="row").with_row_index(RECORD, offset=1)
    columns = file_columns(contract)
    check_rules(contract, columns)
    parsed = parse(text, columns, contract)
    broken = pl.concat([parsed.unread, check(parsed, contract)]).sort("record", maintain_order=True)
    assert broken["message"].to_list() == sentences.splitlines()
    assert parsed.rows.height - broken["record"].n_unique() == 1
