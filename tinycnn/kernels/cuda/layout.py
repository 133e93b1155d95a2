"""Copies between arrays that lie differently in memory. Images are (N, C, H, W) in memory as in shape.

A kernel sees flat memory. Element (a, b, c, d) of a view lies at ``start + a s0 + b s1 + c s2 + d s3``: with a step of
0 a dimension is repeated, with other steps it is a slice or a transpose.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinycnn.kernels.cuda.machine.device_array import DeviceArray, empty, number_or_array, operation
from tinycnn.kernels.cuda.machine.launch import device_function, kernel, launch
from tinycnn.kernels.cuda.machine.target import cuda
from tinycnn.kernels.cuda.machine.views import repeated, window

RANK = 4


def channels_last(images: DeviceArray) -> DeviceArray:
    """Return the images themselves: they are stored in the order of their shape."""
    return images


def join_channels(parts: Sequence[DeviceArray]) -> DeviceArray:
    return join(parts, 1)


def join(parts: Sequence[DeviceArray], axis: int) -> DeviceArray:
    """Arrays that differ in one dimension's size, one behind the other along it."""
    shape = list(parts[0].shape)
    shape[axis] = sum(part.shape[axis] for part in parts)
    out = empty(tuple(shape), np.result_type(*(part.dtype for part in parts)))
    start = 0
    for part in parts:
        stop = start + part.shape[axis]
        assign(out[(slice(None),) * (axis % len(shape)) + (slice(start, stop),)], part)
        start = stop
    return out


@operation
def assign(target: DeviceArray, value: Any) -> None:
    """Convert the value to the target's dtype."""
    value = number_or_array(value)
    if not isinstance(value, DeviceArray):
        target.fill(value)
        return
    if target.dtype == np.bool_ != value.dtype:
        value = value != 0
    value = value if value.shape == target.shape else repeated(value, target.shape)
    shape, strides = merged(target.shape, value, target)
    if len(shape) > RANK:
        for i in range(target.shape[0]):
            assign(target[i], value[i])
        return
    launch(
        copy_kernel, target.size, *placed(value, strides[0]), *placed(target, strides[1]), *padded(shape, 1)[1:],
        target.size,
    )  # fmt: skip


# -- views as flat memory ----------------------------------------------------------------------------------------------


def merged(shape: tuple[int, ...], *arrays: DeviceArray) -> tuple[list[int], list[list[int]]]:
    """The shape and each array's steps (in elements), with dimensions joined where all arrays walk on evenly.

    A contiguous array (2, 3, 4) is one dimension of 24 elements, 1 apart.
    """
    sizes: list[int] = []
    steps: list[list[int]] = [[] for _ in arrays]
    for axis, n in enumerate(shape):
        if n == 1:
            continue
        new = [array.strides[axis] // array.itemsize for array in arrays]
        if sizes and all(own[-1] == step * n for own, step in zip(steps, new)):
            sizes[-1] *= n
            for own, step in zip(steps, new):
                own[-1] = step
        else:
            sizes.append(n)
            for own, step in zip(steps, new):
                own.append(step)
    return sizes, steps


def padded(values: Sequence[int], filler: int) -> tuple[int, ...]:
    """Four numbers: fillers, then the values."""
    return (*(filler,) * (RANK - len(values)), *values)


def placed(array: DeviceArray, steps: Sequence[int]) -> tuple[Any, ...]:
    """A view as a kernel's arguments: flat memory, start, four steps."""
    memory, start = window(array)
    return memory, start, *padded(steps, 0)


# -- kernels -----------------------------------------------------------------------------------------------------------


@device_function
def place(i, start, s0, s1, s2, s3, n1, n2, n3):
    """Return the offset of element i of an array (n0, n1, n2, n3)."""
    d = i % n3
    i = i // n3
    c = i % n2
    i = i // n2
    return start + i // n1 * s0 + i % n1 * s1 + c * s2 + d * s3


@kernel
def copy_kernel(source, a, a0, a1, a2, a3, target, b, b0, b1, b2, b3, n1, n2, n3, size):
    """Thread = element."""
    for i in range(cuda.grid(1), size, cuda.gridsize(1)):
        target[place(i, b, b0, b1, b2, b3, n1, n2, n3)] = source[place(i, a, a0, a1, a2, a3, n1, n2, n3)]
