"""The program of a warm child: imports first, then runs flow runs one after another.

``python -m prefect_warm.child --channel FD [--preload MODULE]… [--watch PATTERN]…``

Both ends speak lines of JSON over the socket FD. The worker says ``{"run": ID, "variables": {…},
"flow_run": {…}, "deployment": {…}}``, ``{"cancel": ID}`` and ``{"suspend": ID, "state": {…}}``. The
child says ``{"ready": true}``, then for each run ``{"begun": ID}`` and ``{"ended": ID, "code": 0,
"memory": BYTES}``, or ``{"stale": ID}`` when it has not run it because its code is no longer what is on
disk. A child that says stale, or a code other than 0, ends after it. When the worker's end closes, the
child ends; a run that it has then is ended as by SIGTERM.

A preloaded module may have a function ``warm_up`` that makes an iterator. Its first step is taken before
the first run, the others whenever there is nothing to run.
"""

from __future__ import annotations

import argparse
import asyncio
import contextvars
import gc
import importlib
import inspect
import itertools
import json
import os
import queue
import resource
import signal
import socket
import sys
import threading
from typing import TYPE_CHECKING, Any

from prefect_warm.loading import load
from prefect_warm.sources import Sources

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from prefect.client.schemas.objects import FlowRun
    from prefect.flows import Flow

_NO_STEP = object()
#: How often an idle child looks whether its code is still that on disk.
_LOOK_SECONDS = 2.0
#: How long a child whose worker is gone may take to end by itself.
_ORPHAN_SECONDS = 3.0


class Channel:
    """The child's end: commands are queued, a cancel takes effect at once."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        # A program that a flow starts must not hold the worker's line.
        self._socket.set_inheritable(False)
        self._runs: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.current: str | None = None
        self.cancelled: set[str] = set()
        threading.Thread(target=self._listen, name="warm-channel", daemon=True).start()

    def say(self, **message: object) -> None:
        try:
            self._socket.sendall(json.dumps(message).encode() + b"\n")
        except BrokenPipeError:
            return  # the worker is gone; reading tells so too

    def next(self, seconds: float) -> dict[str, Any] | None:
        """The next run's command, None when there will be none; queue.Empty after `seconds`."""
        return self._runs.get(timeout=seconds) if seconds else self._runs.get_nowait()

    def _listen(self) -> None:
        self._take_commands()
        self._runs.put(None)
        # Only a worker that was killed leaves while a run is at work: nobody would report that
        # run's end or watch its child, so the run is ended and says so itself.
        if self.current is not None:
            os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait(_ORPHAN_SECONDS)
        os.killpg(0, signal.SIGKILL)

    def _take_commands(self) -> None:
        with self._socket.makefile("rb") as lines:
            for line in lines:
                message = json.loads(line)
                if "run" in message:
                    self._runs.put(message)
                    continue
                if "suspend" in message:
                    from prefect_warm.suspension import suspend

                    suspend(message["suspend"], message["state"])
                    continue
                self.cancelled.add(message["cancel"])
                if message["cancel"] == self.current:
                    _cancel_this_process()


def _cancel_this_process() -> None:
    """End the run as Prefect's own process worker does: the intent first, then SIGTERM.

    With the intent the engine runs the flow's `on_cancellation` hooks and ends it as Cancelled;
    the bare signal would make it Crashed.
    """
    from prefect._internal import control_listener

    control_listener._set_intent("cancel")  # noqa: SLF001 - the public way needs a runner's socket
    os.kill(os.getpid(), signal.SIGTERM)


def main(words: list[str]) -> int:
    """Serve the channel until it closes, the code on disk changes or a run ends the process."""
    parser = argparse.ArgumentParser(prog="prefect_warm.child")
    parser.add_argument("--channel", type=int, required=True)
    parser.add_argument("--preload", action="append", default=[])
    parser.add_argument("--watch", action="append", default=[])
    asked = parser.parse_args(words)
    sources = Sources(asked.watch)
    channel = Channel(asked.channel)
    for name in ("prefect.flow_engine", "prefect.deployments.steps.core"):
        importlib.import_module(name)
    preloaded = [importlib.import_module(name) for name in asked.preload]
    from prefect.context import SyncClientContext
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    from prefect_warm.suspension import hear_from_worker

    hear_from_worker()
    # The heartbeat's thread holds a sync flow's process for up to a second at its end, and the
    # worker watches this process anyway. One client for all runs: making one takes 50 ms.
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}), SyncClientContext.get_or_create():
        steps = [module.warm_up() for module in preloaded if hasattr(module, "warm_up")]
        for step in steps:
            next(step, None)
        sources.changed()
        channel.say(ready=True)
        return _work(channel, sources, itertools.chain.from_iterable(steps))


