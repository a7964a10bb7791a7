"""The few calls to a Prefect server that `tidegate up` and `doctor` make, without Prefect's client.

Importing Prefect costs a second and 80 MB, which a supervisor that only watches need not spend.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import ssl
import sys
from typing import TYPE_CHECKING, Any

import httpx

from tidegate.errors import ServerUnavailableError, SettingsError
from tidegate.prefect.environment import python_path

if TYPE_CHECKING:
    from tidegate.settings import Settings

#: The type of work pool that `tidegate up` runs a worker for.
POOL_TYPE = "process"
_LOOK_SECONDS = 0.1
_TRUE = ("1", "true", "yes", "on", "t", "y")


class PrefectApi:
    """A connection to one server. Every call raises ServerUnavailableError when it fails."""

    def __init__(self, api_url: str, *, timeout: float = 10.0) -> None:
        self.api_url = api_url
        self._client = httpx.AsyncClient(
            base_url=api_url.rstrip("/"), headers=_headers(), verify=_verify(), timeout=timeout
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def check_health(self) -> None:
        """Return when the server answers for itself and its database."""
        await self._call("GET", "/ready" if _is_open_source(self.api_url) else "/health")

    async def version(self) -> str:
        return str(await self._call("GET", "/admin/version"))

    async def wait_until_healthy(self, seconds: float) -> None:
        """Return as soon as the server is healthy; raises what was wrong last after `seconds`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while True:
            try:
                await self.check_health()
            except ServerUnavailableError:
                if loop.time() > deadline:
                    raise
                # A server that boots can't tell that it is there; only asking finds out.
                await asyncio.sleep(_LOOK_SECONDS)
            else:
                return

    async def ensure_pool(self, settings: Settings) -> None:
        """Make the work pool, or bring its defaults for this project up to date."""
        name = settings.prefect.work_pool
        pool = await self._call("GET", f"/work_pools/{name}", missing=None)
        if pool is None:
            body = {"name": name, "type": POOL_TYPE, "base_job_template": job_template(settings, None)}
            await self._call("POST", "/work_pools/", json=body)
            return
        if pool["type"] != POOL_TYPE:
            msg = (
                f"The work pool {name!r} is of type {pool['type']!r}, and `tidegate up` runs a worker of "
                f"type {POOL_TYPE!r}. Name another one in [prefect] work_pool."
            )
            raise SettingsError(msg)
        template = job_template(settings, pool["base_job_template"])
        if template != pool["base_job_template"]:
            await self._call("PATCH", f"/work_pools/{name}", json={"base_job_template": template})

    async def worker(self, pool: str, name: str) -> dict[str, Any] | None:
        """What the server knows of a worker; None when it never heard of it."""
        found = await self._call("POST", f"/work_pools/{pool}/workers/filter", json={}, missing=[])
        return next((one for one in found if one["name"] == name), None)

    async def wait_for_worker(self, pool: str, name: str, seen: str | None) -> None:
        """Return when the worker is online and has given a sign after `seen`."""
        while True:
            worker = await self.worker(pool, name)
            if worker and worker["status"] == "ONLINE" and worker["last_heartbeat_time"] != seen:
                return
            await asyncio.sleep(_LOOK_SECONDS)

    async def deployments(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await self._call("POST", "/deployments/filter", json={})
        return found

    async def _call(self, method: str, path: str, **options: Any) -> Any:
        """The answer's JSON. 404 gives `missing`, if that was passed."""
        has_default, default = "missing" in options, options.pop("missing", None)
        try:
            answer = await self._client.request(method, path, **options)
            # A busy SQLite answers 503 for a moment, first of all while the server starts.
            for pause in (0.1, 0.2, 0.4, 0.8, 1.6):
                if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE or method == "GET":
                    break
                await asyncio.sleep(pause)
                answer = await self._client.request(method, path, **options)
            if answer.status_code == httpx.codes.NOT_FOUND and has_default:
                return default
            answer.raise_for_status()
            return answer.json()
        except httpx.HTTPError as error:
            msg = f"The Prefect server at {self.api_url} did not answer {method} {path}: {_reason(error)}"
            raise ServerUnavailableError(msg) from error
        except ValueError as error:
            msg = f"{self.api_url} is not a Prefect server: {method} {path} gave no JSON."
            raise ServerUnavailableError(msg) from error


def job_template(settings: Settings, existing: dict[str, Any] | None) -> dict[str, Any]:
    """A process pool's template whose runs start in the project's folder with this Python.

    Everything else in an `existing` template stays as a person left it.
    """
    template = json.loads(json.dumps(existing)) if existing else _blank_template()
    properties = template["variables"]["properties"]
    # With a command Prefect starts one interpreter a run instead of two.
    properties["command"]["default"] = f"{sys.executable} -m prefect.engine"
    properties["working_dir"]["default"] = str(settings.root)
    environment = properties["env"].setdefault("default", {})
    environment["PYTHONPATH"] = python_path(settings)
    return dict(template)


def _blank_template() -> dict[str, Any]:
    names = ("command", "env", "labels", "name", "stream_output", "working_dir")
    texts = {"type": "object", "additionalProperties": {"type": "string"}}
    return {
        "job_configuration": {name: f"{{{{ {name} }}}}" for name in names},
        "variables": {
            "type": "object",
            "properties": {
                "name": {"title": "Name", "type": "string"},
                "env": {**texts, "title": "Environment Variables"},
                "labels": {**texts, "title": "Labels"},
                "command": {"title": "Command", "type": "string"},
                "stream_output": {"title": "Stream Output", "type": "boolean", "default": True},
                "working_dir": {"title": "Working Directory", "type": "string"},
            },
        },
    }


def _headers() -> dict[str, str]:
    """The credentials in PREFECT_… variables, as Prefect's own client sends them."""
    headers: dict[str, str] = json.loads(os.environ.get("PREFECT_CLIENT_CUSTOM_HEADERS") or "{}")
    if key := os.environ.get("PREFECT_API_KEY"):
        headers["Authorization"] = f"Bearer {key}"
    elif pair := os.environ.get("PREFECT_API_AUTH_STRING"):
        headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    return headers


def _verify() -> ssl.SSLContext | bool:
    if os.environ.get("PREFECT_API_TLS_INSECURE_SKIP_VERIFY", "").lower() in _TRUE:
        return False
    certificate = os.environ.get("PREFECT_API_SSL_CERT_FILE")
    return ssl.create_default_context(cafile=certificate) if certificate else True


def _is_open_source(api_url: str) -> bool:
    return "/accounts/" not in api_url


def _reason(error: httpx.HTTPError) -> str:
    if isinstance(error, httpx.HTTPStatusError):
        return f"{error.response.status_code} {error.response.text[:300]}"
    return str(error) or type(error).__name__
