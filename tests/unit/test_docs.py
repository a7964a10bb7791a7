"""The documents say what is there: every command, every setting, every link."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from pydantic import BaseModel
from typer.testing import CliRunner

from tidegate.cli.app import app
from tidegate.settings import Settings

REPOSITORY = Path(__file__).parents[2]
DOCUMENTS = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *(REPOSITORY / "docs").rglob("*.md")]


def settings_of(model: type[BaseModel], group: str = "") -> list[tuple[str, str]]:
    found = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found += settings_of(kind, name)
        else:
            found.append((group, name))
    return found


@pytest.mark.parametrize(("group", "name"), settings_of(Settings))
def test_every_setting_is_documented_in_its_group(group: str, name: str) -> None:
    text = (REPOSITORY / "docs" / "settings.md").read_text()
    section = text.split(f"\n`[{group}]`\n")[1].split("\n`[")[0] if group else text.split("\n`[")[0]
    assert f"| `{name}` |" in section


def test_no_setting_is_documented_that_does_not_exist() -> None:
    text = (REPOSITORY / "docs" / "settings.md").read_text()
    documented = re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
    assert sorted(documented) == sorted(name for _, name in settings_of(Settings))


def commands_in(document: Path) -> list[str]:
    text = document.read_text()
    blocks = "\n".join(re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE))
    lines = [line.strip() for line in blocks.splitlines() if line.strip().startswith("tidegate ")]
    return lines + re.findall(r"`(tidegate [^`\n]+)`", text)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_command_in_the_documents_exists_with_its_options(document: Path) -> None:
    root = typer.main.get_command(app)
    for line in commands_in(document):
        command = root
        words = shlex.split(line.split("#")[0])[1:]
        if words[:1] in (["…"], ["WORDS…"]):
            continue
        while words and hasattr(command, "commands"):
            name = words.pop(0)
            if name.startswith("-"):
                words.insert(0, name)
                break
            assert name in command.commands, f"{document.name}: {line}"
            command = command.commands[name]
        known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
        for word in words:
            if word.startswith("-"):
                assert word.partition("=")[0] in known, f"{document.name}: {line}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_link_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text()):
        if "://" not in target:
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def block(document: str, language: str) -> str:
    found = re.search(
        rf"^```{language}\n(.*?)^```", (REPOSITORY / document).read_text(), re.DOTALL | re.MULTILINE
    )
    assert found is not None
    return found[1]


@pytest.fixture
def supplier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what docs/check.md speaks of, and no project."""
    (tmp_path / "orders.py").write_text(block("README.md", "python"))
    (tmp_path / "orders.csv").write_text(block("docs/check.md", "csv"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("supplier")
def test_a_check_prints_what_its_document_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    command, _, shown = block("docs/check.md", "console").partition("\n")
    result = CliRunner().invoke(app, shlex.split(command)[2:])
    assert result.exit_code == 3
    assert [line.rstrip() for line in result.output.splitlines()] == shown.splitlines()


@pytest.mark.slow
def test_the_tests_for_suppliers_pass(supplier: Path) -> None:
    (supplier / "test_export.py").write_text(block("docs/check.md", "python"))
    found = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_export.py"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(REPOSITORY), str(supplier)))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "2 passed" in found.stdout, found.stdout + found.stderr


@pytest.mark.slow
def test_the_step_for_github_checks_every_file_and_fails(supplier: Path) -> None:
    step = block("docs/check.md", "yaml").partition("run: |\n")[2].partition("- uses:")[0]
    (supplier / "orders").mkdir()
    (supplier / "orders" / "1.csv").write_text("order_id,amount\n1,x\n")
    (supplier / "orders" / "2.csv").write_text("order_id,amount\n1,2\n")
    (supplier / "tidegate").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tidegate.cli.app "$@"\n')
    (supplier / "tidegate").chmod(0o755)
    found = subprocess.run(
        ["bash", "-e", "-c", step],
        env={
            **os.environ,
            "PYTHONPATH": str(REPOSITORY),
            "PATH": f"{supplier}{os.pathsep}{os.environ['PATH']}",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 3, found.stdout + found.stderr
    assert {file.name for file in (supplier / "refused").iterdir()} == {"1.csv", "2.csv"}
    assert "1,x" in (supplier / "refused" / "1.csv").read_text()
