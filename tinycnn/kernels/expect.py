"""Requirements that the checks of :mod:`.contracts` are made of: each raises TypeError or ValueError, or returns."""

from __future__ import annotations

import numpy as np

from tinycnn.kernels import is_on_gpu
from tinycnn.kernels.arrays import FLOAT_TYPES

MOST = 2**31 - 1  # pixels, strides and the like: products of two of them fit into 64 bits


def numbers(kernel, **arrays):
    """Check that arguments are arrays of plain numbers in the machine's byte order."""
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray) and not is_on_gpu(array):
            raise TypeError(f"{kernel}: {name} is a {type(array).__name__}, expected an array")
        if array.dtype not in FLOAT_TYPES and (array.dtype.kind not in "iub" or not array.dtype.isnative):
            raise TypeError(f"{kernel}: {name} has dtype {array.dtype}, expected float32, float64, integers or bool")


def floats(kernel, **arrays):
    """Check that arguments are arrays of float32, or all of float64."""
    first = None
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray) and not is_on_gpu(array):
            raise TypeError(f"{kernel}: {name} is a {type(array).__name__}, expected an array")
        if array.dtype not in FLOAT_TYPES:
            raise TypeError(f"{kernel}: {name} has dtype {array.dtype}, expected float32 or float64")
        first = array if first is None else first
        dtype(kernel, name, array, first)


def dtype(kernel, name, array, like):
    if array.dtype != like.dtype:
        raise TypeError(f"{kernel}: {name} has dtype {array.dtype}, expected {like.dtype} as the others")


def dimensions(kernel, count, **arrays):
    for name, array in arrays.items():
        if array.ndim != count:
            raise ValueError(f"{kernel}: {name} has shape {array.shape}, expected {count} dimensions")


def shape(kernel, name, array, expected):
    if getattr(array, "shape", None) != tuple(expected):
        raise ValueError(f"{kernel}: {name} has shape {np.shape(array)}, expected {tuple(expected)}")


def alike(kernel, like, **arrays):
    """Check that arrays that are not None have the shape and dtype of ``like``."""
    for name, array in arrays.items():
        if array is not None:
            numbers(kernel, **{name: array})
            shape(kernel, name, array, like.shape)
            dtype(kernel, name, array, like)


def writable(kernel, **arrays):
    for name, array in arrays.items():
        if isinstance(array, np.ndarray) and not array.flags.writeable:
            raise ValueError(f"{kernel}: {name} is read-only, expected an array that can be written to")


def axis(kernel, x, axis):
    integer(kernel, "axis", axis, -max(x.ndim, 1), max(x.ndim, 1) - 1)


def integer(kernel, name, value, least, most=MOST):
    if not isinstance(value, (int, np.integer)) or not least <= value <= most:
        raise ValueError(f"{kernel}: {name} is {value!r}, expected an integer from {least} to {most}")


def one_of(kernel, name, value, expected):
    if value not in expected:
        raise ValueError(f"{kernel}: {name} is {value!r}, expected one of: {', '.join(expected)}")


def real(kernel, name, value):
    if not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{kernel}: {name} is {value!r}, expected a number")


def pair(kernel, name, values, least):
    if type(values) is tuple and len(values) == 2:
        first, second = values
        if type(first) is int and type(second) is int and least <= first <= MOST and least <= second <= MOST:
            return
    if not isinstance(values, (tuple, list)) or len(values) != 2:
        raise ValueError(f"{kernel}: {name} is {values!r}, expected a pair of integers")
    for value in values:
        integer(kernel, name, value, least)


def sizes(kernel, name, shape, count):
    if not isinstance(shape, (tuple, list)) or len(shape) != count:
        raise ValueError(f"{kernel}: {name} is {shape!r}, expected {count} sizes")
    for size in shape:
        integer(kernel, name, size, 0)
