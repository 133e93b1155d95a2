"""Integers that a loop gets in one array, by name.

A launch converts each argument: an integer takes about 0.7 microseconds, an array of any length 0.3, a NamedTuple 8. So
the sizes, steps and offsets of a loop are one array of int64, made once with the plan of an operation. Compilation
takes as long as with single integers. A loop reads what it needs at its beginning, ``numbers[STRIPS.rows]``: its inner
loops then see local variables, which no store to an array can change.
"""

from __future__ import annotations

from collections import namedtuple
from typing import Any


def positions(*names: str) -> Any:
    """Return the position of each name as an attribute, a constant for compiled code.

    >>> positions("rows", "columns").columns
    1
    """
    return namedtuple("Positions", names)(*range(len(names)))
