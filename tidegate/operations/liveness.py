"""Whether the process behind a claim still lives, and keeping one's own claim alive."""

from __future__ import annotations

import logging
import os
import socket
import threading
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from tidegate import clock
from tidegate.errors import LedgerUnavailableError
from tidegate.ledger import Owner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tidegate.ledger import Ledger
    from tidegate.ledger.claims import Lease

log = logging.getLogger(__name__)


@cache
def this_host() -> str:
    """This machine since its last boot: pids of before mean nothing."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    boot_id = boot.read_text().strip() if boot.exists() else str(int(psutil.boot_time()))
    return f"{socket.gethostname()}/{boot_id}"


def this_process() -> Owner:
    """The process that runs this, as an owner of claims."""
    return Owner(host=this_host(), pid=os.getpid(), pid_started=psutil.Process().create_time())


def is_dead(lease: Lease, lease_seconds: float) -> str | None:
    """Why the claim's owner is taken for dead; None while it may live."""
    owner = lease.owner
    if has_ended(owner):
        return f"The process {owner.pid} that ran it has ended."
    silent = clock.now() - lease.heartbeat_at
    if silent > timedelta(seconds=lease_seconds):
        return (
            f"The process {owner.pid} on {owner.host.partition('/')[0]} gave no sign for {silent.seconds} s."
        )
    return None


def has_ended(owner: Owner) -> bool:
    """True when the process was one of this machine and is gone."""
    return owner.host == this_host() and not _runs(owner)


def _runs(owner: Owner) -> bool:
    try:
        process = psutil.Process(owner.pid)
        same = abs(process.create_time() - owner.pid_started) < 1.0
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@contextmanager
def keeping_claim(ledger: Ledger, flow_run_id: str, lease_seconds: float) -> Iterator[None]:
    """Renew the lease from a thread while the block runs, whatever the block does meanwhile."""
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(lease_seconds / 6):
            try:
                if not ledger.heartbeat(flow_run_id):
                    # The load looks again before it commits; nothing is to be done here.
                    return
            except LedgerUnavailableError as error:
                log.warning("heartbeat missed: %s", error, extra={"action": "heartbeat_missed"})

    thread = threading.Thread(target=beat, name=f"claim-{flow_run_id[:8]}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
