"""Convolution, forward and backward, by one of three algorithms that give the same numbers to rounding.

=========  ==========================================================================================================
im2col     The reference to read: one image at a time, columns and a matrix product (this file,
           :mod:`tinycnn.kernels.cpu.im2col` and ``matmul``). Needs kernel height * kernel width copies of an image.
direct     The fast path for every shape: pixels are read where they lie, channels last (:mod:`.direct`).
winograd   For 3x3 and 5x5 kernels of stride 1: 36 multiplications where the others need 144 or 100
           (:mod:`.winograd`). Errors are larger: in float32 about 1e-5 of the largest output where direct has 1e-6.
auto       Winograd where it can, else direct.
=========  ==========================================================================================================
"""

from __future__ import annotations

import math

import numpy as np

from tinycnn.kernels.cpu.conv import direct, winograd
from tinycnn.kernels.cpu.im2col import col2im, im2col
from tinycnn.kernels.cpu.machine.allocator import empty, zeros
from tinycnn.kernels.cpu.machine.nhwc import to_pixels, wide
from tinycnn.kernels.cpu.machine.parallel import jit
from tinycnn.kernels.cpu.matmul import matmul

BLOCK = 256
ALGORITHMS = ("auto", "im2col", "direct", "winograd")

Size = tuple[int, int]


def conv2d(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None,
    stride: Size,
    padding: Size,
    dilation: Size,
    groups: int,
    algorithm: str = "auto",
) -> np.ndarray:
    """Images (N, C, H, W) and weights (O, C / groups, kH, kW) to (N, O, H_out, W_out).

    Raises
    ------
    ValueError
        If the algorithm is unknown, or winograd cannot do this shape.
    """
    if algorithm == "im2col":
        return _im2col_forward(x, weight, bias, stride, padding, dilation, groups)
    if _by_winograd(algorithm, weight.shape, stride, padding, dilation, groups):
        return winograd.conv2d(x, weight, bias, padding)
    return direct.conv2d(x, weight, bias, stride, padding, dilation, groups)


def conv2d_backward_input(
    grad: np.ndarray,
    weight: np.ndarray,
    input_shape: tuple[int, ...],
    stride: Size,
    padding: Size,
    dilation: Size,
    groups: int,
    algorithm: str = "auto",
) -> np.ndarray:
    """Gradient with respect to the input: the adjoint of the convolution, applied to the output's gradient."""
    if algorithm == "im2col":
        return _im2col_backward_input(grad, weight, input_shape, stride, padding, dilation, groups)
    if _by_winograd(algorithm, weight.shape, stride, padding, dilation, groups):
        return winograd.conv2d_backward_input(grad, weight, padding)
    return direct.conv2d_backward_input(grad, weight, input_shape, stride, padding, dilation, groups)


def conv2d_backward_weight(
    grad: np.ndarray,
    x: np.ndarray,
    weight_shape: tuple[int, ...],
    stride: Size,
    padding: Size,
    dilation: Size,
    groups: int,
    algorithm: str = "auto",
) -> np.ndarray:
    """Gradient with respect to the weight: output gradients times the pixels they came from, over the whole batch."""
    if algorithm == "im2col":
        return _im2col_backward_weight(grad, x, weight_shape, stride, padding, dilation, groups)
    if _by_winograd(algorithm, weight_shape, stride, padding, dilation, groups):
        return winograd.conv2d_backward_weight(grad, x, weight_shape, padding)
    return direct.conv2d_backward_weight(grad, x, weight_shape, stride, padding, dilation, groups)


