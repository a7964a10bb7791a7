"""A first contract for files that are there: written as a module, and proved on those files."""

from __future__ import annotations

import dataclasses
import keyword
import re
import textwrap
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tidegate.contracts import Contract, Dialect, Parse
from tidegate.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tidegate.operations.infer import Guess
    from tidegate.operations.sample import Sample

_TRIES = 3
_WIDTH = 100
_SHOWN = 3
_EXCERPT = 60
_ABOUT_VERSION = (
    "`tidegate contracts check --write` records this version in _versions; a change then needs a new one. "
    "Until the first load you may instead remove _versions/{name}/1.0.0.json and record it again."
)
#: Names that the module itself uses, which a field of the class would hide.
_TAKEN = frozenset({"Annotated", "bool", "float", "int", "pa", "pl", "str"})


@dataclass(frozen=True)
class FirstContract:
    """A module for the contracts' folder."""

    name: str
    text: str
    #: records of the files, and those among them that are damaged: no contract takes them
    read: int
    damaged: int
    #: sentences on the first of the damaged ones: where, their text, what is wrong
    examples: tuple[str, ...] = ()


def infer(paths: Sequence[Path], name: str | None = None) -> FirstContract:
    """A contract that accepts every sound record of these files; UsageError when they are not alike."""
    import polars as pl

    from tidegate.operations.infer import guess_columns, keys_of

    samples = _alike(paths)
    first = samples[0]
    rows = pl.concat([one.rows for one in samples])
    guesses, tokens = guess_columns(rows)
    notes = _footer_notes(samples)
    named = name or name_for(paths[0])
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,62}", named):
        msg = f"{named!r} can't be a dataset's name: use lower-case letters, digits and underscores."
        raise UsageError(msg)
    keys = keys_of(rows, guesses)
    text = module(named, first, guesses, tokens, keys, notes)
    tries = 0
    while wrong := _refused(text, paths):
        tries += 1
        if tries > _TRIES:
            listed = ", ".join(sorted(wrong))
            raise UsageError(f"No contract was found that accepts {paths[0]}; these don't fit: {listed}.")
        # What the engine refuses after all is kept as it stands.
        guesses = [_as_text(one) if one.name in wrong else one for one in guesses]
        text = module(named, first, guesses, tokens, keys, notes)
    damaged = sum(one.damaged for one in samples)
    return FirstContract(named, text, rows.height + damaged, damaged, _examples(paths, samples))


def _alike(paths: Sequence[Path]) -> list[Sample]:
    """The samples under one dialect; UsageError when they have no common one."""
    from tidegate.operations.footer import without_footer
    from tidegate.operations.sample import read_rows, sample

    samples = [without_footer(path, sample(path)) for path in paths]
    footers = {one.dialect.footer: None for one in samples if one.dialect.footer}
    dialect = replace(samples[0].dialect, footer="|".join(footers) or None)
    common = []
    for path, one in zip(paths, samples, strict=True):
        same = one.header == samples[0].header and replace(one.dialect, footer=dialect.footer) == dialect
        again = read_rows(path, dialect, one.header) if same and one.dialect != dialect else one
        if not same or again.records != one.records:
            msg = f"{path} has other columns than {paths[0]}, or is written otherwise; give one kind."
            raise UsageError(msg)
        common.append(again)
    return common


def _footer_notes(samples: Sequence[Sample]) -> list[str]:
    """Comments on what is taken for no row."""
    lines = next((one.footer for one in samples if one.footer), ())
    return [
        f"footer: {_short(line)} at the end of the sample is taken for a total or the like, not for a row."
        for line in lines
    ]


def _examples(paths: Sequence[Path], samples: Sequence[Sample]) -> tuple[str, ...]:
    found = [
        f"{path}, line {line}: {_short(raw)}. {message}"
        for path, one in zip(paths, samples, strict=True)
        for line, raw, message in one.damage.head(_SHOWN).select("line", "raw", "message").iter_rows()
    ]
    return tuple(found[:_SHOWN])


def _short(text: str) -> str:
    return repr(text if len(text) <= _EXCERPT else f"{text[: _EXCERPT - 1]}…")


