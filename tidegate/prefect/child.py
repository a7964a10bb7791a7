"""Run a module as ``python -m`` would, as a child that does not outlive `tidegate up`.

``python -m tidegate.prefect.child [--gate] [--preload MODULE]… MODULE ARGUMENT…``

With ``--gate`` the module starts when a line comes on stdin; until then the preloaded modules
are imported, so that a child that has to wait for another has its imports behind it. When stdin
ends without a line the child ends too.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib
import os
import runpy
import signal
import sys

#: prctl(2): the signal to get when the parent dies.
_PR_SET_PDEATHSIG = 1


def main(words: list[str]) -> None:
    """Prepare the process and hand it over to the module."""
    parser = argparse.ArgumentParser(prog="tidegate.prefect.child")
    parser.add_argument("--parent", type=int, default=0)
    parser.add_argument("--gate", action="store_true")
    parser.add_argument("--preload", action="append", default=[])
    parser.add_argument("module")
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    asked = parser.parse_args(words)
    _follow(asked.parent)
    # A shell starts background jobs with SIGINT ignored, and Prefect's worker stops by SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in asked.preload:
        importlib.import_module(name)
    if asked.gate:
        _wait_at_gate()
    sys.argv[1:] = asked.arguments
    runpy.run_module(asked.module, run_name="__main__", alter_sys=True)


def _follow(parent: int) -> None:
    """Get SIGTERM when `parent`, which started this process, dies."""
    if not parent or sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        # It died before the call; nobody would tell.
        sys.exit(1)


def _wait_at_gate() -> None:
    if not sys.stdin.readline():
        sys.exit(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, sys.stdin.fileno())
    os.close(nothing)


if __name__ == "__main__":
    main(sys.argv[1:])
