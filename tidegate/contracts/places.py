"""Where in a contract's module a mistake stands: the file, and the line to change."""

from __future__ import annotations

import ast
import difflib
import re
from functools import cache
from typing import TYPE_CHECKING

from tidegate.errors import ContractError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

#: Keys of dictionaries, places in lists, names of arguments, from the Contract inwards.
Where = tuple[str | int, ...]

_UNKNOWN_ARGUMENT = re.compile(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'")


def explain(error: BaseException, file: Path, root: Path) -> str:
    """What was raised while `file` was imported, as a sentence that begins with file and line.

    The line is the innermost one in the file's folder; of a call over several lines, the line of the
    argument at fault.
    """
    if isinstance(error, SyntaxError) and error.filename:
        wrong = type(file)(error.filename)
        return f"{place_of(wrong, error.lineno, root)}: this is not Python: {error.msg}."
    frame = _innermost(error.__traceback__, file.parent)
    line = None
    if frame is not None:
        file, line = _file(frame), frame.tb_lineno
        line = _argument_line(file, frame, error) or line
    return f"{place_of(file, line, root)}: {_sentence(error)}"


def place_of(file: Path, line: int | None, root: Path) -> str:
    """``data_contracts/orders.py, line 17``."""
    shown = file.relative_to(root) if file.is_relative_to(root) else file
    return f"{shown}, line {line}" if line else str(shown)


def line_of(file: Path, contract: str, where: Where) -> int | None:
    """The line in `file` where this part of a contract is declared, or the nearest thing around it."""
    tree = _tree(file)
    call = _declaration(tree, contract) if tree is not None else None
    if tree is None or call is None:
        return None
    node: ast.AST = call
    line = call.lineno
    for step in where:
        found = _inside(_resolved(tree, node), step)
        if found is None:
            break
        node = found
        line = getattr(node, "lineno", line)
    return line


def _innermost(trace: TracebackType | None, folder: Path) -> TracebackType | None:
    found = None
    while trace is not None:
        if _file(trace).is_relative_to(folder):
            found = trace
        trace = trace.tb_next
    return found


def _file(trace: TracebackType) -> Path:
    from pathlib import Path

    return Path(trace.tb_frame.f_code.co_filename)


def _sentence(error: BaseException) -> str:
    if isinstance(error, ContractError):
        return str(error)
    unknown = _UNKNOWN_ARGUMENT.match(str(error))
    if unknown:
        import tidegate.contracts

        made = getattr(tidegate.contracts, unknown[1], None)
        near = difflib.get_close_matches(unknown[2], getattr(made, "__dataclass_fields__", ()), 1)
        advice = f"; did you mean {near[0]}?" if near else "."
        return f"{unknown[1]} has no argument {unknown[2]!r}{advice}"
    return f"{type(error).__name__}: {error}"


def _argument_line(file: Path, trace: TracebackType, error: BaseException) -> int | None:
    """The line of the argument that the error names, in the very call that raised it."""
    unknown = _UNKNOWN_ARGUMENT.match(str(error))
    name = error.field if isinstance(error, ContractError) else unknown[2] if unknown else None
    tree = _tree(file)
    if name is None or tree is None:
        return None
    positions = list(trace.tb_frame.f_code.co_positions())[trace.tb_lasti // 2]
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _position(node) == positions:
            return next((word.value.lineno for word in node.keywords if word.arg == name), None)
    return None


def _position(node: ast.Call) -> tuple[int | None, ...]:
    return node.lineno, node.end_lineno, node.col_offset, node.end_col_offset


@cache
def _parsed(file: Path, _changed: int) -> ast.Module:
    return ast.parse(file.read_bytes())


def _tree(file: Path) -> ast.Module | None:
    try:
        return _parsed(file, file.stat().st_mtime_ns)
    except (OSError, SyntaxError, ValueError):
        return None  # imported from something that is no file of Python: the place stays rough


def _declaration(tree: ast.Module, contract: str) -> ast.Call | None:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            for word in node.keywords:
                value = word.value
                if word.arg == "name" and isinstance(value, ast.Constant) and value.value == contract:
                    return node
    return None


def _resolved(tree: ast.Module, node: ast.AST) -> ast.AST:
    """What a name stands for at the module's top level; anything else is itself."""
    if isinstance(node, ast.keyword):
        node = node.value
    if not isinstance(node, ast.Name):
        return node
    for statement in reversed(tree.body):
        if isinstance(statement, (ast.ClassDef, ast.FunctionDef)) and statement.name == node.id:
            return statement
        if isinstance(statement, ast.Assign) and node.id in _names(statement.targets):
            return statement.value
    return node


def _names(targets: Sequence[ast.expr]) -> list[str]:
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _inside(node: ast.AST, step: str | int) -> ast.AST | None:
    if isinstance(node, ast.Call):
        return next((word for word in node.keywords if word.arg == step), None)
    if isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            if isinstance(key, ast.Constant) and key.value == step:
                return value
    if isinstance(node, (ast.List, ast.Tuple)) and isinstance(step, int) and step < len(node.elts):
        return node.elts[step]
    if isinstance(node, ast.ClassDef):
        for statement in node.body:
            if isinstance(statement, ast.AnnAssign) and _names([statement.target]) == [step]:
                return statement
    return None