def write_module(first: FirstContract, folder: Path) -> Path:
    """Put the module into the contracts' folder; UsageError when there is one of that name."""
    path = folder / f"{first.name}.py"
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(first.text)
    except FileExistsError:
        msg = f"{path} is there already and is left as it is. Choose another name with --name."
        raise UsageError(msg) from None
    except FileNotFoundError:
        msg = (
            f"{folder} is no folder. Make it, with an empty __init__.py, or see `contracts` in tidegate.toml."
        )
        raise UsageError(msg) from None
    return path


def name_for(path: Path) -> str:
    """A dataset's name from a file's: ``flights-2013-01-01.csv`` is ``flights``."""
    stem = path.name.split(".")[0].lower()
    plain = re.sub(r"[^a-z0-9]+", "_", stem)
    # Digits right after a letter belong to the name, as in utf8, unless they are a year or a day.
    without_dates = re.sub(r"((?<=[a-z])(19|20)\d\d(\d\d){0,2})?(_\d+)*$", "", plain)
    found = (without_dates if re.search("[a-z]", plain) else f"dataset_{plain}").strip("_")
    return (found if found[0].isalpha() else f"dataset_{found}")[:63]


def load_text(text: str) -> Contract:
    """The contract that a module's text declares."""
    module: dict[str, Any] = {"__name__": "first_contract"}
    exec(compile(text, "first_contract.py", "exec", dont_inherit=True), module)  # noqa: S102 - written by us, from quoted texts
    return next(value for value in module.values() if isinstance(value, Contract))


def _refused(text: str, paths: Sequence[Path]) -> set[str]:
    """Columns whose values the written contract does not accept."""
    import polars as pl

    from tidegate.operations.judge import judge

    contract = load_text(text)
    found: set[str] = set()
    for path in paths:
        judged = judge(path, contract)
        if judged.rule and judged.rule != "budget":
            raise UsageError(f"{path}: {judged.reason}")
        rejections = judged.rejections.filter(pl.col("column").is_not_null())
        found |= set(rejections["column"].to_list())
    return found


def _as_text(guess: Guess) -> Guess:
    return replace(guess, kind="str", rules=Parse(), domain=None, nullable=True, notes=())


def module(
    name: str,
    sample: Sample,
    guesses: Sequence[Guess],
    tokens: Sequence[str],
    keys: Sequence[str],
    notes: Sequence[str] = (),
) -> str:
    """The text of the module; `notes` are comments on the dialect."""
    columns = _columns(guesses)
    model = "".join(part.capitalize() for part in name.split("_")) + "Row"
    body = "\n".join(line for guess in guesses for line in _field(guess, *columns[guess.name]))
    kinds = " ".join(guess.kind for guess in guesses)
    imports = [
        *(["from typing import Annotated\n"] if "Annotated" in kinds else []),
        "import pandera.polars as pa",
        *(["import polars as pl"] if "pl." in kinds else []),
    ]
    arguments = list(_arguments(name, model, sample.dialect, guesses, tokens, columns, notes))
    code = [one for one in arguments if not one.startswith("#")]
    names = sorted(
        {"Append", "Contract"}
        | {n for n in ("Columns", "Dialect", "Parse") if any(f"{n}(" in one for one in code)}
    )
    about = _comment(f"Columns without a value twice: {', '.join(keys)}.", "") if keys else []
    return "\n".join(
        [
            f'"""{name}: first written from a sample; go through it line by line."""\n',
            *imports,
            "",
            f"from tidegate.contracts import {', '.join(names)}\n\n",
            *about,
            f"class {model}(pa.DataFrameModel):",
            f"{body}\n\n",
            f"{name if not keyword.iskeyword(name) else name + '_'} = Contract(",
            *(f"    {line}" for argument in arguments for line in argument.splitlines()),
            ")",
            "",
        ]
    )


def _columns(guesses: Sequence[Guess]) -> dict[str, tuple[str, str]]:
    """Column of the file -> name of the field, name of the column in the table."""
    import pandera.polars as pa

    found: dict[str, tuple[str, str]] = {}
    fields: set[str] = set()
    listed = {guess.name for guess in guesses}
    for guess in guesses:
        column = guess.name
        if column.startswith("_"):
            # Such names are the engine's.
            column = _free(column.lstrip("_") or "column", listed | {name for _, name in found.values()})
        slug = column
        if not (column.isidentifier() and column.isascii()) or _hides(column, pa.DataFrameModel):
            slug = re.sub(r"\W+", "_", column.lower(), flags=re.ASCII).strip("_") or "column"
            slug = f"c_{slug}" if slug[0].isdigit() or _hides(slug, pa.DataFrameModel) else slug
        slug = _free(slug, fields | (listed - {guess.name} if slug != column else set()))
        fields.add(slug)
        found[guess.name] = slug, column
    return found


