"""From marked lines to a block: rows of text, and damaged records with their raw text."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from tidegate.reading.encoding import original_offsets
from tidegate.reading.lines import selected
from tidegate.reading.marks import Marks, mark_fast, mark_patient
from tidegate.reading.model import LINE, RECORD, REJECTION_SCHEMA, Block, LineKind, raw_texts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from tidegate.reading.grammar import Grammar
    from tidegate.reading.lines import Lines
    from tidegate.reading.marks import Rules
    from tidegate.reading.model import Place


def build_block(
    text: bytes,
    lines: Lines,
    rules: Rules,
    layout: Mapping[str, int | None],
    place: Place,
    *,
    beyond: int | None,
    patient: bool,
) -> tuple[Block, int]:
    """The block of the whole records in `text`, and how many of its bytes they take.

    `beyond`: how many bytes are known to follow, None when nothing ever will.
    `layout`: column of the schema -> index of its field in the file, None where the file has none.
    """
    mark = mark_patient if patient else mark_fast
    marks = mark(text, lines, rules, beyond)
    if marks.used < len(lines):
        text = text[: int(lines.starts[marks.used])]
        lines = lines.first(marks.used, len(text))
        marks.kinds = marks.kinds[: marks.used]
    found = None
    if rules.header is not None and _may_hold(text, lines, rules.header, rules.grammar):
        found = _refuse_headers(*_fields(text, lines, marks, rules), marks, rules.header)
    firsts, afters = _records(marks)
    block = Block(
        place=place,
        text=text,
        lines=lines,
        kinds=marks.kinds,
        firsts=firsts,
        afters=afters,
        read=lambda: _rows(*(found or _fields(text, lines, marks, rules)), layout, place, firsts),
        damaged=_damaged(text, lines, marks, place, firsts),
    )
    return block, len(text)


def _records(marks: Marks) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First line, and line after the last, of all records in order."""
    single = np.concatenate([marks.plain, *(indexes for indexes, _, _ in marks.damaged_lines)])
    rest = [(one[0], one[1]) for one in chain(marks.walked, marks.damaged)]
    if not rest and not marks.damaged_lines:
        return single, single + 1
    longer = np.array(rest, dtype=np.int64).reshape(-1, 2)
    firsts = np.concatenate((single, longer[:, 0]))
    afters = np.concatenate((single + 1, longer[:, 1]))
    order = np.argsort(firsts, kind="stable")
    return firsts[order], afters[order]


def _fields(text: bytes, lines: Lines, marks: Marks, rules: Rules) -> tuple[pl.DataFrame, NDArray[np.int64]]:
    """The fields of the sound records, columns ``f0`` and so on, and the line each begins on."""
    grammar = rules.grammar
    names = [f"f{index}" for index in range(grammar.width)]
    frame = _parsed(text, lines, marks, rules, names)
    at = marks.plain
    if marks.walked:
        fields = [[one.decode() for one in record] for _, _, record in marks.walked]
        walked = pl.DataFrame(fields, schema=dict.fromkeys(names, pl.String), orient="row")
        at = np.concatenate((at, np.array([first for first, _, _ in marks.walked], dtype=np.int64)))
        order = np.argsort(at, kind="stable")
        frame, at = pl.concat([frame, walked])[order], at[order]
    return frame, at


def _may_hold(text: bytes, lines: Lines, names: Sequence[str], grammar: Grammar) -> bool:
    """False only where a record of these names can't be in the text; far sooner known than by its fields."""
    if names[0]:
        begins = np.bincount(np.frombuffer(text, dtype=np.uint8)[lines.starts], minlength=256)
        # Before a name may stand blanks, a quote or escape, and beyond ASCII a byte order mark.
        marks_before = [
            *range(ord(" ") + 1),
            *range(128, 256),
            *(grammar.quote or b""),
            *(grammar.escape or b""),
        ]
        if not begins[[*marks_before, names[0].encode()[0]]].any():
            return False
    marks = {mark.decode() for mark in (grammar.quote, grammar.escape) if mark is not None}
    # The longest first: it is found missing soonest, and mostly that is all there is to find.
    longest = sorted(names, key=len, reverse=True)
    return all(name.encode() in text for name in longest if marks.isdisjoint(name))


