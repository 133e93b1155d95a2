"""The state that tinycnn's modules keep while a program runs, and their changes of other packages, from the sources."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache

from tests.imports import modules

HOLDERS = {"ContextVar", "Counter", "Lock", "RLock", "WeakKeyDictionary", "count", "defaultdict", "deque", "local"}
CHANGES = {"add", "append", "clear", "discard", "extend", "insert", "pop", "popitem", "remove", "setdefault", "update"}
FUNCTIONS = ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda


def state() -> set[str]:
    """Return the variables of modules and classes that change after the import, such as ``tinycnn.random._default``.

    They are declared ``global`` in a function, changed in place by one, or hold a lock, a counter, a context variable
    or an object of a class that changes itself. Tables of ``functools.cache`` do not count: they hold results only.
    """
    return {f"{name}.{variable}" for name in modules() for variable in {*_made(name), *_changed(name)}}


def patches_at_import() -> list[str]:
    """Return the assignments to names of other packages that run when a module of tinycnn is imported."""
    return [
        f"{name}:{node.lineno} {ast.unparse(node)}"
        for name in modules()
        for node in _outside_functions(_tree(name))
        if _changed_root(node) in _foreign_names(name)
    ]


@cache
def _tree(name: str) -> ast.Module:
    return ast.parse(modules()[name].read_text(encoding="utf-8"))


def _made(name: str) -> Iterator[str]:
    """Return the variables of a module and its classes whose value is made to change."""
    for node in _outside_functions(_tree(name)):
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(node.value, ast.Call):
            made = ast.unparse(node.value.func).rpartition(".")[2]
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if made in HOLDERS | _changing_classes():
                yield from map(ast.unparse, targets)


def _changed(name: str) -> Iterator[str]:
    """Return the variables of a module that its functions change."""
    known = {target for node in _tree(name).body for target in _assigned(node)}
    for function in ast.walk(_tree(name)):
        if isinstance(function, FUNCTIONS):
            inside = list(ast.walk(function))
            own = {node.id for node in inside if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
            yield from (name for node in inside if isinstance(node, ast.Global) for name in node.names)
            yield from (known - own) & {root for node in inside if (root := _changed_root(node))}


def _assigned(node: ast.stmt) -> list[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _changed_root(node: ast.AST) -> str | None:
    """Return the variable that a piece of a program changes in place."""
    if isinstance(node, (ast.Attribute, ast.Subscript)) and not isinstance(node.ctx, ast.Load):
        return _root(node)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CHANGES:
        return _root(node.func)
    if isinstance(node, ast.Call) and ast.unparse(node.func) in ("setattr", "delattr"):
        return _root(node.args[0])
    return None


def _root(node: ast.expr) -> str | None:
    while isinstance(node, (ast.Attribute, ast.Subscript)):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


@cache
def _changing_classes() -> set[str]:
    """Return the classes of tinycnn of which an object changes itself after it was made."""
    return {
        node.name
        for name in modules()
        for node in ast.walk(_tree(name))
        if isinstance(node, ast.ClassDef)
        if any(ast.unparse(base).endswith("local") for base in node.bases) or any(map(_changes_itself, node.body))
    }


def _changes_itself(node: ast.stmt) -> bool:
    is_method = isinstance(node, FUNCTIONS) and node.name not in ("__init__", "__new__")
    return is_method and any(_changed_root(part) == "self" for part in ast.walk(node))


def _outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, FUNCTIONS):
            yield from _outside_functions(child)


@cache
def _foreign_names(name: str) -> set[str]:
    """Return the names that a module imports from other packages."""
    return {
        alias.asname or alias.name.split(".")[0]
        for node in ast.walk(_tree(name))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        if not getattr(node, "module", "x").startswith("tinycnn")
        for alias in node.names
    }
