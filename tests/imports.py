"""The import graph of tinycnn's modules, function-level imports included."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "tinycnn"


@cache
def modules() -> dict[str, Path]:
    """Return the files of all modules but the root by name, such as ``tinycnn.nn.layers``."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = ("tinycnn", *path.relative_to(PACKAGE).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    del found["tinycnn"]
    return found


@cache
def arrows() -> dict[str, set[str]]:
    """Return for each module those that it imports.

    A module that imports from another package also imports that package's ``__init__``. Imports for type checkers do
    not count.
    """
    return {name: set(_imported(name)) - {name} for name in modules()}


def _imported(name: str) -> Iterator[str]:
    path = modules()[name]
    own_package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for target in _targets(ast.parse(path.read_text(encoding="utf-8"))):
        if target in modules():
            yield target
            parts = target.split(".")
            for package in (".".join(parts[:length]) for length in range(2, len(parts))):
                if own_package != package and not own_package.startswith(f"{package}."):
                    yield package


def _targets(node: ast.AST) -> Iterator[str]:
    """Return the modules that are imported in a piece of a program."""
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        children: Iterator[ast.AST] = iter(node.orelse)
    else:
        children = ast.iter_child_nodes(node)
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        for alias in node.names:
            full = f"{node.module}.{alias.name}"
            yield full if full in modules() else node.module
    for child in children:
        yield from _targets(child)


def foreign_imports() -> dict[str, set[str]]:
    """Return for each module what it imports from other packages, each name in full."""
    found: dict[str, set[str]] = {}
    for name, path in modules().items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                targets = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and node.module != "__future__":
                targets = [f"{node.module}.{alias.name}" for alias in node.names]
            else:
                continue
            found.setdefault(name, set()).update(t for t in targets if not t.startswith("tinycnn"))
    return found


def cycles() -> list[list[str]]:
    """Return the groups of modules that reach each other, each sorted."""
    reached = {name: _reach(name) for name in arrows()}
    groups = {frozenset([name, *(other for other in reached[name] if name in reached[other])]) for name in arrows()}
    return sorted(sorted(group) for group in groups if len(group) > 1)


def _reach(name: str) -> set[str]:
    found: set[str] = set()
    stack = [name]
    while stack:
        for target in arrows()[stack.pop()]:
            if target not in found:
                found.add(target)
                stack.append(target)
    return found
