"""The few calls to a Prefect server that `tidegate up` and `doctor` make, without Prefect's client.

Importing Prefect costs a second and 80 MB, which a supervisor that only watches need not spend.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import ssl
from typing import Any

import httpx

from tidegate.errors import ServerUnavailableError

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
        await self.call("GET", "/ready" if _is_open_source(self.api_url) else "/health")

    async def version(self) -> str:
        return str(await self.call("GET", "/admin/version"))

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

    async def worker(self, pool: str, name: str) -> dict[str, Any] | None:
        """What the server knows of a worker; None when it never heard of it."""
        found = await self.call("POST", f"/work_pools/{pool}/workers/filter", json={}, missing=[])
        return next((one for one in found if one["name"] == name), None)

    async def wait_for_worker(self, pool: str, name: str, seen: str | None) -> None:
        """Return when the worker is online and has given a sign after `seen`."""
        while True:
            worker = await self.worker(pool, name)
            if worker and worker["status"] == "ONLINE" and worker["last_heartbeat_time"] != seen:
                return
            await asyncio.sleep(_LOOK_SECONDS)

    async def deployments(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await self.call("POST", "/deployments/filter", json={})
        return found

    async def call(self, method: str, path: str, **options: Any) -> Any:
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
            return answer.json() if answer.content else None
        except httpx.HTTPError as error:
            msg = f"The Prefect server at {self.api_url} did not answer {method} {path}: {_reason(error)}"
            raise ServerUnavailableError(msg) from error
        except ValueError as error:
            msg = f"{self.api_url} is not a Prefect server: {method} {path} gave no JSON."
            raise ServerUnavailableError(msg) from error


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
