"""Convolution, forward and backward, by one of three algorithms that compute the same numbers to rounding.

=========  ==========================================================================================================
im2col     The one to read first: an image at a time, columns and a matrix product (:mod:`.im2col`). Needs
           kernel height * kernel width copies of an image.
direct     Fast for every shape: pixels are read from the image, in NHWC order (:mod:`.direct`).
winograd   For 3x3 and 5x5 kernels of stride 1: 36 multiplications where the others need 144 or 100
           (:mod:`.winograd`). Errors are larger: in float32 about 1e-5 of the largest output, 1e-6 with direct.
auto       Winograd if possible, else direct.
=========  ==========================================================================================================

:func:`plan` chooses, for all three passes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from tinycnn.kernels.cpu.conv import direct, im2col, winograd, winograd_gradient
from tinycnn.kernels.cpu.machine.nhwc import merge_rows, to_nhwc
from tinycnn.kernels.cpu.machine.parallel import parallel_for
from tinycnn.kernels.cpu.machine.tuning import BIAS_ROWS
from tinycnn.kernels.geometry import ConvShape


class Plan(NamedTuple):
    """An algorithm, the reason why it was chosen, and its three passes."""

    algorithm: str
    reason: str
    forward: Callable[..., np.ndarray]
    backward_input: Callable[..., np.ndarray]
    backward_weight: Callable[..., np.ndarray]


_PASSES = {
    "im2col": (im2col.conv2d, im2col.conv2d_backward_input, im2col.conv2d_backward_weight),
    "direct": (direct.conv2d, direct.conv2d_backward_input, direct.conv2d_backward_weight),
    "winograd": (winograd.conv2d, winograd.conv2d_backward_input, winograd_gradient.conv2d_backward_weight),
}


@lru_cache(maxsize=1024)
def plan(shape: ConvShape, algorithm: str) -> Plan:
    """Choose the algorithm of a convolution.

    Raises
    ------
    ValueError
        If "winograd" is asked for and cannot compute this shape.
    """
    obstacle = winograd.obstacle(shape)
    if algorithm == "winograd" and obstacle:
        raise ValueError(
            f"conv2d: algorithm 'winograd' takes 3x3 and 5x5 kernels of stride 1, dilation 1, less padding than kernel "
            f"and one group, with channels that are multiples of 16, but weight is {shape.weight}, stride "
            f"{shape.stride}, padding {shape.padding}, dilation {shape.dilation}, groups {shape.groups}"
        )
    if algorithm != "auto":
        return Plan(algorithm, "asked for", *_PASSES[algorithm])
    if obstacle:
        return Plan("direct", f"winograd cannot take {obstacle}", *_PASSES["direct"])
    return Plan("winograd", "fewer multiplications", *_PASSES["winograd"])


def conv2d(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, shape: ConvShape, algorithm: str = "auto"
) -> np.ndarray:
    return plan(shape, algorithm).forward(x, weight, bias, shape)


def conv2d_backward_input(
    grad: np.ndarray, weight: np.ndarray, shape: ConvShape, algorithm: str = "auto"
) -> np.ndarray:
    return plan(shape, algorithm).backward_input(grad, weight, shape)


def conv2d_backward_weight(grad: np.ndarray, x: np.ndarray, shape: ConvShape, algorithm: str = "auto") -> np.ndarray:
    return plan(shape, algorithm).backward_weight(grad, x, shape)


def conv2d_backward_bias(grad: np.ndarray) -> np.ndarray:
    """Add blocks of rows in float64, and then the blocks."""
    pixels = to_nhwc(grad)
    outputs = pixels.shape[3]
    rows = merge_rows(pixels.reshape(math.prod(pixels.shape[:3]), outputs))
    sums = np.zeros((-(-len(rows) // BIAS_ROWS), rows.shape[1]))
    row_sums_loop(len(sums), rows, sums)
    return sums.reshape(sums.size // max(outputs, 1), outputs).sum(axis=0).astype(grad.dtype)


# -- loops -------------------------------------------------------------------------------------------------------------


def _row_sums(begin, end, rows, sums):
    """Sum each block of rows, in float64."""
    for block in range(begin, end):
        total = sums[block]
        for r in range(block * BIAS_ROWS, min(rows.shape[0], (block + 1) * BIAS_ROWS)):
            for c in range(rows.shape[1]):
                total[c] += rows[r, c]


row_sums_loop = parallel_for(_row_sums)
