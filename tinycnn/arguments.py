"""Checks of single arguments: each returns the value, or raises an error that names the function and the argument."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def integer(owner: str, name: str, value: Any, least: int, most: int | None = None) -> int:
    """Return an integer in a range.

    Raises
    ------
    TypeError
        If it is not an integer.
    ValueError
        If it is out of range.
    """
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool):
        raise TypeError(f"{owner}: {name} is {value!r}, expected an integer")
    if value < least or (most is not None and value > most):
        raise ValueError(f"{owner}: {name} is {value}, expected {_range(least, most)}")
    return int(value)


def number(owner: str, name: str, value: Any, least: float = -math.inf, most: float = math.inf) -> float:
    """Return a number in a range as a float; NaN is in no range.

    Raises
    ------
    TypeError
        If it is not a number.
    ValueError
        If it is out of range.
    """
    if not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{owner}: {name} is {value!r}, expected a number")
    if not least <= value <= most:
        raise ValueError(f"{owner}: {name} is {value}, expected {_range(least, most)}")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{owner}: {name} is {value}, too large for a float") from None


def flag(owner: str, name: str, value: Any) -> bool:
    """Return True or False; 1, 0 and NumPy's booleans are taken.

    Raises
    ------
    TypeError
        If it is anything else, such as text or an array.
    """
    if not isinstance(value, (bool, int, np.bool_, np.integer)):
        raise TypeError(f"{owner}: {name} is {value!r}, expected True or False")
    return bool(value)


def choice(owner: str, name: str, value: Any, choices: tuple[str, ...]) -> str:
    """Return one of some words.

    Raises
    ------
    ValueError
        If it is none of them.
    """
    if not isinstance(value, str) or value not in choices:
        words = ", ".join(map(repr, choices[:-1]))
        raise ValueError(f"{owner}: {name} is {value!r}, expected {words} or {choices[-1]!r}")
    return value


def instance(owner: str, name: str, value: Any, kind: type | tuple[type, ...], expected: str) -> Any:
    """Return a value of a type.

    Raises
    ------
    TypeError
        If it is of another type.
    """
    if not isinstance(value, kind):
        what = f"the class {value.__name__}" if isinstance(value, type) else f"a {type(value).__name__}"
        raise TypeError(f"{owner}: {name} is {what}, expected {expected}")
    return value


def array(owner: str, name: str, value: Any, kinds: str = "fiub", dimensions: int | None = None) -> np.ndarray:
    """Return an array of numbers of some kinds (NumPy's letters).

    Raises
    ------
    TypeError
        If it is not such an array.
    ValueError
        If it has another number of dimensions.
    """
    instance(owner, name, value, np.ndarray, "an array")
    if value.dtype.kind not in kinds:
        wanted = "floats" if kinds == "f" else "integers" if kinds == "iu" else "numbers"
        raise TypeError(f"{owner}: {name} has dtype {value.dtype}, expected {wanted}")
    if dimensions is not None and value.ndim != dimensions:
        raise ValueError(f"{owner}: {name} has shape {value.shape}, expected {dimensions} dimensions")
    return value


def _range(least: float, most: float | None) -> str:
    if most is None or most == math.inf:
        return "a number that is not NaN" if least == -math.inf else f"at least {least}"
    return f"{least} to {most}"