def _hides(name: str, model: type[Any]) -> bool:
    return keyword.iskeyword(name) or name in _TAKEN or hasattr(model, name) or name.startswith("_")


def _free(name: str, taken: set[str]) -> str:
    number, free = 2, name
    while free in taken:
        free, number = f"{name}_{number}", number + 1
    return free


def _field(guess: Guess, field: str, column: str) -> Iterator[str]:
    for note in guess.notes:
        yield from _comment(note, "    ")
    options = []
    if field != column:
        options.append(f"alias={quoted(column)}")
    if guess.nullable:
        options.append("nullable=True")
    if guess.domain is not None:
        options.append(f"isin=[{', '.join(map(quoted, guess.domain))}]")
    line = f"    {field}: {guess.kind}" + (f" = pa.Field({', '.join(options)})" if options else "")
    if len(line) <= _WIDTH:
        yield line
        return
    yield f"    {field}: {guess.kind} = pa.Field("
    for option in options:
        if not option.startswith("isin="):
            yield f"        {option},"
            continue
        yield "        isin=["
        yield from (f"            {quoted(value)}," for value in guess.domain or ())
        yield "        ],"
    yield "    )"


def _comment(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        " ".join(text.split()),
        _WIDTH,
        initial_indent=f"{indent}# ",
        subsequent_indent=f"{indent}# ",
        break_on_hyphens=False,
    )


def _arguments(
    name: str,
    model: str,
    dialect: Dialect,
    guesses: Sequence[Guess],
    tokens: Sequence[str],
    columns: dict[str, tuple[str, str]],
    notes: Sequence[str],
) -> Iterator[str]:
    yield f"name={quoted(name)},"
    yield from _comment(_ABOUT_VERSION.format(name=name), "")
    yield 'version="1.0.0",'
    yield 'owner="nobody yet",'
    yield f"description={quoted(f'What {name} holds, in a sentence.')},"
    yield f"keys=[{quoted(f'{name}/*.csv')}, {quoted(f'{name}*.csv')}],"
    yield f"schema={model},"
    written = _written(dialect, Dialect)
    if written:
        for note in notes:
            yield from _comment(note, "")
        yield f"dialect=Dialect({written}),"
    aliases = {file: column for file, (_, column) in columns.items() if file != column}
    if aliases and dialect.header_lines:
        pairs = ", ".join(f"{quoted(file)}: {quoted(column)}" for file, column in aliases.items())
        yield f"columns=Columns(aliases={{{pairs}}}),"
    if list(tokens) != [""]:
        yield f"null_tokens=[{', '.join(map(quoted, tokens))}],"
    rules = [(columns[one.name][1], _written(one.rules, Parse)) for one in guesses]
    if any(text for _, text in rules):
        yield "\n".join(["parse={", *(f"    {quoted(n)}: Parse({text})," for n, text in rules if text), "},"])
    yield "load=Append(),"


def _written(one: Any, kind: type[Any]) -> str:
    """The arguments that make `one`, those at their default left out."""
    plain = kind()
    told = [
        f"{field.name}={(_pattern if field.name == 'footer' else _value)(getattr(one, field.name))}"
        for field in dataclasses.fields(one)
        if getattr(one, field.name) != getattr(plain, field.name)
    ]
    return ", ".join(told)


def _value(value: Any) -> str:
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_value, value))}]"
    return repr(value)


def _pattern(text: str) -> str:
    """A regular expression as a raw text, where that can be written."""
    if '"' in text or not text.isprintable() or text.endswith("\\"):
        return quoted(text)
    return f'r"{text}"' if "\\" in text else quoted(text)


def quoted(text: str) -> str:
    """A text as Python writes it, in double quotes where that needs no more escapes."""
    plain = repr(text)
    if plain[0] == "'" and '"' not in text:
        return '"' + plain[1:-1].replace("\\'", "'") + '"'
    return plain
