"""Function pickling: worker processes cannot import a script without ``main()``, so its functions are sent by value.

Importable objects are sent by name, as in any pickle; functions and classes of a script, a notebook or another function
as their code, with the globals and enclosing variables that they use. cloudpickle (BSD-3-Clause) does it, because it
follows each release of Python, which the format of code objects changes with.
"""

from __future__ import annotations

import pickle
from typing import Any

import cloudpickle


def pack(value: Any) -> bytes:
    """Return bytes for :func:`unpack`, in a process of the same Python.

    Raises
    ------
    TypeError
        If it holds a value that cannot be sent, such as an open file.
    """
    try:
        return cloudpickle.dumps(value)
    except (pickle.PicklingError, AttributeError, TypeError, RecursionError) as error:
        raise TypeError(f"this cannot be sent to another process: {error}") from error


def unpack(data: bytes) -> Any:
    """Return the value that :func:`pack` packed. Only for bytes of one's own processes: it can run code."""
    return pickle.loads(data)
