"""What a contract says of the rows of one file: no ledger, no warehouse, nothing written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from tidegate.errors import ObjectRejectedError
from tidegate.reading import open_reading
from tidegate.stages.check import check
from tidegate.stages.parse import BROKEN, parse
from tidegate.stages.schema import file_columns

if TYPE_CHECKING:
    from pathlib import Path

    from tidegate.contracts import Contract


@dataclass(frozen=True)
class Judged:
    """One file under one contract."""

    #: records in the file
    read: int
    #: columns of `BROKEN`: one row a rule that a record broke
    rejections: pl.DataFrame
    #: rule and sentence for which the file would be held as a whole; empty when it would not
    rule: str = ""
    reason: str = ""

    @property
    def rejected(self) -> int:
        """Records that are refused; all of them when the file is held."""
        return self.read if self.rule else self.rejections["record"].n_unique()

    @property
    def accepted(self) -> int:
        return self.read - self.rejected


def judge(path: Path, contract: Contract) -> Judged:
    """Read the whole file and judge every record by the contract, its budget included."""
    columns = file_columns(contract)
    nothing = pl.DataFrame(schema=dict.fromkeys(BROKEN, pl.String)).cast({"record": pl.Int64})
    read, rejections = 0, nothing
    try:
        reading = open_reading(path, columns=list(columns), dialect=contract.dialect, policy=contract.columns)
        blocks = list(reading.blocks())
        read = sum(block.records for block in blocks)
        if blocks:
            damaged = pl.concat([block.damaged.select(BROKEN) for block in blocks])
            parsed = parse(pl.concat([block.rows for block in blocks]), columns, contract)
            rejections = pl.concat([damaged, parsed.unread, check(parsed, contract)])
    except ObjectRejectedError as error:
        return Judged(read, rejections, error.rule, str(error))
    refused = rejections["record"].n_unique()
    if contract.budget.exceeded_by(refused, read):
        return Judged(read, rejections, "budget", f"{refused} of {read} rows are refused.")
    return Judged(read, rejections)
