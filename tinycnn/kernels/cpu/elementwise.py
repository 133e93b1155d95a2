"""Arithmetic on two arrays of one shape: one pass over memory, on all threads."""

from __future__ import annotations

import numpy as np

from tinycnn.kernels.cpu.machine.nhwc import empty_alike, flat_alike
from tinycnn.kernels.cpu.machine.parallel import jit
from tinycnn.kernels.cpu.machine.threads import SMALL


def add(a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """A + b, of one shape and dtype; ``out`` may be one of them.

    >>> add(np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    array([4., 6.])
    """
    if a.size < SMALL:
        return np.asarray(np.add(a, b, out=out))  # NumPy makes a number of arrays without axes
    result = empty_alike(a, b) if out is None else out
    flat = flat_alike(a, b, result)
    if not np.may_share_memory(flat[2], result):  # flat_alike had to copy it
        return np.add(a, b, out=result)
    add_loop(result.size, *flat)
    return result


def _add_loop(begin, end, a, b, out):
    for i in range(begin, end):
        out[i] = a[i] + b[i]


add_loop = jit(_add_loop)