def _refuse_headers(
    fields: pl.DataFrame, at: NDArray[np.int64], marks: Marks, header: Sequence[str]
) -> tuple[pl.DataFrame, NDArray[np.int64]]:
    """Without the records that repeat the header, which become damaged ones."""
    found = fields.with_row_index("index")
    for column, name in reversed([*zip(fields.columns, header, strict=True)]):
        text = pl.col(column)
        # Where a file was put behind another one, its byte order mark came along.
        text = text.str.strip_prefix("\ufeff") if column == fields.columns[0] else text
        found = found.filter(text.str.strip_chars() == name)
        if not found.height:
            return fields, at
    lines = set(at[found["index"].to_numpy()].tolist())
    single = np.isin(marks.plain, list(lines))
    headers = [(int(line), int(line) + 1) for line in marks.plain[single]]
    headers += [(first, after) for first, after, _ in marks.walked if first in lines]
    marks.plain = marks.plain[~single]
    marks.walked = [one for one in marks.walked if one[0] not in lines]
    for first, after in headers:
        marks.kinds[first:after] = LineKind.REJECTED
        marks.damaged.append((first, after, "header", "The record repeats the header."))
    kept = np.ones(len(at), dtype=np.bool_)
    kept[found["index"].to_numpy()] = False
    return fields.filter(kept), at[kept]


def _rows(
    fields: pl.DataFrame,
    at: NDArray[np.int64],
    layout: Mapping[str, int | None],
    place: Place,
    firsts: NDArray[np.int64],
) -> pl.DataFrame:
    numbers = np.searchsorted(firsts, at) + place.records + 1
    columns = {
        name: pl.col(f"f{index}") if index is not None else pl.lit(None, dtype=pl.String)
        for name, index in layout.items()
    }
    return fields.select(
        pl.Series(RECORD, numbers, dtype=pl.Int64),
        pl.Series(LINE, at + place.lines + 1, dtype=pl.Int64),
        **columns,
    )


def _parsed(text: bytes, lines: Lines, marks: Marks, rules: Rules, names: list[str]) -> pl.DataFrame:
    """The fields of the plain lines, which are known to be well-formed and of the right width."""
    schema = dict.fromkeys(names, pl.String())
    if not len(marks.plain):
        return pl.DataFrame(schema=schema)
    grammar = rules.grammar
    some = selected(text, np.frombuffer(text, dtype=np.uint8), lines, marks.plain)
    quote = grammar.quote if grammar.quote is not None and grammar.quote in some else None
    # Polars takes a byte order mark at the beginning off, which in the middle of an object is text.
    marked = some.startswith(b"\xef\xbb\xbf")
    frame = pl.read_csv(
        grammar.delimiter * (grammar.width - 1) + b"\n" + some if marked else some,
        has_header=False,
        schema=schema,
        separator=grammar.delimiter.decode(),
        quote_char=quote.decode() if quote is not None else None,
        empty_string_is_null=False,
        infer_schema=False,
    )
    return frame.slice(1) if marked else frame


def _damaged(
    text: bytes, lines: Lines, marks: Marks, place: Place, firsts: NDArray[np.int64]
) -> pl.DataFrame:
    if not marks.damaged and not marks.damaged_lines:
        return pl.DataFrame(schema=REJECTION_SCHEMA)
    found = _damage_notes(marks)
    at, after = found["first"].to_numpy(), found["after"].to_numpy()
    starts, ends = lines.starts[at], lines.ends[after - 1]
    return found.select(
        pl.Series("record", np.searchsorted(firsts, at) + place.records + 1),
        pl.Series("line", at + place.lines + 1),
        pl.Series("offset", original_offsets(text, starts, place.encoding, place.offset)),
        pl.lit(None, dtype=pl.String).alias("column"),
        "rule",
        pl.lit(None, dtype=pl.String).alias("value"),
        "message",
        pl.Series("raw", raw_texts(text, starts, ends, place.encoding), dtype=pl.String),
    ).cast(pl.Schema(REJECTION_SCHEMA))


def _damage_notes(marks: Marks) -> pl.DataFrame:
    """``first``, ``after``, ``rule`` and ``message`` of the damaged records, in order."""
    schema = pl.Schema({"first": pl.Int64, "after": pl.Int64, "rule": pl.String, "message": pl.String})
    frames = [pl.DataFrame(marks.damaged, schema=schema, orient="row")]
    for indexes, rule, message in marks.damaged_lines:
        words = message if isinstance(message, pl.Series) else pl.lit(message)
        frames.append(
            pl.DataFrame({"first": indexes, "after": indexes + 1})
            .with_columns(pl.lit(rule).alias("rule"), words.alias("message"))
            .cast(schema)
        )
    return pl.concat(frames).sort("first")
