"""What refused rows cost: `benchmarks.refused_rows` in the usual size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import refused_rows
from benchmarks.results import Result

if TYPE_CHECKING:
    from benchmarks.session import Session


def run(session: Session) -> Result:
    """The validate stage over files with no, some and only refused rows."""
    rows, rounds = session.size(1_000_000, 100_000), session.size(5, 2)
    result = Result("refused_rows", session.quick, facts={"rows": rows})
    refused_rows.measure_all(result, rows, rounds)
    return result
