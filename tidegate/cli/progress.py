"""How far the objects at work are, as people see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidegate import clock
from tidegate.cli.output import console

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from rich.table import Table
    from rich.text import Text

    from tidegate.ledger.progress import Progress

#: Columns that a bar takes.
_BAR = 24


def progress_lines(told: Sequence[Progress], now: datetime) -> Table:
    """A line for each run at work, with a bar where it is known how much there is to read."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    from tidegate.operations.progress import in_words

    grid = Table.grid(padding=(0, 2))
    for one in told:
        words = in_words(one, now)
        bar = ProgressBar(total=1.0, completed=words.share, width=_BAR) if words.share is not None else ""
        facts = Text("  ".join(words.facts))
        grid.add_row(Text(one.dataset, style="bold"), Text(words.doing, overflow="fold"), bar, facts)
    return grid


def print_progress(told: Sequence[Progress]) -> None:
    """A sentence for each run at work."""
    from tidegate.operations.progress import in_words

    now = clock.now()
    for one in told:
        console().print(f"{one.dataset}: {in_words(one, now)}.", soft_wrap=True)


def waiting_for(work: Mapping[str, int], unrecorded: int, told: Sequence[Progress]) -> Text:
    """What `wait` waits for, on a line."""
    from rich.text import Text

    from tidegate.operations.progress import in_words

    parts = [f"{count:,} {state}" for state, count in sorted(work.items())]
    parts += [f"{unrecorded:,} not yet recorded"] if unrecorded else []
    now = clock.now()
    runs = [f"{one.dataset}: {in_words(one, now)}" for one in told]
    return Text(" · ".join([f"Waiting: {', '.join(parts) or 'looking'}", *runs]))
