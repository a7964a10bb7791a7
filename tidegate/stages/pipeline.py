"""Work on things in order, several at a time."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from concurrent.futures import Future

Thing = TypeVar("Thing")
Result = TypeVar("Result")


def worked_on(
    things: Iterator[Thing], work: Callable[[Thing], Result], *, workers: int
) -> Generator[Result, None, None]:
    """`work` of each of the things, in their order, as ``map`` gives it, but done ahead by threads.

    One thread makes the next thing while `workers` others work; at most two things a worker are on
    their way. An error of making or working is raised in its place. One thing alone needs no thread.
    """
    first, error = _make(things)
    second, error = _make(things) if first is not None else (None, error)
    if first is not None and second is None:
        yield work(first)
    if error is not None:
        raise error
    if first is None or second is None:
        return
    threads = ThreadPoolExecutor(workers + 1, thread_name_prefix="tidegate")
    try:
        yield from _in_order((first, second), things, work, threads, 2 * workers)
    finally:
        threads.shutdown(cancel_futures=True)


def _in_order(
    first: Sequence[Thing],
    things: Iterator[Thing],
    work: Callable[[Thing], Result],
    threads: ThreadPoolExecutor,
    most: int,
) -> Iterator[Result]:
    results: deque[Future[Result]] = deque(threads.submit(work, thing) for thing in first)
    while True:
        made = threads.submit(_make, things)
        while len(results) >= most:
            yield results.popleft().result()
        thing, error = made.result()
        if thing is None:
            break
        results.append(threads.submit(work, thing))
    while results:
        yield results.popleft().result()
    if error is not None:
        raise error


def _make(things: Iterator[Thing]) -> tuple[Thing | None, Exception | None]:
    try:
        return next(things, None), None
    except Exception as error:  # noqa: BLE001  raised once what was made before it is worked on
        return None, error
