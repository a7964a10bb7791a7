"""The work pool of a project: of type `warm`, with defaults that fit this project.

Prefect is not imported: what the pool's form holds comes as a file with `prefect_warm`.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from tidegate.errors import SettingsError
from tidegate.prefect.environment import python_path
from tidegate.settings import FILE_NAME

if TYPE_CHECKING:
    from tidegate.prefect.api import PrefectApi
    from tidegate.settings import Settings

#: The type of worker that `tidegate up` runs.
POOL_TYPE = "warm"
#: What earlier versions made. A pool's type can't be changed, and with a pool its queues go, on which
#: runs wait and are retried: so such a pool stays, and the warm worker serves it.
_EARLIER_TYPE = "process"
#: How a process pool of an earlier version started its runs; a warm child takes no command.
_EARLIER_COMMAND = "-m prefect.engine"
#: Imported by each child before its first run; it prepares the project there.
_PRELOAD = ["tidegate.prefect.warm_up"]
#: How long a run may go on when the system stops, unless a person has set the pool otherwise.
GRACE_SECONDS = 20.0


async def ensure_pool(api: PrefectApi, settings: Settings) -> dict[str, Any]:
    """Make the work pool, or bring its defaults for this project up to date; its template."""
    name = settings.prefect.work_pool
    pool = await api.call("GET", f"/work_pools/{name}", missing=None)
    if pool is None:
        template = job_template(settings, None)
        body = {"name": name, "type": POOL_TYPE, "base_job_template": template}
        await api.call("POST", "/work_pools/", json=body)
        return template
    if pool["type"] not in (POOL_TYPE, _EARLIER_TYPE):
        msg = (
            f"The work pool {name!r} is of type {pool['type']!r}, and `tidegate up` runs a worker of "
            f"type {POOL_TYPE!r}. Name another one in [prefect] work_pool, and in prefect.yaml."
        )
        raise SettingsError(msg)
    template = job_template(settings, pool["base_job_template"])
    if template != pool["base_job_template"]:
        await api.call("PATCH", f"/work_pools/{name}", json={"base_job_template": template})
    return template


def job_template(settings: Settings, existing: dict[str, Any] | None) -> dict[str, Any]:
    """A warm pool's template whose children work in the project's folder with its code.

    Everything else in an `existing` template stays as a person left it.
    """
    blank = json.loads(files("prefect_warm").joinpath("base_job_template.json").read_text("utf-8"))
    blank["variables"]["properties"]["grace_seconds"]["default"] = GRACE_SECONDS
    template: dict[str, Any] = json.loads(json.dumps(existing)) if existing else blank
    properties = template["variables"]["properties"]
    for name, form in blank["variables"]["properties"].items():
        properties.setdefault(name, form)
        template["job_configuration"].setdefault(name, f"{{{{ {name} }}}}")
    if str(properties["command"].get("default") or "").endswith(_EARLIER_COMMAND):
        properties["command"]["default"] = None
    properties["working_dir"]["default"] = str(settings.root)
    properties["preload"]["default"] = _PRELOAD
    properties["watch"]["default"] = watched_files(settings)
    environment = properties["env"].setdefault("default", {})
    environment["PYTHONPATH"] = python_path(settings)
    return template


def watched_files(settings: Settings) -> list[str]:
    """Patterns of files, below the project's folder, after a change of which processes begin anew."""
    return [FILE_NAME, f"{settings.contracts.replace('.', '/')}/**/*.py"]


def grace_seconds(template: dict[str, Any]) -> float:
    """How long the pool lets runs go on after the worker was told to stop."""
    return float(template["variables"]["properties"]["grace_seconds"].get("default", GRACE_SECONDS))
