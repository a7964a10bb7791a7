"""Sources: what tells Tidegate of uploads while it runs."""

from tidegate.sources.model import DeadLetter, Record, Source
from tidegate.sources.opening import open_sources

__all__ = ["DeadLetter", "Record", "Source", "open_sources"]
