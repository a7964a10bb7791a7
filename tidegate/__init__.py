"""Tidegate: from a file in a bucket to rows in a warehouse, exactly once."""

__version__ = "0.1.0"