def conv2d_backward_bias(grad: np.ndarray) -> np.ndarray:
    """Gradient with respect to the bias: the sum over images and pixels."""
    pixels = to_pixels(grad)
    outputs = pixels.shape[3]
    rows = wide(pixels.reshape(math.prod(pixels.shape[:3]), outputs))
    sums = np.zeros((-(-len(rows) // BLOCK), rows.shape[1]))
    row_sums_loop(len(sums), rows, sums)
    return sums.reshape(sums.size // max(outputs, 1), outputs).sum(axis=0).astype(grad.dtype)


def _by_winograd(
    algorithm: str,
    weight_shape: tuple[int, ...],
    stride: Size,
    padding: Size,
    dilation: Size,
    groups: int,
) -> bool:
    """Whether to convolve in Winograd's way: where asked for, or with "auto" where that is possible."""
    if algorithm not in ALGORITHMS:
        raise ValueError(f"conv2d: algorithm is {algorithm!r}, expected one of: {', '.join(ALGORITHMS)}")
    possible = winograd.fits(weight_shape, stride, padding, dilation, groups)
    if algorithm == "winograd" and not possible:
        raise ValueError(
            f"conv2d: algorithm 'winograd' takes 3x3 and 5x5 kernels of stride 1, dilation 1, less padding than kernel "
            f"and one group, with channels that are multiples of 16, but weight is {weight_shape}, stride {stride}, "
            f"padding {padding}, dilation {dilation}, groups {groups}"
        )
    return algorithm == "winograd" or (algorithm == "auto" and possible)


# -- im2col: the idea in a few lines -----------------------------------------------------------------------------------


def _im2col_forward(x, weight, bias, stride, padding, dilation, groups):
    grid = tuple(direct.output_size(*axis) for axis in zip(x.shape[2:], weight.shape[2:], stride, padding, dilation))
    out = empty((x.shape[0], weight.shape[0], grid[0] * grid[1]), x.dtype)
    for n, inputs, outputs in _images_and_groups(x.shape[0], weight, groups):
        columns = im2col(x[n : n + 1, inputs], weight.shape[2:], stride, padding, dilation)[0]
        out[n, outputs] = matmul(_rows(weight[outputs]), columns)
    if bias is not None:
        out += bias[:, None]
    return out.reshape(*out.shape[:2], *grid)


def _im2col_backward_input(grad, weight, input_shape, stride, padding, dilation, groups):
    out = empty(input_shape, grad.dtype)
    for n, inputs, outputs in _images_and_groups(input_shape[0], weight, groups):
        columns = matmul(_rows(weight[outputs]).T, _rows(grad[n, outputs]))
        shape = (1, *out[n, inputs].shape)
        out[n, inputs] = col2im(columns[None], shape, weight.shape[2:], stride, padding, dilation)[0]
    return out


def _im2col_backward_weight(grad, x, weight_shape, stride, padding, dilation, groups):
    out = zeros(weight_shape, x.dtype)
    for n, inputs, outputs in _images_and_groups(x.shape[0], out, groups):
        columns = im2col(x[n : n + 1, inputs], weight_shape[2:], stride, padding, dilation)[0]
        out[outputs] += matmul(_rows(grad[n, outputs]), columns.T).reshape(out[outputs].shape)
    return out


def _rows(array: np.ndarray) -> np.ndarray:
    """(A, ...) as a matrix of A rows."""
    return array.reshape(array.shape[0], math.prod(array.shape[1:]))


def _images_and_groups(images: int, weight: np.ndarray, groups: int):
    """Image by image, group by group: the image's number, the group's input channels, its output channels."""
    inputs, outputs = weight.shape[1], weight.shape[0] // groups
    for n in range(images):
        for g in range(groups):
            yield n, slice(g * inputs, (g + 1) * inputs), slice(g * outputs, (g + 1) * outputs)


# -- loops -------------------------------------------------------------------------------------------------------------


def _row_sums(begin, end, rows, sums):
    """The sum over each block of rows, in float64."""
    for block in range(begin, end):
        total = sums[block]
        for r in range(block * BLOCK, min(rows.shape[0], (block + 1) * BLOCK)):
            for c in range(rows.shape[1]):
                total[c] += rows[r, c]


row_sums_loop = jit(_row_sums)
