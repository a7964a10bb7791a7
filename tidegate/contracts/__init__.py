"""Data contracts: what suppliers and Tidegate agree on for one dataset.

This is all that a module in ``data_contracts/`` imports from Tidegate.
"""

from tidegate.contracts.model import (
    Append,
    Budget,
    Contract,
    Dialect,
    LoadPolicy,
    Lookup,
    Merge,
    Replace,
    Step,
)

__all__ = [
    "Append",
    "Budget",
    "Contract",
    "Dialect",
    "LoadPolicy",
    "Lookup",
    "Merge",
    "Replace",
    "Step",
]
