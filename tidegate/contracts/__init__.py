"""Data contracts: what suppliers and Tidegate agree on for one dataset.

This is all that a module in ``data_contracts/`` imports from Tidegate.
"""

from tidegate.contracts.columns import Columns, Parse
from tidegate.contracts.dialect import DETECT, Dialect
from tidegate.contracts.model import Contract, Step
from tidegate.contracts.policies import (
    Append,
    Budget,
    ControlTotals,
    LoadPolicy,
    Lookup,
    Merge,
    Replace,
)

__all__ = [
    "DETECT",
    "Append",
    "Budget",
    "Columns",
    "Contract",
    "ControlTotals",
    "Dialect",
    "LoadPolicy",
    "Lookup",
    "Merge",
    "Parse",
    "Replace",
    "Step",
]
