"""Indexing with arrays: NumPy works out on the host which elements an index means, kernels move them.

So every index means what it means in NumPy. Index arrays that are on the GPU are copied to the host for it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinycnn.kernels.cuda.layout import assign
from tinycnn.kernels.cuda.machine.device_array import DeviceArray, contiguous, empty, from_host, operation, to_host
from tinycnn.kernels.cuda.machine.launch import kernel, launch
from tinycnn.kernels.cuda.machine.target import cuda
from tinycnn.kernels.cuda.machine.views import repeated


@operation
def take(x: DeviceArray, index: Any) -> DeviceArray:
    """x[index], a copy."""
    places = _places(x.shape, index)
    out = empty(places.shape, x.dtype)
    launch(take_kernel, out.size, contiguous(x).reshape(-1), from_host(places.reshape(-1)), out.reshape(-1))
    return out


@operation
def put(x: DeviceArray, index: Any, value: Any) -> None:
    """x[index] = value. Where an index means one element many times, the last value stays."""
    places = _places(x.shape, index)
    last, where = np.unique(places.reshape(-1)[::-1], return_index=True)
    values = empty(places.shape, x.dtype)
    assign(values, value)
    whole = contiguous(x)
    launch(
        put_kernel, last.size, values.reshape(-1), from_host(places.size - 1 - where), from_host(last),
        whole.reshape(-1),
    )  # fmt: skip
    if whole is not x:
        assign(x, whole)


@operation
def add_at(x: DeviceArray, index: Any, value: DeviceArray) -> None:
    """Add each value where its index says; an element that is meant many times gets the sum, in order."""
    places = _places(x.shape, index)
    order = np.argsort(places.reshape(-1), kind="stable")
    targets, starts = np.unique(places.reshape(-1)[order], return_index=True)
    values = contiguous(repeated(value, places.shape)).reshape(-1)
    whole = contiguous(x)
    launch(
        add_at_kernel, targets.size, values, from_host(order), from_host(np.append(starts, order.size)),
        from_host(targets), whole.reshape(-1),
    )  # fmt: skip
    if whole is not x:
        assign(x, whole)


def take_along(x: DeviceArray, indices: DeviceArray, axis: int) -> DeviceArray:
    """For each index the element that it means along one dimension."""
    out = empty(indices.shape, x.dtype)
    inner = int(np.prod(x.shape[axis % x.ndim + 1 :], dtype=np.int64))
    flat = contiguous(x).reshape(-1), contiguous(indices).reshape(-1)
    launch(take_along_kernel, out.size, *flat, x.shape[axis], indices.shape[axis], inner, out.reshape(-1))
    return out


def put_along(x: DeviceArray, indices: DeviceArray, values: DeviceArray, axis: int) -> None:
    """The reverse of :func:`take_along`; an element shall be meant once at most."""
    inner = int(np.prod(x.shape[axis % x.ndim + 1 :], dtype=np.int64))
    flat = contiguous(values).reshape(-1), contiguous(indices).reshape(-1)
    whole = contiguous(x)
    launch(put_along_kernel, indices.size, *flat, x.shape[axis], indices.shape[axis], inner, whole.reshape(-1))
    if whole is not x:
        assign(x, whole)


def _places(shape: tuple[int, ...], index: Any) -> np.ndarray:
    """The places in flat memory of the elements that an index means."""
    parts = index if isinstance(index, tuple) else (index,)
    parts = tuple(to_host(part) if isinstance(part, DeviceArray) else part for part in parts)
    return np.asarray(np.arange(int(np.prod(shape, dtype=np.int64))).reshape(shape)[parts])


# -- kernels -----------------------------------------------------------------------------------------------------------


@kernel
def take_kernel(x, places, out):
    """Thread = output element."""
    for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[i] = x[places[i]]


@kernel
def put_kernel(values, sources, targets, x):
    """Thread = element that changes."""
    for i in range(cuda.grid(1), targets.size, cuda.gridsize(1)):
        x[targets[i]] = values[sources[i]]


@kernel
def add_at_kernel(values, order, starts, targets, x):
    """Thread = element that changes: it gathers its values, so that no two threads add to one place."""
    for i in range(cuda.grid(1), targets.size, cuda.gridsize(1)):
        total = x[targets[i]]
        for j in range(starts[i], starts[i + 1]):
            total += values[order[j]]
        x[targets[i]] = total


@kernel
def take_along_kernel(x, indices, length, count, inner, out):
    """Thread = index."""
    for i in range(cuda.grid(1), indices.size, cuda.gridsize(1)):
        out[i] = x[(i // (inner * count) * length + indices[i]) * inner + i % inner]


@kernel
def put_along_kernel(values, indices, length, count, inner, x):
    """Thread = index."""
    for i in range(cuda.grid(1), indices.size, cuda.gridsize(1)):
        x[(i // (inner * count) * length + indices[i]) * inner + i % inner] = values[i]
