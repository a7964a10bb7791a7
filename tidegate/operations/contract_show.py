"""A contract in the form that somebody asks for."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from tidegate.contracts.exports.json_schema import json_schema
from tidegate.contracts.exports.markdown import index, markdown
from tidegate.contracts.exports.odcs import odcs
from tidegate.operations.contract_check import current

if TYPE_CHECKING:
    from pathlib import Path

    from tidegate.contracts import Contract
    from tidegate.contracts.registry import Registry


class Form(StrEnum):
    """What a contract can be shown as."""

    TABLE = "table"
    MARKDOWN = "markdown"
    JSON = "json"
    JSON_SCHEMA = "json-schema"
    ODCS = "odcs"


def show(contract: Contract, registry: Registry, form: Form) -> str:
    """The contract as text that ends with a line end; `Form.TABLE` is the terminal's matter."""
    told = current(contract, registry)
    if form is Form.MARKDOWN:
        return markdown(told)
    if form is Form.ODCS:
        return _yaml(odcs(told, _physical(contract, registry)))
    document = json_schema(told) if form is Form.JSON_SCHEMA else told
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def write_pages(registry: Registry, folder: Path) -> list[Path]:
    """One Markdown page a dataset and an index; pages of other datasets are left as they are."""
    told = [current(contract, registry) for contract in sorted(registry, key=lambda one: one.name)]
    folder.mkdir(parents=True, exist_ok=True)
    pages = {f"{one['name']}.md": markdown(one) for one in told} | {"README.md": index(told)}
    for name, text in pages.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in pages]


def _physical(contract: Contract, registry: Registry) -> dict[str, str]:
    from tidegate.stages.schema import table_columns
    from tidegate.warehouse.ddl import column_type

    found = {name: column_type(kind) for name, kind in table_columns(contract, registry).items()}
    return {name: kind for name, kind in found.items() if kind is not None}


def _yaml(document: dict[str, Any]) -> str:
    import yaml

    return str(yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=110))
