"""Function pickling: worker processes cannot import a script without ``main()``, so its functions are sent by value.

Importable objects are sent by name, as in any pickle. A function of a script, a notebook or another function is sent
as its code, with the globals and enclosing variables that it uses.
"""

from __future__ import annotations

import dis
import importlib
import io
import marshal
import pickle
import sys
from collections.abc import Iterator
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any


def pack(value: Any) -> bytes:
    """Return bytes for :func:`unpack`, in a process of the same Python.

    Raises
    ------
    TypeError
        If it holds a value that cannot be sent, such as an object of a class that the script defines.
    """
    file = io.BytesIO()
    try:
        _Pickler(file, protocol=pickle.HIGHEST_PROTOCOL).dump(value)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise TypeError(f"this cannot be sent to another process: {error}") from error
    return file.getvalue()


def unpack(data: bytes) -> Any:
    """Return the value that :func:`pack` packed. Only for bytes of one's own processes: it can run code."""
    return pickle.loads(data)


class _Pickler(pickle.Pickler):
    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, ModuleType):
            return importlib.import_module, (value.__name__,)
        if isinstance(value, FunctionType) and not _importable(value):
            return _new_function, (marshal.dumps(value.__code__), value.__name__), _state(value), None, None, _fill
        if isinstance(value, type) and value.__module__ == "__main__":
            raise pickle.PicklingError(f"the class {value.__name__} is defined in the script; put it into a module")
        return NotImplemented


def _importable(function: FunctionType) -> bool:
    module = sys.modules.get(function.__module__)
    return function.__module__ != "__main__" and getattr(module, function.__qualname__, None) is function


def _state(function: FunctionType) -> dict[str, Any]:
    known = function.__globals__
    return {
        "globals": {name: known[name] for name in _globals_of(function.__code__) if name in known},
        "cells": [cell.cell_contents for cell in function.__closure__ or ()],
        "defaults": (function.__defaults__, function.__kwdefaults__),
    }


def _globals_of(code: CodeType) -> Iterator[str]:
    """Return the names of globals that a function uses, or a function in it."""
    yield from (step.argval for step in dis.get_instructions(code) if step.opname == "LOAD_GLOBAL")
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _globals_of(constant)


def _new_function(code: bytes, name: str) -> FunctionType:
    body = marshal.loads(code)
    empty = tuple(CellType() for _ in body.co_freevars)
    return FunctionType(body, {"__builtins__": __builtins__, "__name__": "__main__"}, name, None, empty)


def _fill(function: FunctionType, state: dict[str, Any]) -> None:
    function.__globals__.update(state["globals"])
    function.__defaults__, function.__kwdefaults__ = state["defaults"]
    for cell, contents in zip(function.__closure__ or (), state["cells"]):
        cell.cell_contents = contents
