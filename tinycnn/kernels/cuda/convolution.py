"""Convolution, forward and backward: columns (:mod:`.im2col`) and a matrix product for each image and group.

As many images at a time as have columns of ``MEMORY`` bytes. The gradient of the weight adds up products of several
images in one matrix product, and what remains in a reduction.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from tinycnn.kernels.cuda import gemm
from tinycnn.kernels.cuda.array import DeviceArray, contiguous, empty, repeated, zeros
from tinycnn.kernels.cuda.elementwise import evaluate
from tinycnn.kernels.cuda.im2col import add_columns, im2col
from tinycnn.kernels.cuda.machine.target import SIMULATED, num_sms
from tinycnn.kernels.geometry import ConvShape

MEMORY = 2**10 if SIMULATED else 2**28
ALGORITHMS = ("auto", "im2col")


def conv2d(
    x: DeviceArray, weight: DeviceArray, bias: DeviceArray | None, shape: ConvShape, algorithm: str = "auto"
) -> DeviceArray:
    _check(algorithm)
    out = empty(shape.output, x.dtype)
    for images, result in _batches(shape, x, out):
        gemm.multiply(_by_group(weight, shape, len(images)), _columns(images, shape), out=result)
    if bias is not None:
        evaluate(np.add, out, bias.reshape(-1, 1, 1), out=out)
    return out


def conv2d_backward_input(
    grad: DeviceArray, weight: DeviceArray, shape: ConvShape, algorithm: str = "auto"
) -> DeviceArray:
    """Make columns from the transposed weights, and add them up where they came from."""
    _check(algorithm)
    out = empty(shape.input, grad.dtype)
    for some, result in _batches(shape, grad, out):
        kernels = _by_group(weight, shape, len(some)).swapaxes(2, 3)
        if _is_pointwise(shape):
            gemm.multiply(kernels, _pixels(some, shape.groups), out=result)
        else:
            add_columns(gemm.multiply(kernels, _pixels(some, shape.groups)), shape, result)
    return out


def conv2d_backward_weight(grad: DeviceArray, x: DeviceArray, shape: ConvShape, algorithm: str = "auto") -> DeviceArray:
    _check(algorithm)
    parts = []
    for some, images in _batches(shape, grad, x):
        columns = _columns(images, shape).swapaxes(2, 3)
        rows = -(-shape.weight[0] // shape.groups // gemm.BLOCK)
        tiles = shape.groups * rows * -(-columns.shape[3] // gemm.BLOCK)
        steps = max(1, len(columns) * tiles // (4 * num_sms()))
        sums = gemm.multiply(_pixels(some, shape.groups), columns, steps)
        parts.append(sums[0] if len(sums) == 1 else sums.sum(axis=0))
    total = sum(parts[1:], parts[0]) if parts else zeros(shape.weight, x.dtype)
    return total.reshape(shape.weight)


def conv2d_backward_bias(grad: DeviceArray) -> DeviceArray:
    return grad.reshape(*grad.shape[:2], grad.shape[2] * grad.shape[3]).sum(axis=2).sum(axis=0)


def _check(algorithm: str) -> None:
    if algorithm not in ALGORITHMS:
        raise ValueError(f"conv2d: algorithm is {algorithm!r}, on the GPU expected one of: {', '.join(ALGORITHMS)}")


def _batches(shape: ConvShape, *arrays: DeviceArray) -> Iterator[tuple[DeviceArray, ...]]:
    """The same images of some arrays: as many at a time as have columns of MEMORY bytes, but at least one."""
    size = 4 * shape.input[1] * math.prod(shape.kernel_size) * math.prod(shape.output[2:])
    count = max(1, MEMORY // max(size, 1))
    for start in range(0, shape.input[0], count):
        yield tuple(array[start : start + count] for array in arrays)


def _columns(x: DeviceArray, shape: ConvShape) -> DeviceArray:
    """Columns (N, groups, C / groups kH kW, pixels): of a 1x1 kernel the images themselves."""
    columns = contiguous(x) if _is_pointwise(shape) else im2col(x, shape)
    rows = math.prod(shape.weight[1:])
    return columns.reshape(x.shape[0], shape.groups, rows, columns.size // max(x.shape[0] * shape.groups * rows, 1))


def _is_pointwise(shape: ConvShape) -> bool:
    return shape.kernel_size == shape.stride == (1, 1) and not any(shape.padding)


def _by_group(weight: DeviceArray, shape: ConvShape, images: int) -> DeviceArray:
    """Weights (N, groups, C_out / groups, C / groups kH kW), the same for all images."""
    rows = contiguous(weight).reshape(shape.groups, weight.shape[0] // shape.groups, math.prod(weight.shape[1:]))
    return repeated(rows, (images, *rows.shape))


def _pixels(images: DeviceArray, groups: int) -> DeviceArray:
    """(N, C, H, W) as (N, groups, C / groups, pixels)."""
    n, channels, height, width = images.shape
    return contiguous(images).reshape(n, groups, channels // groups, height * width)
