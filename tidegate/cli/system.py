"""up and down: the whole system, started and stopped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidegate.cli.output import DONE, FAILED, Output, OutputOption, console, explained, print_json
from tidegate.errors import TidegateError, UsageError

if TYPE_CHECKING:
    import psutil

    from tidegate.operations.running import RunningSystem
    from tidegate.settings import Settings

#: Seconds that `down` gives the supervisor: the sum of what it gives its processes, and some more.
_DOWN_SECONDS = 75.0

#: Seconds in which another `up` that holds the lock must tell where it runs.
_TELLS_SECONDS = 10.0

DetachOption = Annotated[
    bool, typer.Option("--detach", "-d", help="Return when everything works, and leave it running.")
]


@explained
def up(detach: DetachOption = False, output: OutputOption = Output.TABLE) -> None:
    """Start everything: Prefect server and UI, sources, dispatcher, worker, deployments.

    [dim]Example:[/dim]  tidegate up            (Ctrl-C stops it)
    [dim]Example:[/dim]  tidegate up --detach   (tidegate down stops it)

    With an API address in the setting prefect.api_url or in PREFECT_API_URL, that server is used
    and none is started. Logs are in .tidegate/logs.
    """
    from tidegate.operations.running import running
    from tidegate.settings import load_settings

    settings = load_settings()
    if output is Output.JSON and not detach:
        msg = "`--output json` goes with `up --detach`: in the foreground `up` prints no document."
        raise UsageError(msg)
    system = running(settings)
    if system is not None:
        _tell_already(_when_ready(settings, system), output)
    elif detach:
        _up_detached(settings, output)
    else:
        from tidegate.cli.live import up_in_foreground

        raise typer.Exit(up_in_foreground(settings))


@explained
def down(output: OutputOption = Output.TABLE) -> None:
    """Stop everything that `tidegate up` started. Runs at work get 20 seconds to end.

    [dim]Example:[/dim]  tidegate down
    """
    from tidegate.operations.running import find_process, last_known, project_mark, sweep
    from tidegate.settings import load_settings

    settings = load_settings()
    system = last_known(settings)
    supervisor = find_process(system.pid, system.pid_started) if system else None
    if supervisor is not None:
        with console(stderr=True).status("Stopping"):
            _stop(supervisor)
    left = sweep(project_mark(settings))
    if system is not None and supervisor is None:
        from tidegate.operations.running import forget

        forget(settings)
    if output is Output.JSON:
        print_json({"stopped": supervisor is not None, "left_over_processes": left})
    elif supervisor is not None:
        console().print("Stopped.")
    elif left:
        console().print(f"Tidegate was not running; ended {left} processes that it had left behind.")
    else:
        console().print("Nothing runs here.")


def _stop(supervisor: psutil.Process) -> None:
    """Ask the supervisor to stop and see it gone; end it when it does not listen."""
    import psutil

    from tidegate.operations.running import wait_until_gone

    try:
        supervisor.terminate()
        if wait_until_gone([supervisor], _DOWN_SECONDS):
            # Its processes get SIGTERM when it dies, and the sweep ends what is left.
            supervisor.kill()
            wait_until_gone([supervisor], 5)
    except psutil.NoSuchProcess:
        return


def _up_detached(settings: Settings, output: Output) -> None:
    from tidegate.operations.running import log_dir, running, wait_until_written
    from tidegate.prefect.environment import python_path
    from tidegate.prefect.processes import rotate

    log = log_dir(settings) / "supervisor.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    rotate(log)
    reading, writing = os.pipe()
    with log.open("ab") as file:
        supervisor = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [
                *(sys.executable, "-m", "tidegate.prefect.supervisor"),
                *("--root", str(settings.root), "--report-to", str(writing)),
            ],
            cwd=settings.root,
            env=os.environ | {"PYTHONPATH": python_path(settings)},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            pass_fds=(writing,),
            start_new_session=True,
        )
    os.close(writing)
    try:
        last = _follow(reading)
    except KeyboardInterrupt:
        supervisor.terminate()
        supervisor.wait()
        typer.echo("Stopped.", err=True)
        raise typer.Exit(FAILED) from None
    # Who is first holds the lock a moment before it tells where it runs.
    already = last.get("kind") == "already"
    system = wait_until_written(settings, _TELLS_SECONDS) if already else running(settings)
    if already and system is not None:
        _tell_already(_when_ready(settings, system), output)
    elif last.get("kind") == "ready" and system is not None:
        _tell(system, output, already=False)
    else:
        # It has told why, and ends when it has cleaned up.
        supervisor.wait(_DOWN_SECONDS)
        raise TidegateError(_failure(last, log))


def _follow(reading: int) -> dict[str, str]:
    """Show how the start goes; the last thing that was told: ready, already, failed or nothing."""
    last: dict[str, str] = {}
    out = console(stderr=True)
    with os.fdopen(reading) as lines, out.status("Starting") as status:
        for line in lines:
            told: dict[str, str] = json.loads(line)
            if told["kind"] in ("ready", "already", "failed"):
                return told
            last = told
            if out.is_terminal:
                status.update(told["text"])
            else:
                out.print(told["text"])
    return last


def _failure(told: dict[str, str], log: Any) -> str:
    from tidegate.prefect.processes import tail

    if told.get("kind") != "failed":
        return f"The supervisor ended without a word. Its log, {log}, ends with:\n{tail(log)}"
    shown = f"\nThe log ends with:\n{told['tail']}" if told["tail"] else ""
    return f"Tidegate could not be started: {told['text']}{shown}"


def _when_ready(settings: Settings, system: RunningSystem) -> RunningSystem:
    """The system once it has finished starting (another `up` may be at it just now)."""
    from tidegate.operations.running import wait_until_ready

    if system.state == "starting":
        with console(stderr=True).status("Another `tidegate up` is starting it"):
            found = wait_until_ready(settings)
        if found is None:
            raise TidegateError("The other `tidegate up` could not start it. See .tidegate/logs.")
        return found
    return system


def _tell_already(system: RunningSystem, output: Output) -> None:
    _tell(system, output, already=True)


def _tell(system: RunningSystem, output: Output, *, already: bool) -> None:
    if output is Output.JSON:
        print_json(
            {
                "already_running": already,
                "state": system.state,
                "api_url": system.api_url,
                "ui_url": system.ui_url,
                "pid": system.pid,
                "started_at": system.started_at,
                "processes": list(system.processes),
            }
        )
        raise typer.Exit(DONE)
    begin = "Tidegate is running already." if already else "Tidegate is running."
    console().print(f"{begin} Prefect UI: {system.ui_url}")
    for one in system.failing:
        console().print(f"{one.name} {one.detail}, again and again. Log: {one.log}")
