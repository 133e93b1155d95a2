"""Calls of kernels with an array to write into, full of a value that they must replace."""

import numpy as np


def fill(student, name, *arguments):
    """Return the array that a kernel wrote."""
    out = np.full_like(arguments[0], 12345)
    _compiled(student, name)(*arguments, out)
    return out


def number(student, name, *arguments):
    """Return the number that a kernel returned."""
    return float(_compiled(student, name)(*arguments))


def _compiled(student, name):
    kernel = getattr(student, name)
    if not hasattr(kernel, "py_func"):
        raise TypeError(f"{name} is not compiled: keep @njit above it")
    return kernel
