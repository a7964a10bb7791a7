"""The environment of every process that speaks with Prefect.

A person's own Prefect profile, home and variables are neither read nor written: all PREFECT_…
variables are dropped but those that say how to reach a server that is not ours.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tidegate.settings import Settings

#: How a person tells Prefect's clients to reach and trust a server.
_CONNECTION = ("PREFECT_API_", "PREFECT_CLOUD_", "PREFECT_CLIENT_")


def prefect_home(settings: Settings) -> Path:
    return settings.state_dir.resolve() / "prefect"


def prefect_environment(settings: Settings, api_url: str) -> dict[str, str]:
    """The whole environment for a process of this project that uses the server at `api_url`."""
    external = settings.prefect_api_url is not None
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PREFECT_") or (external and name.startswith(_CONNECTION))
    }
    return {**kept, **prefect_variables(settings, api_url), "PYTHONPATH": python_path(settings)}


def python_path(settings: Settings) -> str:
    """The project's folder first, so that ``flows``, ``tasks`` and the contracts can be imported."""
    inherited = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    paths = [str(settings.root), *(os.path.abspath(path) for path in inherited if path)]  # noqa: PTH100
    return os.pathsep.join(dict.fromkeys(paths))


def prefect_variables(settings: Settings, api_url: str) -> dict[str, str]:
    """The PREFECT_… variables that a client of this project needs."""
    home = prefect_home(settings)
    return {
        "DO_NOT_TRACK": "1",
        "PREFECT_HOME": str(home),
        "PREFECT_PROFILES_PATH": str(home / "profiles.toml"),
        "PREFECT_API_URL": api_url,
        # Without it a client that misses its server starts one of its own, silently.
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_TELEMETRY_ENABLE_RESOURCE_METRICS": "false",
        "PREFECT_CLI_COLORS": "false",
        "PREFECT_CLI_PROMPT": "false",
        "PREFECT_LOGGING_COLORS": "false",
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
        # A retry from the UI resumes at the failed stage only when results are kept; JSON keeps
        # them readable, and running nothing when they are read.
        "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "true",
        "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
        "PREFECT_RESULTS_LOCAL_STORAGE_PATH": str(home / "results"),
        "PREFECT_WORKER_QUERY_SECONDS": str(settings.prefect.poll_seconds),
    }


def server_variables(settings: Settings, port: int) -> dict[str, str]:
    """What the embedded server needs besides: one node, SQLite, no broker of its own."""
    home = prefect_home(settings)
    return {
        "PREFECT_SERVER_API_HOST": "127.0.0.1",
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{home / 'prefect.db'}",
        "PREFECT_SERVER_EVENTS_MESSAGING_BROKER": "prefect.server.utilities.messaging.memory",
        "PREFECT_SERVER_EVENTS_MESSAGING_CACHE": "prefect.server.utilities.messaging.memory",
        # In memory, a restarted server would end runs that hold a slot.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "50",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
        "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "200",
        "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": "1",
        "PREFECT_SERVER_EVENTS_RETENTION_PERIOD": "3d",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
        "PREFECT_SERVER_DEPLOYMENTS_CONCURRENCY_SLOT_WAIT_SECONDS": "2",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    }


def prepare_home(settings: Settings) -> None:
    """Make Prefect's folder, with a profile that sets nothing: the default one would."""
    home = prefect_home(settings)
    home.mkdir(parents=True, exist_ok=True)
    profiles = home / "profiles.toml"
    if not profiles.exists():
        profiles.write_text('active = "tidegate"\n\n[profiles.tidegate]\n')
