"""A port of its own, parts that fit, an environment without the person's own Prefect, the few calls."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pytest

from tidegate.errors import ServerUnavailableError, SettingsError
from tidegate.prefect import server
from tidegate.prefect.api import PrefectApi
from tidegate.prefect.deployments import Deployments
from tidegate.prefect.environment import prefect_environment, prepare_home, server_variables
from tidegate.prefect.pool import ensure_pool, grace_seconds, job_template
from tidegate.settings import Settings, load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        monkeypatch.delenv(name)
    (tmp_path / "tidegate.toml").touch()
    return load_settings(tmp_path)


# -- the port ----------------------------------------------------------------------------------


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number


def test_two_that_start_at_once_get_different_ports(port: int) -> None:
    first, second = server.reserve_port(port), server.reserve_port(port)
    try:
        assert first.number != second.number
    finally:
        first.release()
        second.release()


def test_a_port_in_use_is_passed_over_and_a_released_one_is_taken_again(port: int) -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", port))
        busy.listen()
        reserved = server.reserve_port(port)
        reserved.release()
        assert reserved.number > port
    again = server.reserve_port(port)
    again.release()
    assert again.number == port


def test_no_port_is_a_matter_of_settings() -> None:
    with pytest.raises(SettingsError, match="port"):
        server.reserve_port(65_536)


# -- the parts ---------------------------------------------------------------------------------


def test_what_is_installed_fits() -> None:
    assert list(server.misfits()) == []


@pytest.mark.parametrize("version", ["0.138.9", "0.151.0", "1.0"])
def test_a_part_that_does_not_fit_is_named_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    installed = {"prefect": "3.8.8", "fastapi": version, "sqlalchemy": "2.0.58"}
    monkeypatch.setattr("importlib.metadata.version", installed.__getitem__)
    with pytest.raises(SettingsError, match=rf"fastapi {version}.*pip install .*fastapi>=0.139,<0.151"):
        server.check_parts()


# -- the environment ---------------------------------------------------------------------------


def test_a_persons_own_prefect_is_not_passed_on(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PREFECT_PROFILE", "PREFECT_LOGGING_LEVEL", "PREFECT_API_KEY", "PREFECT_HOME"):
        monkeypatch.setenv(name, "theirs")
    environment = prefect_environment(settings, "http://127.0.0.1:4200/api")
    assert "theirs" not in environment.values()
    inside = str(settings.state_dir.resolve())
    for name in ("PREFECT_HOME", "PREFECT_PROFILES_PATH", "PREFECT_RESULTS_LOCAL_STORAGE_PATH"):
        assert environment[name].startswith(inside)
    assert environment["PREFECT_API_URL"] == "http://127.0.0.1:4200/api"
    assert environment["PYTHONPATH"].split(os.pathsep)[0] == str(settings.root)


def test_credentials_for_a_server_that_is_not_ours_are_passed_on(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "https://prefect.example.com/api")
    monkeypatch.setenv("PREFECT_API_KEY", "secret")
    monkeypatch.setenv("PREFECT_PROFILE", "theirs")
    environment = prefect_environment(settings, "https://prefect.example.com/api")
    assert environment["PREFECT_API_KEY"] == "secret"
    assert "PREFECT_PROFILE" not in environment


@pytest.mark.slow
def test_prefect_knows_every_variable_and_reads_them_as_meant(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.settings import Settings as PrefectSettings
    from prefect.settings.models.root import _get_settings_accessors

    prepare_home(settings)
    variables = prefect_environment(settings, "http://127.0.0.1:1/api") | server_variables(settings, 4711)
    ours = {name: value for name, value in variables.items() if name.startswith("PREFECT_")}
    assert set(ours) <= set(_get_settings_accessors(PrefectSettings))
    for name, value in ours.items():
        monkeypatch.setenv(name, value)
    read = PrefectSettings()
    assert read.home == settings.state_dir.resolve() / "prefect"
    assert read.results.persist_by_default
    assert read.results.default_serializer == "json"
    assert read.server.api.port == 4711
    assert not read.server.analytics_enabled
    assert not read.server.ephemeral.enabled
    assert read.worker.query_seconds == settings.prefect.poll_seconds


# -- the calls ---------------------------------------------------------------------------------


class Answers(BaseHTTPRequestHandler):
    """A server that gives each call the next of the answers it was told to give."""

    told: dict[str, list[tuple[int, Any]]]
    asked: list[tuple[str, Any]]

    def _answer(self) -> None:
        size = int(self.headers.get("content-length", 0))
        body = json.loads(self.rfile.read(size)) if size else None
        call = f"{self.command} {self.path.removeprefix('/api')}"
        self.asked.append((call, body))
        answers = self.told.get(call, [(404, {})])
        status, document = answers.pop(0) if len(answers) > 1 else answers[0]
        text = document if isinstance(document, str) else json.dumps(document)
        self.send_response(status)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    do_GET = do_POST = do_PATCH = _answer  # noqa: N815 - the names that http.server looks for

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def prefect() -> Iterator[tuple[str, type[Answers]]]:
    class Mine(Answers):
        told: dict[str, list[tuple[int, Any]]] = {}  # noqa: RUF012
        asked: list[tuple[str, Any]] = []  # noqa: RUF012

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Mine)
    thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_port}/api", Mine
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def calling(url: str, call: Callable[[PrefectApi], Any]) -> Any:
    async def go() -> Any:
        api = PrefectApi(url)
        try:
            return await call(api)
        finally:
            await api.close()

    return asyncio.run(go())


def test_a_pool_that_is_missing_is_made_for_this_project(
    settings: Settings, prefect: tuple[str, type[Answers]]
) -> None:
    url, answers = prefect
    answers.told["POST /work_pools/"] = [(503, {}), (201, {})]
    calling(url, lambda api: ensure_pool(api, settings))
    assert [call for call, _ in answers.asked] == ["GET /work_pools/tidegate", *["POST /work_pools/"] * 2]
    properties = answers.asked[-1][1]["base_job_template"]["variables"]["properties"]
    assert properties["working_dir"]["default"] == str(settings.root)
    assert properties["preload"]["default"] == ["tidegate.prefect.warm_up"]
    assert properties["watch"]["default"] == ["tidegate.toml", "data_contracts/**/*.py"]
    assert properties["env"]["default"]["PYTHONPATH"].startswith(str(settings.root))


def test_a_pool_keeps_what_a_person_changed_in_it(
    settings: Settings, prefect: tuple[str, type[Answers]]
) -> None:
    url, answers = prefect
    template = job_template(settings, None)
    template["variables"]["properties"]["env"]["default"] = {"THEIRS": "1"}
    template["variables"]["properties"]["working_dir"]["default"] = "/elsewhere"
    answers.told["GET /work_pools/tidegate"] = [(200, {"type": "warm", "base_job_template": template})]
    answers.told["PATCH /work_pools/tidegate"] = [(204, "")]
    calling(url, lambda api: ensure_pool(api, settings))
    properties = answers.asked[-1][1]["base_job_template"]["variables"]["properties"]
    assert properties["env"]["default"]["THEIRS"] == "1"
    assert properties["working_dir"]["default"] == str(settings.root)


def test_a_pool_that_is_right_is_left_alone(settings: Settings, prefect: tuple[str, type[Answers]]) -> None:
    url, answers = prefect
    pool = {"type": "warm", "base_job_template": job_template(settings, None)}
    answers.told["GET /work_pools/tidegate"] = [(200, pool)]
    calling(url, lambda api: ensure_pool(api, settings))
    assert len(answers.asked) == 1


#: What `tidegate up` made before there was a warm worker.
PROCESS_POOL = {
    "job_configuration": {"command": "{{ command }}", "env": "{{ env }}", "working_dir": "{{ working_dir }}"},
    "variables": {
        "type": "object",
        "properties": {
            "env": {"type": "object", "default": {"PYTHONPATH": "/p", "THEIRS": "1"}},
            "command": {"type": "string", "default": "/usr/bin/python3 -m prefect.engine"},
            "stream_output": {"type": "boolean", "default": True},
            "working_dir": {"type": "string", "default": "/p"},
        },
    },
}


def test_a_process_pool_of_an_earlier_version_is_made_fit_for_the_warm_worker(
    settings: Settings, prefect: tuple[str, type[Answers]]
) -> None:
    url, answers = prefect
    pool = {"type": "process", "base_job_template": PROCESS_POOL}
    answers.told["GET /work_pools/tidegate"] = [(200, pool)]
    answers.told["PATCH /work_pools/tidegate"] = [(204, "")]
    calling(url, lambda api: ensure_pool(api, settings))
    template = answers.asked[-1][1]["base_job_template"]
    properties = template["variables"]["properties"]
    assert properties["command"]["default"] is None
    assert properties["env"]["default"]["THEIRS"] == "1"
    assert properties["preload"]["default"] == ["tidegate.prefect.warm_up"]
    assert template["job_configuration"]["preload"] == "{{ preload }}"
    assert grace_seconds(template) == grace_seconds(job_template(settings, None))


def test_the_pools_form_is_the_warm_workers() -> None:
    from prefect_warm.worker import WarmWorker

    shipped = json.loads(files("prefect_warm").joinpath("base_job_template.json").read_text())
    assert shipped == WarmWorker.get_default_base_job_template()


def test_a_pool_of_another_type_is_a_matter_of_settings(
    settings: Settings, prefect: tuple[str, type[Answers]]
) -> None:
    url, answers = prefect
    answers.told["GET /work_pools/tidegate"] = [(200, {"type": "kubernetes", "base_job_template": {}})]
    with pytest.raises(SettingsError, match="work_pool"):
        calling(url, lambda api: ensure_pool(api, settings))


def test_a_worker_is_there_when_it_gave_a_new_sign(prefect: tuple[str, type[Answers]]) -> None:
    url, answers = prefect
    old = [{"name": "tidegate", "status": "ONLINE", "last_heartbeat_time": "1"}]
    new = [{"name": "tidegate", "status": "ONLINE", "last_heartbeat_time": "2"}]
    answers.told["POST /work_pools/p/workers/filter"] = [(200, []), (200, old), (200, new)]
    calling(url, lambda api: api.wait_for_worker("p", "tidegate", "1"))
    assert len(answers.asked) == 3


@pytest.mark.parametrize(("status", "text"), [(200, "<html>"), (500, "broken"), (404, "{}")])
def test_what_is_no_healthy_server_is_said_to_be_none(
    prefect: tuple[str, type[Answers]], status: int, text: str
) -> None:
    url, answers = prefect
    answers.told["GET /ready"] = [(status, text)]
    with pytest.raises(ServerUnavailableError, match="127"):
        calling(url, lambda api: api.wait_until_healthy(0))


# -- deployments -------------------------------------------------------------------------------


@pytest.fixture
def deployments(settings: Settings) -> Deployments:
    (settings.root / "flows").mkdir()
    (settings.root / "flows" / "a.py").write_text("one = 1")
    (settings.root / "prefect.yaml").write_text(
        "deployments:\n- name: x\n  entrypoint: flows.a.one  # the flow\n- entrypoint: 'flows.b.two'\n"
    )
    return Deployments(settings)


def test_the_modules_of_the_flows(deployments: Deployments) -> None:
    assert deployments.modules() == ["flows.a", "flows.b"]


def test_deployments_are_registered_when_they_changed_or_are_missing(
    deployments: Deployments, settings: Settings
) -> None:
    known = [{"id": "1"}, {"id": "2"}]
    assert deployments.changed()
    assert deployments.missing(known)
    deployments.remember(deployments.fingerprint(), known)
    assert not deployments.changed()
    assert not deployments.missing([*known, {"id": "3"}])
    assert deployments.missing(known[:1])
    (settings.root / "flows" / "a.py").write_text("one = 2")
    assert deployments.changed()
