"""doctor: look at everything a pipeline needs, and say what to do about what is wrong."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from tidegate.cli.output import DONE, FAILED, Output, OutputOption, console, explained, print_json
from tidegate.errors import TidegateError

if TYPE_CHECKING:
    from tidegate.operations.running import RunningSystem
    from tidegate.prefect.api import PrefectApi
    from tidegate.settings import Settings

OK, WARN, FAIL = "ok", "warn", "fail"

_SMALL_DISK, _FULL_DISK = 2_000_000_000, 200_000_000


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found."""

    check: str
    #: ok, warn or fail
    state: str
    detail: str
    #: what to do; empty when nothing is to be done
    advice: str = ""


Check = Callable[["Settings"], Iterator[Finding]]


@explained
def doctor(output: OutputOption = Output.TABLE) -> None:
    """Check settings, landing, queue, ledger, warehouse, contracts, server, worker and versions.

    [dim]Example:[/dim]  tidegate doctor

    Each line says ok, warn or fail, and what to do. Exit code 1 when something fails.
    """
    from tidegate.settings import load_settings

    settings = load_settings()
    findings = [Finding("settings", OK, f"{settings.root}, landing {settings.landing or 'a folder'}")]
    for name, check in CHECKS.items():
        findings.extend(_run(name, check, settings))
    if output is Output.JSON:
        print_json(findings)
    else:
        out = console()
        for one in findings:
            out.print(f"{one.state:<4}  {one.check:<12} {one.detail}", soft_wrap=True)
            if one.advice:
                out.print(f"{'':<19}{one.advice}", soft_wrap=True)
    raise typer.Exit(FAILED if any(one.state == FAIL for one in findings) else DONE)


def _run(name: str, check: Check, settings: Settings) -> Iterator[Finding]:
    try:
        yield from check(settings)
    except TidegateError as error:
        yield Finding(name, FAIL, str(error))
    except Exception as error:  # noqa: BLE001 - a check that breaks is a finding, and the others go on
        yield Finding(name, FAIL, f"{type(error).__name__}: {error}", "This should not happen; report it.")


def _versions(_: Settings) -> Iterator[Finding]:
    from importlib.metadata import version

    from tidegate import __version__
    from tidegate.prefect.server import FITTING, misfits

    found = list(misfits())
    if found:
        wanted = " ".join(f"'{name}>={low},<{above}'" for name, (low, above) in FITTING.items())
        yield Finding("versions", FAIL, "; ".join(found), f"Run: python -m pip install {wanted}")
    else:
        told = ", ".join(f"{name} {version(name)}" for name in (*FITTING, "polars", "pandera", "duckdb"))
        yield Finding("versions", OK, f"tidegate {__version__}, Python {sys.version.split()[0]}, {told}")


def _disk(settings: Settings) -> Iterator[Finding]:
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(settings.state_dir).free
    told = f"{free / 1e9:.1f} GB free for {settings.state_dir}"
    if not os.access(settings.state_dir, os.W_OK):
        yield Finding("disk", FAIL, f"{settings.state_dir} can't be written", "Give yourself the right to.")
    elif free < _FULL_DISK:
        yield Finding("disk", FAIL, told, "Make room, or set `state` to a folder on another disk.")
    elif free < _SMALL_DISK:
        yield Finding("disk", WARN, told, "Staged files need room: make some before large uploads.")
    else:
        yield Finding("disk", OK, told)


def _landing(settings: Settings) -> Iterator[Finding]:
    from tidegate.objects import open_store

    store = open_store(settings)
    first = next(iter(store.list()), None)
    held = "holds objects" if first else "is empty"
    folder = settings.landing_dir
    if folder is not None and not os.access(folder, os.W_OK):
        advice = "Files can be taken up, but `tidegate drop` needs the right to write."
        yield Finding("landing", WARN, f"{store.url} {held} and can't be written", advice)
    else:
        yield Finding("landing", OK, f"{store.url} can be listed and {held}")


def _quarantine(settings: Settings) -> Iterator[Finding]:
    from tidegate.ledger import open_ledger, queries
    from tidegate.objects import open_quarantine

    place = open_quarantine(settings)
    next(iter(place.list()), None)
    ledger = open_ledger(settings)
    try:
        missing = len(ledger.ask(queries.unreported))
    finally:
        ledger.close()
    if missing:
        advice = "They are tried every minute while Tidegate runs; its log says what is in the way."
        yield Finding("quarantine", WARN, f"{place.url} lacks {missing} reports", advice)
    else:
        yield Finding("quarantine", OK, f"{place.url} can be listed and lacks no report")


def _queue(settings: Settings) -> Iterator[Finding]:
    if settings.landing_dir is not None:
        return
    if not settings.landing.startswith("s3://") or not settings.sqs.queue_url:
        advice = "For S3 set [sqs] queue_url; else run `tidegate reconcile` after uploads."
        yield Finding("queue", WARN, "nothing tells of uploads; reconcile finds them hourly", advice)
        return
    from tidegate.sources.sqs import SqsSource

    waiting = SqsSource.from_settings(settings).backlog()
    yield Finding("queue", OK, f"{settings.sqs.queue_url} answers; {waiting} messages wait")


