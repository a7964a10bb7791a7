"""The documents say what is there: every command, every setting, every link."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer
from pydantic import BaseModel

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
