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


def foreign_private_names() -> list[str]:
    """Return the uses of private names of the package (``_name``) outside the modules that define them.

    ``self._name``, ``cls._name`` and ``super()._name`` may belong to a base class of another module.
    """
    trees = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in modules().items()}
    defined = {name: set(_private_definitions(tree)) for name, tree in trees.items()}
    ours = set().union(*defined.values())
    return [
        f"{name}:{line} uses {used}"
        for name, tree in trees.items()
        for line, used in _private_uses(tree)
        if used in ours - defined[name]
    ] + [
        f"{name} imports {target}.{used}"
        for name, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (target := node.module or "").startswith("tinycnn")
        for used in [*target.split("."), *(alias.name for alias in node.names)]
        if _is_private(used)
    ]


def _private_definitions(tree: ast.Module) -> Iterator[str]:
    """Return the private names of functions, classes and variables, and of attributes of ``self`` and ``cls``."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names = [node.name]
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names = [node.id]
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and _is_own(node.value):
            names = [node.attr]
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__slots__":
            names = list(ast.literal_eval(node.value))
        else:
            continue
        yield from filter(_is_private, names)


def _private_uses(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and _is_private(node.attr) and not _is_own(node.value):
            yield node.lineno, node.attr


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def _is_own(owner: ast.expr) -> bool:
    return ast.unparse(owner) in ("self", "cls", "super()")


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
