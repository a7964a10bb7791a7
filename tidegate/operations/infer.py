"""What the texts of a column most likely are. Careful: text wherever a reading could lose something."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pandera.polars as pa
import polars as pl

from tidegate.contracts import Contract, Parse
from tidegate.stages.model import RECORD
from tidegate.stages.parse import parse

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: Texts that often mean "no value"; the second group only in columns that otherwise are no texts.
_SURE_NULLS = ("\\N", "NULL", "null", "N/A", "#N/A")
_LIKELY_NULLS = ("NA", "n/a", "-", "--", "NaN", "nan", "None", "?")
NULLS = frozenset({*_SURE_NULLS, *_LIKELY_NULLS})
#: A column of codes has at most so many, each at least so often and no longer than this.
_CODES = 12
_OFTEN = 20
_CODE = re.compile(r"[A-Z][A-Z_-]{0,15}|[a-z][a-z_-]{0,15}")
_TOLD = 60
#: Two places are how money is written; other numbers of places may be chance in fewer values.
_MONEY_PLACES = 2
_MOST_PLACES = 4
_SURE_VALUES = 20
#: Digits of a decimal type, and of the longest value that leaves it some room.
_PRECISIONS = ((18, 15), (38, 35))
_TRUTHS = (("true", "false"), ("yes", "no"), ("y", "n"), ("t", "f"), ("ja", "nein"), ("oui", "non"))
_WHOLE = re.compile(r"-?(0|[1-9]\d*)")
_NUMBER = re.compile(r"[+-]?(0|[1-9]\d*)?(\.\d*)?([eE][+-]?\d+)?")
_FIXED = re.compile(r"[+-]?(0|[1-9]\d*)?\.(\d+)")
_COMMA = re.compile(r"[+-]?(0|[1-9]\d*)(,\d+)?")
_GROUPED = {
    (",", "."): re.compile(r"[+-]?\d{1,3}(\.\d{3})*(,\d+)?"),
    (".", ","): re.compile(r"[+-]?\d{1,3}(,\d{3})*(\.\d+)?"),
    (".", "'"): re.compile(r"[+-]?\d{1,3}('\d{3})*(\.\d+)?"),
}
_DAYS = ("%d.%m.%Y", "%Y/%m/%d", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%d-%b-%Y", "%d %B %Y")
_HOURS = ("%H:%M:%S", "%H:%M")


@dataclass(frozen=True)
class Guess:
    """What a column is taken for."""

    name: str
    #: a type as it is written in a contract, such as ``int`` or ``pl.Date``
    kind: str = "str"
    nullable: bool = False
    rules: Parse = field(default_factory=Parse)
    #: values that it may have, where it seems to have few; None: any
    domain: tuple[str, ...] | None = None
    #: sentences for the author
    notes: tuple[str, ...] = ()


_PADDED = re.compile(r"[+-]?0\d")
_KINDS: dict[str, Any] = {
    "int": pl.Int64(),
    "float": pl.Float64(),
    "bool": pl.Boolean(),
    "pl.Date": pl.Date(),
    "pl.Time": pl.Time(),
    'Annotated[pl.Datetime, "us", "UTC"]': pl.Datetime("us", "UTC"),
    'Annotated[pl.Datetime, "us", None]': pl.Datetime("us"),
}
ZONED, LOCAL = list(_KINDS)[-2:]
_DECIMALS = {
    (precision, places): f"Annotated[pl.Decimal, {precision}, {places}]"
    for precision, _ in _PRECISIONS
    for places in range(1, _MOST_PLACES + 1)
}
_KINDS |= {kind: pl.Decimal(*shape) for shape, kind in _DECIMALS.items()}


def guess_columns(rows: pl.DataFrame) -> tuple[list[Guess], list[str]]:
    """A guess for each text column, and the texts that mean "no value" in all of them."""
    tokens = [token for token in ("", *_SURE_NULLS) if _holds(rows, token)]
    known = len(tokens)
    first = {name: _guess(rows[name], tokens) for name in rows.columns}
    for name in rows.columns:
        extra = [token for token in _LIKELY_NULLS if token in set(rows[name].unique())]
        if first[name].kind == "str" and extra and _guess(rows[name], [*tokens, *extra]).kind != "str":
            tokens += [token for token in extra if token not in tokens]
    if len(tokens) > known:
        first = {name: _guess(rows[name], tokens) for name in rows.columns}
    guesses = [_with_notes(guess, rows[name], tokens) for name, guess in first.items()]
    return guesses, ["", *(token for token in tokens if token)]


def _holds(rows: pl.DataFrame, token: str) -> bool:
    return any((rows[name] == token).any() for name in rows.columns)


def _guess(texts: pl.Series, tokens: Sequence[str]) -> Guess:
    nullable = bool(texts.is_in(list(tokens)).any())
    values = [value for value in texts.unique(maintain_order=True) if value not in tokens]
    plain = Guess(texts.name, nullable=nullable)
    if not values:
        return replace(plain, notes=("no value in the sample: text until there is one",))
    trimmed = [value.strip(" \t") for value in values]
    blanks = Parse(trim=True) if trimmed != values else Parse()
    fits = [(kind, rules) for kind, rules in _readings(trimmed) if _reads(trimmed, _KINDS[kind], rules)]
    if not fits:
        return replace(plain, notes=tuple(_why_text(trimmed)))
    if len(fits) > 1 and fits[0][1].formats:
        ways = " or ".join(repr(rules.formats[0]) for _, rules in fits)
        note = f"day and month can't be told apart: {fits[0][0]} with {ways} in parse, if you know which"
        return replace(plain, notes=(note,))
    kind, rules = fits[0]
    return replace(plain, kind=kind, rules=replace(rules, trim=blanks.trim))


def _readings(values: Sequence[str]) -> Iterator[tuple[str, Parse]]:
    """Types whose values look like these, the first that fits counts; of formats, all."""
    lower = {value.lower() for value in values}
    for true, false in _TRUTHS:
        if lower == {true, false} or (true == "true" and lower <= {true, false}):
            yield "bool", Parse() if true == "true" else Parse(true=[true], false=[false])
            return
    if all(map(_WHOLE.fullmatch, values)):
        yield "int", Parse()
        return
    numbers = list(_number_readings(values))
    yield from numbers
    if not numbers and any(char.isdigit() for char in values[0]):
        yield from _moment_readings(values[0])


def _number_readings(values: Sequence[str]) -> Iterator[tuple[str, Parse]]:
    if all(map(_NUMBER.fullmatch, values)):
        yield _exact(values) or "float", Parse()
    elif all(map(_COMMA.fullmatch, values)):
        if not all(re.fullmatch(r"[+-]?\d{1,3}(,\d{3})?", value) for value in values):
            rules = Parse(decimal=",")
            yield _exact(values, rules) or "float", rules
    else:
        for (decimal, thousands), shape in _GROUPED.items():
            grouped = [one for one in values if thousands in one]
            sure = bool(grouped) if thousands == "'" else any(decimal in one for one in grouped)
            if sure and all(map(shape.fullmatch, values)) and not any(map(_PADDED.match, values)):
                rules = Parse(decimal="," if decimal == "," else ".", thousands=thousands)
                yield _exact(values, rules) or "float", rules
                return


def _exact(values: Sequence[str], rules: Parse | None = None) -> str | None:
    """The decimal type of numbers that all have the same number of places, as amounts of money do."""
    mark, groups = (rules.decimal, rules.thousands or "") if rules else (".", "")
    found = [_FIXED.fullmatch(value.replace(groups, "").replace(mark, ".")) for value in values]
    numbers = [(len(one[1] or ""), len(one[2])) for one in found if one]
    if len(numbers) < len(values) or len({places for _, places in numbers}) > 1:
        return None
    places = numbers[0][1]
    if places > _MOST_PLACES or (places != _MONEY_PLACES and len(values) < _SURE_VALUES):
        return None
    digits = max(map(sum, numbers))
    return next(
        (_DECIMALS[precision, places] for precision, longest in _PRECISIONS if digits <= longest), None
    )


def _moment_readings(value: str) -> Iterator[tuple[str, Parse]]:
    """All ways of writing a moment but those that this value can't be written in."""
    for kind in ("pl.Date", "pl.Time", ZONED, LOCAL):
        yield kind, Parse()
    marks = {char: value.count(char) for char in "./-:"}
    for day in _DAYS:
        for hour in ("", *_HOURS):
            written = f"{day} {hour}".strip()
            # Reading a column takes a while, and most ways have other marks between their numbers.
            if all(written.count(char) == count for char, count in marks.items()):
                yield LOCAL if hour else "pl.Date", Parse(formats=[written])


