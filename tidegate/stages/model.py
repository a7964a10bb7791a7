"""What a stage says of one object."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict

from tidegate.errors import writable
from tidegate.reading.model import RECORD, REJECTION_SCHEMA

__all__ = ["RECORD", "REJECTION_SCHEMA", "Rejection", "Verdict", "VerdictState"]


class VerdictState(StrEnum):
    """How an object left a stage."""

    #: on to the next stage
    PASSED = "passed"
    #: the object as a whole is held; its rejected rows, if any, are still committed
    HELD = "held"
    #: its store has a newer version in its place, so there is nothing to read
    OVERWRITTEN = "overwritten"


class Verdict(BaseModel):
    """Where one object stands after a stage. Paths are relative to the batch's staging folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    object_id: str
    attempt: int
    state: VerdictState
    #: short name of the broken rule when held
    rule: str = ""
    #: a sentence for people when held or overwritten
    reason: Annotated[str, AfterValidator(writable)] = ""
    contract_version: str = ""
    content_sha256: str = ""
    rows_read: int = 0
    rows_valid: int = 0
    rows_rejected: int = 0
    #: Parquet with the rows that go on, or JSON that says in which files their columns are (`Staging.rows`)
    rows: str | None = None
    #: Parquet with one row a broken rule, columns of `Rejection`
    rejected: str | None = None
    #: Parquet with number, line, offset and raw text of each record that passed validation; only
    #: where a lookup may refuse some of them still
    origins: str | None = None
    #: how the object was read, as JSON; records are numbered alike only where it is the same
    dialect: str = ""
    #: fields of it that nothing in the object tells, such as the quote where there is none
    dialect_assumed: list[str] = []
    #: reference dataset -> snapshot that its values came from
    references: dict[str, str] = {}
    #: lookup dataset -> rows without a match
    unmatched: dict[str, int] = {}
    #: reference dataset that lacks a key -> seconds after the upload for which a held object waits for it
    waits: dict[str, float] = {}


class Rejection(BaseModel):
    """One rule that one record broke."""

    model_config = ConfigDict(frozen=True)

    #: 1-based number of the record in the file, header not counted
    record: int
    #: physical line on which the record begins, 1-based; None where the reader can't tell
    line: int | None
    #: byte offset of that line in the object, unpacked; None where the reader can't tell
    offset: int | None = None
    column: str | None
    rule: str
    value: str | None
    message: str
    raw: str | None = None