def _work(channel: Channel, sources: Sources, steps: Iterator[None]) -> int:
    has_steps = True
    while True:
        try:
            command = channel.next(0 if has_steps else _LOOK_SECONDS)
        except queue.Empty:
            if has_steps:
                has_steps = next(steps, _NO_STEP) is not _NO_STEP
                if not has_steps:
                    _keep_what_is_there()
            elif sources.changed():
                return 0
            continue
        if command is None:
            return 0
        if sources.changed():
            channel.say(stale=command["run"])
            return 0
        channel.say(begun=command["run"])
        code = _serve(channel, sources, command)
        if code is None:
            return 0
        channel.say(ended=command["run"], code=code, memory=memory_in_use())
        if code:
            return code


def _keep_what_is_there() -> None:
    """Leave what is imported by now to no garbage collection: one that looks at it all takes 160 ms."""
    gc.collect()
    gc.freeze()


def _serve(channel: Channel, sources: Sources, command: dict[str, Any]) -> int | None:
    """The run's exit code; None when it was not begun, as the code is stale."""
    variables, folder = dict(os.environ), os.getcwd()  # noqa: PTH109
    channel.current = command["run"]
    if channel.current in channel.cancelled:
        return 128 + signal.SIGTERM
    try:
        # A copy of the context: what a run sets in context variables must not reach the next.
        return contextvars.copy_context().run(_run, channel, sources, command)
    finally:
        channel.current = None
        os.chdir(folder)
        _restore_environment(variables)


def _run(channel: Channel, sources: Sources, command: dict[str, Any]) -> int | None:
    from prefect.client.schemas.objects import FlowRun
    from prefect.exceptions import Abort, Pause, TerminationSignal
    from prefect.logging.loggers import flow_run_logger

    os.environ.update(command["variables"])
    flow_run = FlowRun.model_validate(command["flow_run"])
    logger = flow_run_logger(flow_run)
    try:
        flow = load(flow_run, command["deployment"])
    except Exception:
        logger.exception("The flow could not be loaded")
        return 1
    if sources.changed():
        channel.say(stale=command["run"])
        return None
    try:
        _engine(flow, flow_run)
    except (Abort, Pause) as end:
        logger.info("The run did not go on: %s", type(end).__name__)
    except TerminationSignal:
        # The engine has reported the run's end; the process is no longer trusted.
        return 128 + signal.SIGTERM
    except Exception:
        logger.exception("The flow engine failed")
        return 1
    return 0


def _engine(flow: Flow[..., Any], flow_run: FlowRun) -> None:
    from prefect.flow_engine import run_flow

    if flow.isgenerator:
        _drain(run_flow(flow, flow_run=flow_run))
        return
    result = run_flow(flow, flow_run=flow_run, return_type="state")
    if inspect.iscoroutine(result):
        asyncio.run(result)


def _drain(generator: Any) -> None:
    if inspect.isasyncgen(generator):

        async def drain() -> None:
            async for _ in generator:
                pass

        asyncio.run(drain())
        return
    for _ in generator:
        pass


def _restore_environment(variables: Mapping[str, str]) -> None:
    for name in set(os.environ) - set(variables):
        del os.environ[name]
    for name, value in variables.items():
        if os.environ.get(name) != value:
            os.environ[name] = value


def memory_in_use() -> int:
    """Bytes of memory that this process holds now; where the system does not say, the most it ever held."""
    try:
        with open("/proc/self/statm", encoding="ascii") as statm:  # noqa: PTH123
            return int(statm.read().split()[1]) * resource.getpagesize()
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
