"""Work done ahead by threads looks from outside as if it were done in turn."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from tidegate.stages.pipeline import worked_on

if TYPE_CHECKING:
    from collections.abc import Iterator


def numbers(until: int, error: Exception | None = None) -> Iterator[int]:
    yield from range(until)
    if error is not None:
        raise error


@pytest.mark.parametrize("count", [0, 1, 2, 3, 50])
@pytest.mark.parametrize("workers", [1, 3])
def test_results_come_in_the_order_of_the_things(count: int, workers: int) -> None:
    assert list(worked_on(numbers(count), str, workers=workers)) == [str(n) for n in range(count)]


def test_one_thing_alone_is_worked_on_without_a_thread() -> None:
    found = list(worked_on(numbers(1), lambda _: threading.current_thread(), workers=2))
    assert found == [threading.current_thread()]


def test_workers_work_and_the_next_thing_is_made_at_the_same_time() -> None:
    together = threading.Barrier(3, timeout=30)

    def made() -> Iterator[int]:
        yield from (0, 1)
        together.wait()
        yield 2

    def work(number: int) -> int:
        if number < 2:
            together.wait()
        return number

    assert list(worked_on(made(), work, workers=2)) == [0, 1, 2]


def test_no_more_is_made_than_waits() -> None:
    made: list[int] = []

    def things() -> Iterator[int]:
        for number in range(100):
            made.append(number)
            yield number

    results = worked_on(things(), str, workers=2)
    assert next(results) == "0"
    assert len(made) <= 6
    results.close()
    assert len(made) <= 6


def until_error(results: Iterator[int], message: str) -> list[int]:
    """What comes before the error of that message."""
    got: list[int] = []
    with pytest.raises(ValueError, match=message):
        got.extend(results)
    return got


@pytest.mark.parametrize("sound", [0, 1, 2, 5])
def test_an_error_of_making_comes_after_the_results_before_it(sound: int) -> None:
    results = worked_on(numbers(sound, ValueError("torn")), int, workers=2)
    assert until_error(results, "torn") == list(range(sound))


def test_an_error_of_work_comes_in_its_place() -> None:
    def work(number: int) -> int:
        if number == 3:
            raise ValueError("no three")
        return number

    assert until_error(worked_on(numbers(10), work, workers=2), "no three") == [0, 1, 2]


def test_no_thread_is_left_when_nobody_wants_the_rest() -> None:
    before = threading.active_count()
    results = worked_on(numbers(100), str, workers=2)
    next(results)
    assert threading.active_count() > before
    results.close()
    assert threading.active_count() == before