def _reads(values: Sequence[str], kind: pl.DataType, rules: Parse) -> bool:
    """Whether the engine itself reads every value."""
    frame = pl.DataFrame({RECORD: range(1, len(values) + 1), "value": values})
    probe = Contract(
        name="probe",
        version="0.0.0",
        owner="probe",
        description="One column.",
        keys=["probe"],
        schema=pa.DataFrameModel,
        null_tokens=[],
        parse={"value": rules},
    )
    return parse(frame, {"value": kind}, probe).unread.is_empty()


def _why_text(values: Sequence[str]) -> Iterator[str]:
    """What an author may wonder about."""
    if all(re.fullmatch(r"[+-]?\d+(\.\d+)?", value) for value in values):
        if any(re.fullmatch(r"[+-]?0\d+(\.\d+)?", value) for value in values):
            yield "text, as numbers would lose the zeros in front"
        else:
            yield "text, as the numbers are too long for a number's type"
    elif all(re.fullmatch(r"[+-]?\d{1,3}(,\d{3})?", value) for value in values):
        yield (
            'text, as 1,234 may be thousands or a fraction: int with Parse(thousands=","), or '
            'float with Parse(decimal=",")'
        )


def _with_notes(guess: Guess, texts: pl.Series, tokens: Sequence[str]) -> Guess:
    """The guess with what the sample shows: a domain, or the longest text, or the range."""
    values = texts.filter(~texts.is_in(list(tokens)))
    if not len(values):
        return guess
    distinct = values.n_unique()
    if guess.kind == "str":
        found = sorted(values.unique().to_list()) if distinct <= _CODES else []
        often = len(values) >= _OFTEN * distinct
        if found and all(map(_CODE.fullmatch, found)) and min(values.value_counts()["count"]) >= _OFTEN:
            return replace(guess, domain=tuple(found))
        if found and often and len(told := ", ".join(map(repr, found))) <= _TOLD:
            return replace(guess, notes=(*guess.notes, f"in the sample only {told}"))
        longest = int(values.str.len_chars().cast(pl.Int64).to_numpy().max())
        return replace(guess, notes=(*guess.notes, f"at most {longest} characters"))
    exact = guess.kind in _DECIMALS.values()
    if (exact or guess.kind in ("int", "float")) and guess.rules.decimal == "." and not guess.rules.thousands:
        numbers = values.str.strip_chars().cast(pl.Float64)
        low, high = (values[int(at or 0)].strip() for at in (numbers.arg_min(), numbers.arg_max()))
        return replace(guess, notes=(*guess.notes, f"{low} to {high}"))
    return guess


def keys_of(rows: pl.DataFrame, guesses: Sequence[Guess]) -> list[str]:
    """Columns that have a value in every row and none twice."""
    return [
        guess.name
        for guess in guesses
        if not guess.nullable
        and guess.kind in ("int", "str")
        and rows.height > 1
        and rows[guess.name].n_unique() == rows.height
    ]
