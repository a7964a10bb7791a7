import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

LONGEST_FILE = 400
LONGEST_FUNCTION = 80
USUAL_FUNCTION = 40
USUAL_SHARE = 0.9

FOLDERS = ("data_contracts", "flows", "prefect_warm", "tasks", "tidegate")


def modules(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def functions(folder: str) -> Iterator[tuple[str, int]]:
    for path in modules(folder):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                where = f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
                yield where, node.end_lineno - node.lineno + 1


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_file_is_longer_than_400_lines(folder: str) -> None:
    lengths = {str(path.relative_to(ROOT)): path.read_bytes().count(b"\n") for path in modules(folder)}
    assert lengths, f"{folder}/ holds no Python"
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST_FILE} == {}


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_function_is_longer_than_80_lines(folder: str) -> None:
    assert [(where, lines) for where, lines in functions(folder) if lines > LONGEST_FUNCTION] == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_nine_functions_in_ten_have_at_most_40_lines(folder: str) -> None:
    measured = list(functions(folder))
    longer = [(where, lines) for where, lines in measured if lines > USUAL_FUNCTION]
    assert len(longer) <= len(measured) * (1 - USUAL_SHARE), longer
