"""What a contract says of the rows of one file: no ledger, no warehouse, nothing written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidegate.operations.check import check

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl

    from tidegate.contracts import Contract


@dataclass(frozen=True)
class Judged:
    """One file under one contract."""

    #: records in the file
    read: int
    #: columns of `REJECTION_SCHEMA`: one row a rule that a record broke
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
    """Check the whole file by the contract, its budget included."""
    verdict = check(path, contract)
    report = verdict.report
    return Judged(report["rows_read"], verdict.rejected, report["rule"] or "", report["reason"] or "")
