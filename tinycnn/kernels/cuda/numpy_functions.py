"""NumPy's functions for device arrays, under NumPy's names: ``np.where(x > 0, x, 0)`` runs :func:`where`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from tinycnn.kernels.cuda import elementwise, indexing, layout
from tinycnn.kernels.cuda.machine.device_array import DeviceArray, empty, implements, zeros
from tinycnn.kernels.cuda.machine.views import repeated


@implements(np.shape)
def shape(x: DeviceArray) -> tuple[int, ...]:
    return x.shape


@implements(np.result_type)
def result_type(*values: Any) -> np.dtype:
    return np.result_type(*(x.dtype if isinstance(x, DeviceArray) else x for x in values))


@implements(np.where)
def where(condition: DeviceArray, a: Any, b: Any) -> DeviceArray:
    if not isinstance(condition, DeviceArray):
        return a if condition else b
    return elementwise.choose(condition, a, b)


@implements(np.clip)
def clip(x: DeviceArray, low: float | None, high: float | None, out: DeviceArray | None = None) -> DeviceArray:
    held = x if low is None else elementwise.evaluate(np.maximum, x, low, out=out)
    return held if high is None else elementwise.evaluate(np.minimum, held, high, out=out)


@implements(np.broadcast_to)
def broadcast_to(x: DeviceArray, shape: Any) -> DeviceArray:
    return repeated(x, shape)


@implements(np.concatenate)
def concatenate(arrays: Sequence[DeviceArray], axis: int = 0) -> DeviceArray:
    return layout.join(arrays, axis)


@implements(np.stack)
def stack(arrays: Sequence[DeviceArray], axis: int = 0) -> DeviceArray:
    place = axis % (arrays[0].ndim + 1)
    return layout.join([x[(slice(None),) * place + (None,)] for x in arrays], place)


@implements(np.split)
def split(x: DeviceArray, cuts: Sequence[int], axis: int = 0) -> list[DeviceArray]:
    edges = [0, *map(int, cuts), x.shape[axis]]
    before = (slice(None),) * (axis % x.ndim)
    return [x[(*before, slice(start, stop))] for start, stop in pairwise(edges)]


@implements(np.moveaxis)
def moveaxis(x: DeviceArray, source: int, destination: int) -> DeviceArray:
    order = [axis for axis in range(x.ndim) if axis != source % x.ndim]
    order.insert(destination % x.ndim, source % x.ndim)
    return x.transpose(*order)


@implements(np.take_along_axis)
def take_along_axis(x: DeviceArray, indices: DeviceArray, axis: int) -> DeviceArray:
    return indexing.take_along(x, indices, axis)


@implements(np.put_along_axis)
def put_along_axis(x: DeviceArray, indices: DeviceArray, values: DeviceArray, axis: int) -> None:
    indexing.put_along(x, indices, values, axis)


@implements(np.zeros_like)
def zeros_like(x: DeviceArray, dtype: Any = None) -> DeviceArray:
    return zeros(x.shape, dtype or x.dtype)


@implements(np.ones_like)
def ones_like(x: DeviceArray, dtype: Any = None) -> DeviceArray:
    return full_like(x, 1, dtype)


@implements(np.empty_like)
def empty_like(x: DeviceArray, dtype: Any = None) -> DeviceArray:
    return empty(x.shape, dtype or x.dtype)


@implements(np.full_like)
def full_like(x: DeviceArray, value: float, dtype: Any = None) -> DeviceArray:
    out = empty_like(x, dtype)
    out.fill(value)
    return out


@implements(np.linalg.norm)
def norm(x: DeviceArray, order: float = 2) -> DeviceArray:
    """Of a vector."""
    if order == np.inf:
        return abs(x).max()
    return (abs(x) ** order).sum() ** (1 / order) if order != 2 else np.sqrt((x * x).sum())