def _ledger(settings: Settings) -> Iterator[Finding]:
    from tidegate.ledger import open_ledger, queries

    ledger = open_ledger(settings)
    try:
        yield Finding("ledger", OK, f"{settings.ledger_url}, {ledger.last_seq()} events")
        letters = ledger.ask(queries.dead_letters)
        work = ledger.ask(queries.unfinished)
    finally:
        ledger.close()
    if letters:
        advice = "`tidegate ledger dead-letters` shows them."
        yield Finding("ledger", WARN, f"{len(letters)} messages could not be read", advice)
    if failed := work.get("failed"):
        advice = "See `tidegate objects --state failed`; retry the run, or `tidegate backfill run`."
        yield Finding("ledger", WARN, f"{failed} objects failed", advice)


def _contracts(settings: Settings) -> Iterator[Finding]:
    from tidegate.contracts.registry import load_registry
    from tidegate.contracts.snapshots import Snapshots
    from tidegate.operations.contract_check import check

    registry = load_registry(settings.contracts, settings.root)
    found = sorted(contract.name for contract in registry)
    problems = [
        problem
        for contract in (check(registry, Snapshots.of_package(settings.contracts)) if found else ())
        for problem in (*contract.problems, *contract.warnings)
    ]
    for problem in problems:
        yield Finding("contracts", WARN, problem, "`tidegate contracts check` tells the same.")
    if problems:
        return
    if found:
        yield Finding("contracts", OK, f"{len(found)} in {settings.contracts}: {', '.join(found)}")
    else:
        advice = "Add a file with a Contract; until then every upload is unmatched."
        yield Finding("contracts", WARN, f"none in {settings.contracts}", advice)


def _warehouse(settings: Settings) -> Iterator[Finding]:
    from tidegate.errors import WarehouseLockedError
    from tidegate.warehouse import open_warehouse

    if not settings.warehouse_path.exists():
        yield Finding("warehouse", OK, f"{settings.warehouse_path} is made by the first load")
        return
    impatient = settings.warehouse.model_copy(update={"lock_timeout_seconds": 0.5})
    try:
        open_warehouse(settings.model_copy(update={"warehouse": impatient})).query("SELECT 1")
    except WarehouseLockedError as error:
        advice = "Loads wait for it; close what holds it if that is not a load of Tidegate's own."
        yield Finding("warehouse", WARN, str(error), advice)
    else:
        yield Finding("warehouse", OK, str(settings.warehouse_path))


def _system(settings: Settings) -> Iterator[Finding]:
    from tidegate.operations.running import running

    system = running(settings)
    if system is None:
        yield Finding("system", WARN, "does not run", "Start it with `tidegate up`.")
        return
    for process in system.processes:
        told = f"{process.name} {process.state}"
        if process.state == "running":
            yield Finding("system", OK, f"{told}, pid {process.pid}, restarts: {process.restarts}")
        else:
            state = FAIL if process.state == "failing" else WARN
            yield Finding("system", state, f"{told}: {process.detail}", f"Its log: {process.log}")
    import asyncio

    yield from asyncio.run(_server(settings, system))


async def _server(settings: Settings, system: RunningSystem) -> list[Finding]:
    from tidegate.prefect.api import PrefectApi

    api = PrefectApi(system.api_url, timeout=5.0)
    try:
        await api.check_health()
        version = await api.version()
        found = [Finding("server", OK, f"Prefect {version} at {system.api_url}; UI {system.ui_url}")]
        return [*found, await _worker(settings, api), await _deployments(settings, api)]
    finally:
        await api.close()


async def _worker(settings: Settings, api: PrefectApi) -> Finding:
    from tidegate.prefect.programs import WORKER_NAME

    pool = settings.prefect.work_pool
    worker = await api.worker(pool, WORKER_NAME)
    if worker is None or worker["status"] != "ONLINE":
        return Finding("worker", FAIL, f"none is online in pool {pool}", "See .tidegate/logs/worker.log.")
    return Finding("worker", OK, f"online in pool {pool}, last sign {worker['last_heartbeat_time']}")


async def _deployments(settings: Settings, api: PrefectApi) -> Finding:
    found = await api.deployments()
    strangers = [one["name"] for one in found if one["work_pool_name"] != settings.prefect.work_pool]
    if not any(one["name"] == "live" for one in found):
        advice = (
            "Declare ingest/live in prefect.yaml; without it nothing is loaded. Then `tidegate up` again."
        )
        return Finding("deployments", FAIL, "ingest/live is not registered", advice)
    if strangers:
        advice = "Nobody runs them here: name the pool of [prefect] work_pool in prefect.yaml."
        return Finding("deployments", WARN, f"in another work pool: {', '.join(strangers)}", advice)
    return Finding("deployments", OK, f"{len(found)} registered")


CHECKS: dict[str, Check] = {
    "versions": _versions,
    "disk": _disk,
    "landing": _landing,
    "quarantine": _quarantine,
    "queue": _queue,
    "ledger": _ledger,
    "contracts": _contracts,
    "warehouse": _warehouse,
    "system": _system,
}
