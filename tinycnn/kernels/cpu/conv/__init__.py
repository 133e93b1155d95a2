"""Convolution, forward and backward, by one of three algorithms that compute the same numbers to rounding.

=========  ==========================================================================================================
im2col     The one to read first: an image at a time, columns and a matrix product (this file, :mod:`.cpu.im2col`
           and :mod:`.cpu.matmul`). Needs kernel height * kernel width copies of an image.
direct     Fast for every shape: pixels are read from the image, in NHWC order (:mod:`.direct`).
winograd   For 3x3 and 5x5 kernels of stride 1: 36 multiplications where the others need 144 or 100
           (:mod:`.winograd`). Errors are larger: in float32 about 1e-5 of the largest output, 1e-6 with direct.
auto       Winograd if possible, else direct.
=========  ==========================================================================================================
"""

from __future__ import annotations

import math

import numpy as np

from tinycnn.kernels.cpu.conv import direct, winograd, winograd_gradient
from tinycnn.kernels.cpu.conv.direct_plan import output_size
from tinycnn.kernels.cpu.im2col import col2im, im2col
from tinycnn.kernels.cpu.machine.allocator import empty, zeros
from tinycnn.kernels.cpu.machine.nhwc import merge_rows, to_nhwc
from tinycnn.kernels.cpu.machine.parallel import parallel_for
from tinycnn.kernels.cpu.machine.tuning import BIAS_ROWS
from tinycnn.kernels.cpu.matmul import matmul

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
    """Convolve images (N, C, H, W) with weights (C_out, C / groups, kH, kW); return (N, C_out, H_out, W_out).

    Raises
    ------
    ValueError
        If the algorithm is unknown, or winograd does not fit this shape.
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
    """Return the gradient of the input: the adjoint of the convolution, applied to the output's gradient."""
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
    """Return the gradient of the weight: output gradients times the pixels under the kernel, summed over the batch."""
    if algorithm == "im2col":
        return _im2col_backward_weight(grad, x, weight_shape, stride, padding, dilation, groups)
    if _by_winograd(algorithm, weight_shape, stride, padding, dilation, groups):
        return winograd_gradient.conv2d_backward_weight(grad, x, weight_shape, padding)
    return direct.conv2d_backward_weight(grad, x, weight_shape, stride, padding, dilation, groups)


def conv2d_backward_bias(grad: np.ndarray) -> np.ndarray:
    """Return the gradient of the bias: the sum over images and pixels."""
    pixels = to_nhwc(grad)
    outputs = pixels.shape[3]
    rows = merge_rows(pixels.reshape(math.prod(pixels.shape[:3]), outputs))
    sums = np.zeros((-(-len(rows) // BIAS_ROWS), rows.shape[1]))
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
    """Return True if Winograd's algorithm is chosen, by name or by "auto"."""
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
    out_size = tuple(output_size(*axis) for axis in zip(x.shape[2:], weight.shape[2:], stride, padding, dilation))
    out = empty((x.shape[0], weight.shape[0], out_size[0] * out_size[1]), x.dtype)
    for n, inputs, outputs in _images_and_groups(x.shape[0], weight, groups):
        columns = im2col(x[n : n + 1, inputs], weight.shape[2:], stride, padding, dilation)[0]
        out[n, outputs] = matmul(_rows(weight[outputs]), columns)
    if bias is not None:
        out += bias[:, None]
    return out.reshape(*out.shape[:2], *out_size)


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
    """Return an array (A, ...) as a matrix of A rows."""
    return array.reshape(array.shape[0], math.prod(array.shape[1:]))


def _images_and_groups(images: int, weight: np.ndarray, groups: int):
    """Yield, image by image and group by group, the image's number, the group's input channels and its outputs."""
    inputs, outputs = weight.shape[1], weight.shape[0] // groups
    for n in range(images):
        for g in range(groups):
            yield n, slice(g * inputs, (g + 1) * inputs), slice(g * outputs, (g + 1) * outputs)


# -- loops -------------------------------------------------------------------------------------------------------------


def _row_sums(begin, end, rows, sums):
    """Sum each block of rows, in float64."""
    for block in range(begin, end):
        total = sums[block]
        for r in range(block * BIAS_ROWS, min(rows.shape[0], (block + 1) * BIAS_ROWS)):
            for c in range(rows.shape[1]):
                total[c] += rows[r, c]


row_sums_loop = parallel_for(_row_sums)
