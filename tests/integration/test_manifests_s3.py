"""Manifests in a bucket, below the prefix of the landing."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest
from botocore.session import get_session

from tests.unit.test_ingest import drop, run
from tests.unit.test_manifests import CONTRACT, DATA
from tidegate.ledger import queries
from tidegate.operations.manifests import reopen_for_manifests
from tidegate.operations.project import open_project

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration


def test_a_file_is_judged_by_the_manifest_below_the_landing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, aws_server: str
) -> None:
    package, bucket = f"contracts_{uuid.uuid4().hex}", f"landing-{uuid.uuid4().hex[:12]}"
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").touch()
    declared = CONTRACT.replace("{key}.json", "checks/{stem}.json")
    (tmp_path / package / "sales.py").write_text(declared)
    settings = f'contracts = "{package}"\nlanding = "s3://{bucket}/in"\n[s3]\nendpoint_url = "{aws_server}"\n'
    (tmp_path / "tidegate.toml").write_text(settings)
    monkeypatch.syspath_prepend(tmp_path)
    s3 = get_session().create_client("s3", endpoint_url=aws_server, region_name="us-east-1")
    s3.create_bucket(Bucket=bucket)
    project = open_project(tmp_path)
    try:
        data = drop(project, "in/sales/may.csv", DATA).object_id
        run(project, "sales")
        held = project.ledger.ask(queries.by_id, [data])[data]
        assert held.state == "quarantined"
        assert held.reason.startswith("The manifest in/checks/sales/may.json is not there yet. ")
        drop(project, "in/checks/sales/may.json", '{"rows": 2, "total": 6.5}')
        assert reopen_for_manifests(project) == 1
        run(project, "sales")
        assert project.ledger.ask(queries.by_id, [data])[data].state == "loaded"
    finally:
        project.close()
