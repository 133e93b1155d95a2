"""Arithmetic on two arrays of one shape: one pass over memory, on all threads."""

from __future__ import annotations

import numpy as np

from tinycnn.kernels.cpu.machine.nhwc import empty_like, flatten_in_same_order
from tinycnn.kernels.cpu.machine.parallel import parallel_for
from tinycnn.kernels.cpu.machine.tuning import MIN_PARALLEL_ELEMENTS


def add(a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Add vectors of elements; images that are stored alike, in their own order.

    >>> add(np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    array([4., 6.])
    """
    if a.size < MIN_PARALLEL_ELEMENTS:
        return np.asarray(np.add(a, b, out=out))  # NumPy returns a scalar for arrays without axes
    result = empty_like(a, b) if out is None else out
    flat = flatten_in_same_order(a, b, result)
    if not np.may_share_memory(flat[2], result):  # flatten_in_same_order had to copy it
        return np.add(a, b, out=result)
    add_loop(result.size, *flat)
    return result


def _add_loop(begin, end, a, b, out):
    for i in range(begin, end):
        out[i] = a[i] + b[i]


add_loop = parallel_for(_add_loop)
