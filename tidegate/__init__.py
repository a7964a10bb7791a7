"""Tidegate: from a file in a bucket to rows in a warehouse, exactly once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tidegate.operations.check import Verdict, check

__all__ = ["Verdict", "check"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # Only who checks files pays for what that imports.
    if name in __all__:
        from tidegate.operations import check as module

        return getattr(module, name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
