"""Verdicts as the JSON that tasks hand on and Prefect keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tidegate.stages import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable


def as_json(verdicts: Iterable[Verdict]) -> list[dict[str, Any]]:
    return [verdict.model_dump(mode="json") for verdict in verdicts]


def verdicts_of(documents: Iterable[dict[str, Any]]) -> list[Verdict]:
    return [Verdict.model_validate(document) for document in documents]
