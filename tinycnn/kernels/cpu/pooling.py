"""Pooling: each output is the largest element, or the average, of a window.

The innermost loops run over the channels of a pixel, which are neighbours in memory, so they vectorise whatever the
window. Both kinds of average share their loops, which see each axis as a table of windows.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from tinycnn.kernels.cpu.machine.allocator import empty
from tinycnn.kernels.cpu.machine.nhwc import as_nchw, to_nhwc
from tinycnn.kernels.cpu.machine.parallel import parallel_for
from tinycnn.kernels.cpu.windows import WINDOWS, window_numbers
from tinycnn.kernels.geometry import Pair, PoolShape, Shape

FIRST, END, DIVISOR = range(3)  # rows of the windows of an axis: first pixel, the one behind the last, divisor


def max_pool2d(x: np.ndarray, shape: PoolShape) -> tuple[np.ndarray, np.ndarray]:
    """Compare pixels, all channels at once; a task is a row of outputs.

    >>> out, taken = max_pool2d(np.array([[[[1.0, 5.0], [5.0, 2.0]]]]), PoolShape.of((1, 1, 2, 2), 2))
    >>> out.item(), taken.item()
    (5.0, 1)
    """
    n, c, rows, columns = shape.output
    out, taken = empty((n, rows, columns, c), x.dtype), empty((n, rows, columns, c), np.int16)
    max_pool2d_loop(n * rows, to_nhwc(x), window_numbers(shape), out, taken)
    return as_nchw(out), as_nchw(taken)


def max_pool2d_backward(grad: np.ndarray, taken: np.ndarray, shape: PoolShape) -> np.ndarray:
    """Gather: each element of the input adds the gradients of the windows whose maximum it is."""
    n, c, height, width = shape.input
    out = empty((n, height, width, c), grad.dtype)
    max_pool2d_backward_loop(n * height, to_nhwc(grad), to_nhwc(taken), window_numbers(shape), out)
    return as_nchw(out)


def avg_pool2d(x: np.ndarray, shape: PoolShape, count_include_pad: bool) -> np.ndarray:
    """Add up each window in float64."""
    return _average(x, *_avg_windows(shape, count_include_pad))


def avg_pool2d_backward(grad: np.ndarray, shape: PoolShape, count_include_pad: bool) -> np.ndarray:
    return _distribute(grad, shape.input, *_avg_windows(shape, count_include_pad))


def adaptive_avg_pool2d(x: np.ndarray, output_size: Pair) -> np.ndarray:
    return _average(x, *map(_adaptive_windows, x.shape[2:], output_size))


def adaptive_avg_pool2d_backward(grad: np.ndarray, input_shape: Shape) -> np.ndarray:
    return _distribute(grad, input_shape, *map(_adaptive_windows, input_shape[2:], grad.shape[2:]))


@lru_cache(maxsize=512)
def _avg_windows(shape: PoolShape, count_include_pad: bool) -> list[np.ndarray]:
    """Return the windows (3, count) of each axis."""
    windows = []
    for axis, count in zip(shape.axes, shape.output[2:]):
        start = np.arange(count) * axis.stride - axis.before
        end = np.minimum(start + axis.kernel, axis.size + axis.after)
        inside = np.clip(start, 0, axis.size), np.clip(end, 0, axis.size)
        counted = end - start if count_include_pad else inside[1] - inside[0]
        windows.append(np.array((*inside, np.maximum(counted, 1)), np.int64))
    return windows


@lru_cache(maxsize=512)
def _adaptive_windows(size: int, count: int) -> np.ndarray:
    """Return the windows (3, count); window i of n is from floor(i size / n) to ceil((i + 1) size / n)."""
    i = np.arange(count)
    start, end = i * size // count, -(-(i + 1) * size // count)
    return np.array((start, end, end - start), np.int64)


def _average(x: np.ndarray, down: np.ndarray, across: np.ndarray) -> np.ndarray:
    n, c = x.shape[:2]
    out = empty((n, down.shape[1], across.shape[1], c), x.dtype)
    average_loop(n * down.shape[1], to_nhwc(x), down, across, out)
    return as_nchw(out)


def _distribute(grad: np.ndarray, input_shape: Shape, down: np.ndarray, across: np.ndarray) -> np.ndarray:
    n, c, height, width = input_shape
    out = empty((n, height, width, c), grad.dtype)
    distribute_loop(n, to_nhwc(grad), down, across, out)
    return as_nchw(out)


# -- loops ---------------------------------------------------------------------------------------------------


def _max_pool2d_loop(begin, end, x, windows, out, argmax_indices):
    kernel_y, kernel_x = windows[WINDOWS.kernel_y], windows[WINDOWS.kernel_x]
    stride_y, stride_x = windows[WINDOWS.stride_y], windows[WINDOWS.stride_x]
    pad_y, pad_x = windows[WINDOWS.top], windows[WINDOWS.left]
    dilation_y, dilation_x = windows[WINDOWS.dilation_y], windows[WINDOWS.dilation_x]
    height, width, channels = x.shape[1:]
    rows, columns = out.shape[1], out.shape[2]
    for task in range(begin, end):
        n, row = task // rows, task % rows
        for column in range(columns):
            best, which = out[n, row, column], argmax_indices[n, row, column]
            best[:] = -np.inf
            which[:] = -1
            for i in range(kernel_y):
                y = row * stride_y - pad_y + i * dilation_y
                if y < 0 or y >= height:
                    continue
                for j in range(kernel_x):
                    left = column * stride_x - pad_x + j * dilation_x
                    if left < 0 or left >= width:
                        continue
                    pixel, tap = x[n, y, left], np.int16(i * kernel_x + j)
                    for c in range(channels):
                        value = pixel[c]
                        wins = (value > best[c]) | (value != value) | (which[c] < 0)
                        best[c] = value if wins else best[c]
                        which[c] = tap if wins else which[c]


def _max_pool2d_backward_loop(begin, end, grad, argmax_indices, windows, out):
    kernel_y, kernel_x = windows[WINDOWS.kernel_y], windows[WINDOWS.kernel_x]
    stride_y, stride_x = windows[WINDOWS.stride_y], windows[WINDOWS.stride_x]
    pad_y, pad_x = windows[WINDOWS.top], windows[WINDOWS.left]
    dilation_y, dilation_x = windows[WINDOWS.dilation_y], windows[WINDOWS.dilation_x]
    height, width, channels = out.shape[1:]
    rows, columns = grad.shape[1], grad.shape[2]
    for task in range(begin, end):
        n, y = task // height, task % height
        out[n, y] = 0
        for i in range(kernel_y):
            top = y + pad_y - i * dilation_y
            row = top // stride_y
            if top % stride_y or row < 0 or row >= rows:
                continue
            for j in range(kernel_x):
                tap = np.int16(i * kernel_x + j)
                for column in range(columns):
                    left = column * stride_x - pad_x + j * dilation_x
                    if 0 <= left < width:
                        total, gradient, which = out[n, y, left], grad[n, row, column], argmax_indices[n, row, column]
                        for c in range(channels):
                            total[c] += gradient[c] if which[c] == tap else 0


def _average_loop(begin, end, x, down, across, out):
    rows, columns, channels = out.shape[1:]
    for task in range(begin, end):
        n, row = task // rows, task % rows
        total = np.empty(channels, np.float64)
        for column in range(columns):
            total[:] = 0
            for y in range(down[FIRST, row], down[END, row]):
                for x_in in range(across[FIRST, column], across[END, column]):
                    for c in range(channels):
                        total[c] += x[n, y, x_in, c]
            factor = 1 / (down[DIVISOR, row] * across[DIVISOR, column])
            for c in range(channels):
                out[n, row, column, c] = total[c] * factor


def _distribute_loop(begin, end, grad, down, across, out):
    rows, columns, channels = grad.shape[1:]
    for n in range(begin, end):
        out[n] = 0
        for row in range(rows):
            for column in range(columns):
                factor = grad.dtype.type(1 / (down[DIVISOR, row] * across[DIVISOR, column]))
                for y in range(down[FIRST, row], down[END, row]):
                    for x_in in range(across[FIRST, column], across[END, column]):
                        for c in range(channels):
                            out[n, y, x_in, c] += grad[n, row, column, c] * factor


max_pool2d_loop = parallel_for(_max_pool2d_loop)
max_pool2d_backward_loop = parallel_for(_max_pool2d_backward_loop)
average_loop = parallel_for(_average_loop)
distribute_loop = parallel_for(_distribute_loop)
