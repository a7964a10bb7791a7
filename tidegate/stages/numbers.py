"""How the text of a number is read, exactly or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidegate.contracts.columns import Parse


def number_reading(kind: pl.DataType, rule: Parse) -> Callable[[pl.Expr], pl.Expr]:
    """From text to numbers of `kind`; null where the text is no such number.

    Whole numbers are digits with an optional sign. Others may have a fraction, with a digit on at
    least one side of the mark; floats may have an exponent, too. Nothing is rounded but floats.
    """

    def read(text: pl.Expr) -> pl.Expr:
        plain = _without_marks(text, kind, rule) if rule.thousands or rule.decimal != "." else text
        if isinstance(kind, pl.Decimal):
            # Polars rounds to the scale, and takes an exponent.
            plain = pl.when(plain.str.contains(_decimal_shape(kind))).then(plain)
        value = plain.cast(kind, strict=False)
        # "inf", "nan" and numbers too large for the type are not what a supplier means by a number.
        return pl.when(value.is_finite()).then(value) if kind.is_float() else value

    return read


def _decimal_shape(kind: pl.Decimal) -> str:
    return rf"^[+-]?[0-9]*(\.[0-9]{{0,{kind.scale}}})?$"


def _without_marks(text: pl.Expr, kind: pl.DataType, rule: Parse) -> pl.Expr:
    whole = "[0-9]+"
    if rule.thousands:
        mark = literal(rule.thousands)
        whole = f"([0-9]+|[0-9]{{1,3}}({mark}[0-9]{{3}})+)"
    if not kind.is_integer():
        whole = f"({whole})?({literal(rule.decimal)}[0-9]*)?"
    if kind.is_float():
        whole += "([eE][+-]?[0-9]+)?"
    plain: pl.Expr = pl.when(text.str.contains(f"^[+-]?{whole}$")).then(text)
    if rule.thousands:
        plain = plain.str.replace_all(rule.thousands, "", literal=True)
    return plain if rule.decimal == "." else plain.str.replace(rule.decimal, ".", literal=True)


def literal(text: str) -> str:
    """A regular expression that fits exactly `text`."""
    return "".join(
        letter if letter.isascii() and letter.isalnum() else rf"\x{{{ord(letter):X}}}" for letter in text
    )
