"""What the cases of one call share: a folder, numbers for orders, and in a quick run the started systems."""

from __future__ import annotations

import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

from rich.console import Console

from benchmarks import orders
from benchmarks.peer_runs import PlainPrefect
from benchmarks.tidegate_system import TidegateSystem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


class Session:
    """One call of `python -m benchmarks`. Close it: then no process and no folder of its is left."""

    def __init__(self, *, quick: bool, keep: bool = False, peers: bool = True, shrink: int = 1) -> None:
        self.quick = quick
        #: whether the peers run as well
        self.peers = peers
        self._shrink = shrink
        self.folder = Path(tempfile.mkdtemp(prefix="tidegate-bench-"))
        self.console = Console(stderr=True)
        self._keep = keep
        self._next_order = 0
        self._made = 0
        self._shared = ExitStack()
        self._shared_system: TidegateSystem | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        try:
            self._shared.close()
        finally:
            if self._keep:
                self.console.print(f"Kept: {self.folder}")
            else:
                shutil.rmtree(self.folder)

    def say(self, text: str) -> None:
        self.console.print(f"[dim]{text}[/dim]")

    def size(self, full: int, quick: int) -> int:
        """The one of two sizes that this run is for, shrunk if asked for."""
        return max(1, (quick if self.quick else full) // self._shrink)

    def new_folder(self, name: str) -> Path:
        self._made += 1
        folder = self.folder / f"{name}-{self._made}"
        folder.mkdir()
        return folder

    def new_orders(self, rows: int) -> int:
        """The first of so many order numbers that nothing else of this run uses."""
        first = self._next_order
        self._next_order += rows
        return first

    def new_system(self, settings: str = "", **variables: str) -> TidegateSystem:
        """A project that nothing runs in yet."""
        system = TidegateSystem(self.new_folder("tidegate"), variables)
        system.make(settings)
        return system

    @contextmanager
    def system(self) -> Iterator[TidegateSystem]:
        """A started Tidegate: a fresh one, in a quick run the same for all cases."""
        if not self.quick:
            with self.new_system().up() as system:
                yield system
            return
        if self._shared_system is None:
            self.say("starting Tidegate")
            self._shared_system = self._shared.enter_context(self.new_system().up())
        yield self._shared_system

    @contextmanager
    def system_with(
        self, settings: str, upload: Callable[[Sequence[Path]], object], **variables: str
    ) -> Iterator[TidegateSystem]:
        """A started Tidegate with another landing: a fresh one, in a quick run the shared one begun anew.

        Starting one for the first time takes three times as long, most of it for Prefect's new database.
        """
        if self._shared_system is None:
            system = self.new_system(settings, **variables)
        else:
            self._shared.close()
            system, self._shared_system = self._shared_system, None
            system.set_up_anew(settings, variables)
        system.upload = upload
        with system.up():
            yield system

    @contextmanager
    def system_beside_prefect(self) -> Iterator[tuple[TidegateSystem, PlainPrefect | None]]:
        """Both started, at the same time; plain Prefect only when peers are asked for."""
        with ExitStack() as stack, ThreadPoolExecutor(1) as starting:
            peer = starting.submit(stack.enter_context, self.plain_prefect()) if self.peers else None
            with self.system() as system:
                yield system, peer.result() if peer else None

    @contextmanager
    def plain_prefect(self) -> Iterator[PlainPrefect]:
        """A started plain Prefect; never one that idles beside cases that have no use for it."""
        self.say("starting plain Prefect")
        with PlainPrefect(self.new_folder("prefect")).up() as peer:
            yield peer

    def small_files(self, folder: Path, files: int, rows: int) -> tuple[list[Path], int]:
        """New files of new orders, and the number of the first order."""
        first = self.new_orders(files * rows)
        return orders.write_small_files(folder, first, files, rows), first
