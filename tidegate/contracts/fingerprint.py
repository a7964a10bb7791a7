"""A short text that changes when what a function does changes, and not when only its looks do."""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import textwrap
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LENGTH = 16
#: Fields that only place, quote or type a node, or that not every Python release has.
_LOOKS = frozenset({"ctx", "kind", "type_comment", "type_params", "type_ignores", "returns", "annotation"})


def fingerprint(function: Callable[..., Any]) -> str:
    """Of a function's code and of the functions and constants of its own module that it names.

    Comments, layout, docstrings and annotations don't count.
    """
    text = "\n".join(sorted(_parts(function, set())))
    return hashlib.sha256(text.encode()).hexdigest()[:_LENGTH]


def name_of(function: Callable[..., Any]) -> str:
    """What people call the function."""
    while isinstance(function, functools.partial):
        function = function.func
    return str(getattr(function, "__name__", type(function).__name__))


def _parts(function: Any, seen: set[str]) -> Iterator[str]:
    while isinstance(function, functools.partial):
        yield repr((function.args, sorted(function.keywords.items())))
        function = function.func
    function = inspect.unwrap(getattr(function, "__func__", function))
    if not inspect.isfunction(function):
        # An object that can be called: its class does the work, its state is part of the declaration.
        yield repr(sorted(vars(function).items())) if hasattr(function, "__dict__") else ""
        function = type(function).__call__
    tree = _source(function)
    yield f"{function.__name__}={_shape(tree)}"
    for name, value in _named(function, tree):
        if name in seen:
            continue
        seen.add(name)
        if inspect.isfunction(value) and value.__module__ == function.__module__:
            yield from _parts(value, seen)
        elif isinstance(value, (str, int, float, bool, bytes, tuple, list, dict)) or value is None:
            yield f"{name}={value!r}"
        elif isinstance(value, (set, frozenset)):
            yield f"{name}={sorted(map(repr, value))}"


def _source(function: Any) -> ast.AST:
    try:
        text = textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError):  # made by exec or in C: its compiled code is all there is
        return ast.Constant(getattr(getattr(function, "__code__", None), "co_code", b"").hex())
    try:
        tree = ast.parse(text)
    except SyntaxError:  # a lambda in the middle of a longer expression
        return ast.Constant(" ".join(text.split()))
    if function.__name__ == "<lambda>":
        lambdas = [node for node in ast.walk(tree) if isinstance(node, ast.Lambda)]
        return lambdas[0] if len(lambdas) == 1 else tree
    return tree.body[0]


def _named(function: Any, tree: ast.AST) -> Iterator[tuple[str, Any]]:
    closure = inspect.getclosurevars(function).nonlocals if hasattr(function, "__code__") else {}
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    for name in sorted(names):
        if name in closure:
            yield name, closure[name]
        elif name in function.__globals__:
            yield name, function.__globals__[name]


def _shape(node: Any) -> str:
    """Like `ast.dump`, but the same from every release of Python."""
    if isinstance(node, ast.AST):
        fields = [(name, value) for name, value in ast.iter_fields(node) if name not in _LOOKS]
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and ast.get_docstring(node) is not None:
            fields = [(name, value[1:] if name == "body" else value) for name, value in fields]
        if isinstance(node, ast.JoinedStr):
            # Python 3.12 puts empty texts between the parts of a format.
            parts = [part for part in node.values if getattr(part, "value", None) != ""]
            fields = [("values", parts)]
        told = (f"{name}={_shape(value)}" for name, value in fields if value not in (None, []))
        return f"{type(node).__name__}({', '.join(told)})"
    if isinstance(node, list):
        return f"[{', '.join(map(_shape, node))}]"
    return repr(node)
