"""The files that the benchmarks load: orders, and the three tables that they refer to.

Every value is arithmetic on the order's number, so the same numbers give the same bytes on every machine,
and what must come out of a load is known without reading it back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb

if TYPE_CHECKING:
    from pathlib import Path

    from duckdb import DuckDBPyConnection

CUSTOMERS, PRODUCTS, STORES = 100_000, 5_000, 200
COLUMNS = (
    "order_id",
    "ordered_on",
    "placed_at",
    "customer",
    "product",
    "store",
    "quantity",
    "unit_price",
    "discount",
    "status",
    "note",
)
REFERENCES = ("customers", "products", "stores")

#: Knuth's multiplicative hash, so that neighbours have nothing in common; `n` is the order's number.
_MIXED = "((n * 2654435761 + {salt}) % 4294967296)"
_ORDERS = """
    SELECT n AS order_id,
        strftime(DATE '2024-01-01' + CAST(n // 20000 % 730 AS INTEGER), '%Y-%m-%d') AS ordered_on,
        strftime(TIMESTAMP '2024-01-01' + to_days(CAST(n // 20000 % 730 AS INTEGER))
            + to_seconds({time} % 86400), '%Y-%m-%dT%H:%M:%SZ') AS placed_at,
        printf('C%07d', {customer} % {customers}) AS customer,
        printf('P-%05d', {product} % {products}) AS product,
        printf('S%03d', {store} % {stores}) AS store,
        {quantity} % 99 + 1 AS quantity,
        printf('%d.%02d', {price} % 50000 // 100, {price} % 100) AS unit_price,
        printf('0.%02d', {product} % 31) AS discount,
        CASE {store} % 4 WHEN 0 THEN 'placed' WHEN 1 THEN 'paid' WHEN 2 THEN 'shipped' ELSE 'returned' END
            AS status,
        CASE WHEN n % 10 = 0 THEN NULL
            WHEN n % 25 = 1 THEN printf('leave at no. %d, ring "%d"', {price} % 90, {quantity} % 9)
            ELSE printf('order %d for counter %d', n, {quantity} % 40) END AS note
    FROM range({first}, {first} + {rows}) AS numbers(n)
"""
_REFERENCES = {
    "customers": f"""
        SELECT printf('C%07d', n) AS customer, printf('Customer %d', n) AS customer_name,
            ['north', 'east', 'south', 'west'][n % 4 + 1] AS region
        FROM range({CUSTOMERS}) AS numbers(n)""",
    "products": f"""
        SELECT printf('P-%05d', n) AS product, printf('category %d', n % 37) AS category,
            printf('%d.%02d', n % 400, n % 100) AS list_price
        FROM range({PRODUCTS}) AS numbers(n)""",
    "stores": f"""
        SELECT printf('S%03d', n) AS store, printf('City %d', n % 61) AS city, 1950 + n % 70 AS opened
        FROM range({STORES}) AS numbers(n)""",
}
_SUMS = """
    count(*), count(DISTINCT order_id), coalesce(sum(order_id), 0), coalesce(sum(quantity), 0),
    coalesce(sum(CAST(round(CAST(unit_price AS DOUBLE) * 100) AS HUGEINT)), 0),
    coalesce(sum(length(customer) + length(status) + length(coalesce(note, ''))), 0)
"""


@dataclass(frozen=True, slots=True)
class Sums:
    """What is compared of two tables of orders."""

    rows: int
    ids: int
    sum_of_ids: int
    quantity: int
    cents: int
    letters: int


def select(first: int, rows: int) -> str:
    """The query that makes `rows` orders, numbered from `first`."""
    salts = {
        "time": 11,
        "customer": 101,
        "product": 1009,
        "store": 10007,
        "quantity": 100003,
        "price": 1000003,
    }
    mixed = {name: _MIXED.format(salt=salt) for name, salt in salts.items()}
    counts = {"customers": CUSTOMERS, "products": PRODUCTS, "stores": STORES}
    return _ORDERS.format(first=first, rows=rows, **mixed, **counts)


def write_orders(path: Path, first: int, rows: int) -> None:
    """One file of orders."""
    with duckdb.connect() as con:
        _write(con, select(first, rows), path)


def write_small_files(folder: Path, first: int, files: int, rows: int) -> list[Path]:
    """So many files of `rows` orders each, one after the other."""
    whole = folder / "whole.part"
    write_orders(whole, first, files * rows)
    header, *lines = whole.read_text(encoding="utf-8").splitlines(keepends=True)
    whole.unlink()
    paths = []
    for number in range(files):
        path = folder / f"orders-{first:012}-{number:06}.csv"
        path.write_text(header + "".join(lines[number * rows : (number + 1) * rows]), encoding="utf-8")
        paths.append(path)
    return paths


def write_references(folder: Path) -> list[Path]:
    """The three tables that orders refer to."""
    paths = []
    with duckdb.connect() as con:
        for name, query in _REFERENCES.items():
            path = folder / f"{name}.csv"
            _write(con, query, path)
            paths.append(path)
    return paths


def expected(first: int, rows: int) -> Sums:
    """What a right load of these orders sums up to."""
    with duckdb.connect() as con:
        return loaded(con, f"({select(first, rows)})")


def loaded(con: DuckDBPyConnection, table: str, where: str = "true") -> Sums:
    """What a table of orders sums up to."""
    row = con.execute(sums_query(table, where)).fetchone()
    if row is None:
        msg = f"{table} gave no sums"
        raise LookupError(msg)
    return Sums(*(int(value) for value in row))


def sums_query(table: str, where: str = "true", *more: str) -> str:
    """The query whose one row is a `Sums`, and `more` behind it."""
    return f"SELECT {', '.join([_SUMS, *more])} FROM {table} WHERE {where}"


def _write(con: DuckDBPyConnection, query: str, path: Path) -> None:
    target = str(path).replace("'", "''")
    con.execute(f"COPY ({query}) TO '{target}' (HEADER, DELIMITER ',')")
