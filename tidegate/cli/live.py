"""`tidegate up` in the foreground: a live table in a terminal, plain lines elsewhere."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from tidegate.cli.objects import status_table
from tidegate.cli.output import console, make_table

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from tidegate.ledger import Ledger
    from tidegate.prefect.supervisor import Report
    from tidegate.settings import Settings

_LOOK_SECONDS = 0.5


def up_in_foreground(settings: Settings) -> int:
    """Run the system in this process until Ctrl-C, SIGTERM or `tidegate down`; the exit code."""
    return asyncio.run(_Foreground(settings).run())


class _Foreground:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._out: Console = console()
        self._view: asyncio.Task[None] | None = None

    async def run(self) -> int:
        from tidegate.prefect.supervisor import Supervisor

        try:
            return await Supervisor(self._settings, self._report).run()
        finally:
            await self._end_view()

    def _report(self, report: Report) -> None:
        if report.kind == "failed":
            shown = f"\nThe log ends with:\n{report.tail}" if report.tail else ""
            sys.stderr.write(f"Error: Tidegate could not be started: {report.text}{shown}\n")
        elif report.kind == "ready":
            self._out.print(f"Tidegate is running. Prefect UI: {report.text}")
            if self._out.is_terminal:
                self._view = asyncio.ensure_future(self._show(report.text))
        else:
            if report.kind == "stopping" and self._view is not None:
                self._view.cancel()
            self._out.print(report.text)

    async def _end_view(self) -> None:
        if self._view is not None:
            self._view.cancel()
            with suppress(asyncio.CancelledError):
                await self._view

    async def _show(self, ui_url: str) -> None:
        from rich.live import Live

        from tidegate.ledger import open_ledger

        ledger = await asyncio.to_thread(open_ledger, self._settings)
        try:
            with Live(console=self._out, auto_refresh=False, transient=True) as live:
                while True:
                    live.update(await asyncio.to_thread(picture, ledger, ui_url), refresh=True)
                    await asyncio.sleep(_LOOK_SECONDS)
        finally:
            ledger.close()


def picture(ledger: Ledger, ui_url: str) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    from tidegate import clock
    from tidegate.cli.progress import progress_lines
    from tidegate.errors import LedgerUnavailableError
    from tidegate.ledger import queries
    from tidegate.ledger.progress import at_work

    try:
        datasets = ledger.ask(queries.status)
        told = ledger.ask(at_work) if any(one.running for one in datasets) else []
    except LedgerUnavailableError as error:
        return Text(str(error))
    parts: list[RenderableType] = [make_table(*status_table(datasets))]
    if told:
        parts += [Text(), progress_lines(told, clock.now())]
    return Group(
        *parts,
        Text(f"\nPrefect UI: {ui_url}   Ctrl-C stops everything", style="dim"),
    )
