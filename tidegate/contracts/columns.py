"""Which columns a file may have, and how their texts become values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from tidegate.errors import ContractError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, kw_only=True)
class Columns:
    """What is done when a file's header is not the schema's list of columns."""

    #: a column of the schema is not in the file: hold the object, or read it as nulls, which only a
    #: nullable column can take
    missing: Literal["hold", "null"] = "hold"
    #: the file has a column that the schema lacks: hold the object, or leave the column out
    extra: Literal["hold", "ignore"] = "hold"
    #: the columns stand in another order than in the schema
    reordered: Literal["accept", "hold"] = "accept"
    #: former or foreign name in a file -> name in the schema
    aliases: Mapping[str, str] = field(default_factory=dict)
    #: whether capitals in the header make no difference
    ignore_case: bool = False

    def __post_init__(self) -> None:
        for name, choices in (
            ("missing", ("hold", "null")),
            ("extra", ("hold", "ignore")),
            ("reordered", ("accept", "hold")),
        ):
            if getattr(self, name) not in choices:
                msg = f"Columns({name}={getattr(self, name)!r}) can't be used; use {' or '.join(choices)}."
                raise ContractError(msg, field=name)


@dataclass(frozen=True, kw_only=True)
class Parse:
    """How the texts of one column are read; what does not fit is a rejected row.

    Without rules: ISO 8601 dates and times, ``12.5`` for numbers, ``true`` and ``false``.
    """

    #: texts that mean "no value"; None: the contract's
    null_tokens: Sequence[str] | None = None
    #: whether blanks around the text are taken off; None: as the contract says
    trim: bool | None = None
    #: formats of a date, moment or time in strftime's letters, such as "%d.%m.%Y"; the first that
    #: fits the whole text counts. A format with an ambiguous order is the author's choice, never ours
    formats: Sequence[str] = ()
    #: zone of moments that are written without an offset, such as "Europe/Zurich"; a local time that a
    #: clock change skips or repeats is a rejected row
    time_zone: str | None = None
    #: the mark before the fraction of a number
    decimal: Literal[".", ","] = "."
    #: the mark between groups of three digits, such as "." or "'"; None: none is allowed
    thousands: str | None = None
    #: texts of a boolean, capitals make no difference
    true: Sequence[str] = ("true",)
    false: Sequence[str] = ("false",)

    def __post_init__(self) -> None:
        for name in ("null_tokens", "formats", "true", "false"):
            if isinstance(getattr(self, name), str):
                self._wrong(name, "give a list of texts, not one text")
        if self.decimal not in (".", ","):
            self._wrong("decimal", "use '.' or ','")
        if self.thousands is not None and (len(self.thousands) != 1 or self.thousands in "0123456789+-"):
            self._wrong("thousands", "use one character that is no digit and no sign")
        if self.thousands == self.decimal:
            self._wrong("thousands", "it must differ from the decimal mark")
        both = {text.lower() for text in self.true} & {text.lower() for text in self.false}
        if both:
            self._wrong("true", f"{', '.join(sorted(both))} is among the texts for false, too")

    def _wrong(self, what: str, advice: str) -> None:
        msg = f"Parse({what}={getattr(self, what)!r}) can't be used; {advice}."
        raise ContractError(msg, field=what)
