"""What the status of a file says of it as an object."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def version_text(status: os.stat_result) -> str:
    """The version of a file: when its content was changed, and its size."""
    size = status.st_size if stat.S_ISREG(status.st_mode) else 0
    return f"{status.st_mtime_ns}-{size}"


def moment(nanoseconds: int) -> datetime:
    """Nanoseconds since 1970 as a time; the nearest there is for those beyond the calendar."""
    try:
        return _EPOCH + timedelta(microseconds=nanoseconds // 1000)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC) if nanoseconds > 0 else datetime.min.replace(tzinfo=UTC)
