"""Views of a device array's memory, its owner, and the matrix product of the vendor's library."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinycnn.kernels.cuda.machine import target
from tinycnn.kernels.cuda.machine.device_array import DeviceArray
from tinycnn.kernels.cuda.machine.target import SIMULATED


def window(array: DeviceArray) -> tuple[DeviceArray, int]:
    """Return a view's memory from its lowest to its highest element, in one dimension, and the offset of element 0."""
    raw = array.raw
    if raw.flags.c_contiguous:
        return DeviceArray(raw.reshape(-1)), 0
    downward = [stride < 0 for stride in raw.strides]
    raw = raw[tuple(slice(None, None, -1) if down else slice(None) for down in downward)]
    reach = [(n - 1) * (stride // raw.itemsize) for n, stride in zip(raw.shape, raw.strides)]
    flat = target.xp.lib.stride_tricks.as_strided(raw, (sum(reach) + 1 if raw.size else 0,), (raw.itemsize,))
    return DeviceArray(flat), sum(n for n, down in zip(reach, downward) if down)


def repeated(array: DeviceArray, shape: tuple[int, ...]) -> DeviceArray:
    """Return a view of a larger shape, as NumPy broadcasts."""
    return DeviceArray(target.xp.broadcast_to(array.raw, shape))


def cut(array: DeviceArray, axis: int, pieces: int) -> DeviceArray:
    """Return a view with a dimension cut into equal pieces: (..., n, ...) as (..., pieces, n / pieces, ...)."""
    raw, length = array.raw, array.shape[axis] // pieces
    shape = (*raw.shape[:axis], pieces, length, *raw.shape[axis + 1 :])
    strides = (*raw.strides[:axis], raw.strides[axis] * length, *raw.strides[axis:])
    return DeviceArray(target.xp.lib.stride_tricks.as_strided(raw, shape, strides))


def owner(array: DeviceArray) -> Any:
    """Return the object that owns an array's memory: two arrays that share memory have the same owner."""
    if not SIMULATED:
        return array.raw.data.mem
    raw = array.raw
    while isinstance(raw.base, np.ndarray):
        raw = raw.base
    return raw


def library_matmul(a: DeviceArray, b: DeviceArray, out: DeviceArray | None = None) -> DeviceArray:
    """Return matrix products by cuBLAS; in the simulator by NumPy.

    CuPy copies a matrix whose strides cuBLAS cannot take. So a matrix that is repeated is handed over once, and a
    single product as one of two matrices, which may be transposed.
    """
    steps = a.strides[:-2], b.strides[:-2]
    factors = [
        x.raw[tuple(slice(0, 1) if step == 0 != other else slice(None) for step, other in zip(own, others))]
        for x, own, others in ((a, *steps), (b, *steps[::-1]))
    ]
    product = None if out is None else out.raw
    many = tuple(map(max, *(x.shape[:-2] for x in factors)))
    if product is not None and set(many) <= {1}:
        first = (0,) * len(many)
        target.xp.matmul(*(x[first] for x in factors), out=product[first])
    else:
        product = target.xp.matmul(*factors, out=product)
    return DeviceArray(product)
