"""Convolution, forward and backward: columns (:mod:`.im2col`) and a matrix product for each image and group.

As many images at a time as have columns of ``MEMORY`` bytes. The gradient of the weight adds up products of several
images in one matrix product, and what remains in a reduction.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tinycnn.kernels.cuda import gemm
from tinycnn.kernels.cuda.array import DeviceArray, contiguous, empty, repeated, zeros
from tinycnn.kernels.cuda.elementwise import evaluate
from tinycnn.kernels.cuda.im2col import add_columns, im2col, output_grid
from tinycnn.kernels.cuda.machine.target import SIMULATED, num_sms

MEMORY = 2**10 if SIMULATED else 2**28
ALGORITHMS = ("auto", "im2col")

Size = tuple[int, int]


def conv2d(
    x: DeviceArray,
    weight: DeviceArray,
    bias: DeviceArray | None,
    stride: Size,
    padding: Size,
    dilation: Size,
    groups: int,
    algorithm: str = "auto",
) -> DeviceArray:
    """Images (N, C, H, W) and weights (O, C / groups, kH, kW) to (N, O, H_out, W_out).

    Raises
    ------
    ValueError
        If the algorithm is unknown here.
    """
    _check(algorithm)
    geometry = weight.shape[2:], stride, padding, dilation
    grid = output_grid(x.shape, *geometry)
    out = empty((x.shape[0], weight.shape[0], *grid), x.dtype)
    for images, result in _batches(x.shape, weight.shape, grid, x, out):
        gemm.multiply(_by_group(weight, groups, len(images)), _columns(images, groups, *geometry), out=result)
    if bias is not None:
        evaluate(np.add, out, bias.reshape(-1, 1, 1), out=out)
    return out


def conv2d_backward_input(
    grad: DeviceArray,
    weight: DeviceArray,
    input_shape: tuple[int, ...],
    stride: Size,
    padding: Size,
    dilation: Size,
    groups: int,
    algorithm: str = "auto",
) -> DeviceArray:
    """Make columns from the transposed weights, and add them up where they came from."""
    _check(algorithm)
    geometry = weight.shape[2:], stride, padding, dilation
    out = empty(input_shape, grad.dtype)
    for some, result in _batches(input_shape, weight.shape, grad.shape[2:], grad, out):
        kernels = _by_group(weight, groups, len(some)).swapaxes(2, 3)
        if _is_pointwise(*geometry):
            gemm.multiply(kernels, _pixels(some, groups), out=result)
        else:
            add_columns(gemm.multiply(kernels, _pixels(some, groups)), *geometry, result)
    return out


def conv2d_backward_weight(
    grad: DeviceArray,
    x: DeviceArray,
    weight_shape: tuple[int, ...],
    stride: Size,
    padding: Size,
    dilation: Size,
    groups: int,
    algorithm: str = "auto",
) -> DeviceArray:
    _check(algorithm)
    geometry = weight_shape[2:], stride, padding, dilation
    parts = []
    for some, images in _batches(x.shape, weight_shape, grad.shape[2:], grad, x):
        columns = _columns(images, groups, *geometry).swapaxes(2, 3)
        tiles = groups * -(-weight_shape[0] // groups // gemm.BLOCK) * -(-columns.shape[3] // gemm.BLOCK)
        steps = max(1, len(columns) * tiles // (4 * num_sms()))
        sums = gemm.multiply(_pixels(some, groups), columns, steps)
        parts.append(sums[0] if len(sums) == 1 else sums.sum(axis=0))
    total = sum(parts[1:], parts[0]) if parts else zeros(weight_shape, x.dtype)
    return total.reshape(weight_shape)


def conv2d_backward_bias(grad: DeviceArray) -> DeviceArray:
    return grad.reshape(*grad.shape[:2], grad.shape[2] * grad.shape[3]).sum(axis=2).sum(axis=0)


def _check(algorithm: str) -> None:
    if algorithm not in ALGORITHMS:
        raise ValueError(f"conv2d: algorithm is {algorithm!r}, on the GPU expected one of: {', '.join(ALGORITHMS)}")


def _batches(
    input_shape: tuple[int, ...], weight_shape: tuple[int, ...], grid: Size, *arrays: DeviceArray
) -> Iterator[tuple[DeviceArray, ...]]:
    """The same images of some arrays: as many at a time as have columns of MEMORY bytes, but at least one."""
    size = 4 * input_shape[1] * int(np.prod(weight_shape[2:])) * grid[0] * grid[1]
    count = max(1, MEMORY // max(size, 1))
    for start in range(0, input_shape[0], count):
        yield tuple(array[start : start + count] for array in arrays)


def _columns(x: DeviceArray, groups: int, *geometry: Any) -> DeviceArray:
    """Columns (N, groups, C / groups kH kW, pixels): of a 1x1 kernel the images themselves."""
    columns = contiguous(x) if _is_pointwise(*geometry) else im2col(x, *geometry)
    rows = x.shape[1] // groups * geometry[0][0] * geometry[0][1]
    return columns.reshape(x.shape[0], groups, rows, columns.size // max(x.shape[0] * groups * rows, 1))


def _is_pointwise(kernel: Size, stride: Size, padding: Size, dilation: Size) -> bool:
    return tuple(kernel) == tuple(stride) == (1, 1) and tuple(padding) == (0, 0)


def _by_group(weight: DeviceArray, groups: int, images: int) -> DeviceArray:
    """Weights (N, groups, O / groups, C / groups kH kW), the same for all images."""
    rows = contiguous(weight).reshape(groups, weight.shape[0] // groups, weight.size // max(weight.shape[0], 1))
    return repeated(rows, (images, *rows.shape))


def _pixels(images: DeviceArray, groups: int) -> DeviceArray:
    """(N, C, H, W) as (N, groups, C / groups, pixels)."""
    n, channels, height, width = images.shape
    return contiguous(images).reshape(n, groups, channels // groups, height * width)
