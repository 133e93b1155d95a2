"""Pooling: each output is the largest, or the average, of a window.

Loops run in parallel over the N * C planes; inside a plane everything happens in one fixed order. Averages of
both kinds share their loops, which see each axis as a list of windows [start, end).
"""

from __future__ import annotations

import numpy as np
from numba import prange

from tinycnn.kernels.cpu._jit import carray, inline, jit

Pair = tuple[int, int]
Windows = tuple[np.ndarray, np.ndarray, np.ndarray]  # start, end and divisor of each window of one axis


def pooled_size(size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool) -> int:
    """How many windows fit: (size + 2 padding - dilation (kernel - 1) - 1) / stride + 1, rounded down.

    In ceil mode rounded up, except that a last window must start inside the input or the padding before it.

    >>> pooled_size(6, 3, 2, 0, 1, ceil_mode=False), pooled_size(6, 3, 2, 0, 1, ceil_mode=True)
    (2, 3)
    """
    room = size + 2 * padding - dilation * (kernel - 1) - 1
    if not ceil_mode:
        return room // stride + 1
    count = -(-room // stride) + 1
    return count - 1 if (count - 1) * stride >= size + padding else count


def max_pool2d(
    x: np.ndarray, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The largest element of each window, NaN counting as larger than anything and padding as -inf.

    Parameters
    ----------
    x : (N, C, H, W)
    kernel_size, stride, padding, dilation : (int, int)
    ceil_mode : bool

    Returns
    -------
    out : (N, C, H_out, W_out)
    indices : int32, (N, C, H_out, W_out)
        Where in its plane each one was taken, as h * W + w: the first of equals, the last of several NaN.
        -1 for a window that holds nothing but padding.

    Examples
    --------
    >>> x = np.array([[[[1.0, 5.0], [5.0, 2.0]]]])
    >>> out, indices = max_pool2d(x, (2, 2), (2, 2), (0, 0), (1, 1), False)
    >>> out.item(), indices.item()
    (5.0, 1)
    """
    n, c, height, width = x.shape
    geometry = zip((height, width), kernel_size, stride, padding, dilation)
    out_height, out_width = (pooled_size(*axis, ceil_mode) for axis in geometry)
    out = np.empty((n, c, out_height, out_width), x.dtype)
    indices = np.empty(out.shape, np.int32)
    max_pool2d_loop(
        carray(x).reshape(n * c, height * width),
        np.array([(height, width), kernel_size, stride, padding, dilation], np.int64),
        out.reshape(n * c, out_height, out_width),
        indices.reshape(n * c, out_height, out_width),
    )
    return out, indices


def max_pool2d_backward(
    grad: np.ndarray,
    indices: np.ndarray,
    input_shape: tuple[int, ...],
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
) -> np.ndarray:
    """Each gradient goes to the element that was taken.

    The geometry is part of the protocol for devices that gather by it; here the indices say it all.
    """
    n, c, height, width = input_shape
    size = grad.shape[2] * grad.shape[3]
    out = np.empty(input_shape, grad.dtype)
    max_pool2d_backward_loop(
        carray(grad).reshape(n * c, size),
        carray(indices).reshape(n * c, size),
        out.reshape(n * c, height * width),
    )
    return out


def avg_pool2d(
    x: np.ndarray, kernel_size: Pair, stride: Pair, padding: Pair, ceil_mode: bool, count_include_pad: bool
) -> np.ndarray:
    """The average of each window; with ``count_include_pad`` the zeros of the padding count.

    What hangs over the padded image in ceil mode never counts.
    """
    return _average(x, *_avg_windows(x.shape, kernel_size, stride, padding, ceil_mode, count_include_pad))


def avg_pool2d_backward(
    grad: np.ndarray,
    input_shape: tuple[int, ...],
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    ceil_mode: bool,
    count_include_pad: bool,
) -> np.ndarray:
    """Each gradient is spread evenly over its window."""
    windows = _avg_windows(input_shape, kernel_size, stride, padding, ceil_mode, count_include_pad)
    return _spread(grad, input_shape, *windows)


def adaptive_avg_pool2d(x: np.ndarray, output_size: Pair) -> np.ndarray:
    """The average of windows chosen so that the output is (N, C, *output_size)."""
    if output_size == (1, 1):
        x = _as_one_row(x)
    return _average(x, *map(_adaptive_windows, x.shape[2:], output_size))


def _as_one_row(x: np.ndarray) -> np.ndarray:
    """For an average over whole planes: one long loop instead of H short ones."""
    return carray(x).reshape(*x.shape[:2], 1, x.shape[2] * x.shape[3])


def adaptive_avg_pool2d_backward(grad: np.ndarray, input_shape: tuple[int, ...]) -> np.ndarray:
    """Each gradient is spread evenly over its window."""
    return _spread(grad, input_shape, *map(_adaptive_windows, input_shape[2:], grad.shape[2:]))


def _avg_windows(
    shape: tuple[int, ...],
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    ceil_mode: bool,
    count_include_pad: bool,
) -> list[Windows]:
    windows = []
    for size, k, s, p in zip(shape[2:], kernel_size, stride, padding):
        start = np.arange(pooled_size(size, k, s, p, 1, ceil_mode)) * s - p
        end = np.minimum(start + k, size + p)
        inside = np.clip(start, 0, size), np.clip(end, 0, size)
        counted = end - start if count_include_pad else inside[1] - inside[0]
        windows.append((*inside, np.maximum(counted, 1)))
    return windows


def _adaptive_windows(size: int, count: int) -> Windows:
    """Window i of n runs from floor(i size / n) to ceil((i + 1) size / n)."""
    i = np.arange(count)
    start, end = i * size // count, -(-(i + 1) * size // count)
    return start, end, end - start


def _average(x: np.ndarray, rows: Windows, columns: Windows) -> np.ndarray:
    n, c, height, width = x.shape
    out = np.empty((n, c, rows[0].size, columns[0].size), x.dtype)
    average_loop(carray(x).reshape(n * c, height, width), *rows, *columns, out.reshape(n * c, *out.shape[2:]))
    return out


def _spread(grad: np.ndarray, input_shape: tuple[int, ...], rows: Windows, columns: Windows) -> np.ndarray:
    n, c, height, width = input_shape
    out = np.empty(input_shape, grad.dtype)
    spread_loop(carray(grad).reshape(n * c, *grad.shape[2:]), *rows, *columns, out.reshape(n * c, height, width))
    return out


# -- loops ---------------------------------------------------------------------------------------------------


def _take_larger(plane, start, stride, first, last, best, taken):
    """Offer the elements start + i * stride of a plane to the windows i of one output row."""
    for i in range(first, last):
        at = start + i * stride
        value, old, where = plane[np.uint64(at)], best[i], taken[i]
        wins = (value > old) | (value != value) | (where < 0)
        best[i] = value if wins else old
        taken[i] = np.int32(at) if wins else where


take_larger = inline(_take_larger)


def _max_pool_plane(plane, geometry, out, indices):
    """One kernel element at a time over a whole output row: no bounds to check inside, so it runs on vectors.

    The rows of geometry are size, kernel, stride, padding and dilation, each for height and width.
    """
    height, width = geometry[0]
    kernel, stride, padding, dilation = geometry[1], geometry[2], geometry[3], geometry[4]
    out_height, out_width = out.shape
    for row in range(out_height):
        best, taken = out[row], indices[row]
        for i in range(out_width):
            best[i], taken[i] = -np.inf, -1
        for i in range(kernel[0]):
            h = row * stride[0] - padding[0] + i * dilation[0]
            if 0 <= h < height:
                for j in range(kernel[1]):
                    left = j * dilation[1] - padding[1]
                    first = max(0, -(left // stride[1]))
                    last = min(out_width, (width - 1 - left) // stride[1] + 1)
                    take_larger(plane, h * width + left, stride[1], first, last, best, taken)


max_pool_plane = inline(_max_pool_plane)


def _max_pool2d_loop(x, geometry, out, indices):
    for p in prange(x.shape[0]):
        max_pool_plane(x[p], geometry, out[p], indices[p])


def _max_pool2d_backward_loop(grad, indices, out):
    planes, size = grad.shape
    for p in prange(planes):
        for i in range(out.shape[1]):
            out[p, i] = 0
        for i in range(size):
            if indices[p, i] >= 0:
                out[p, indices[p, i]] += grad[p, i]


def _average_loop(x, tops, bottoms, heights, lefts, rights, widths, out):
    planes, out_height, out_width = out.shape
    for p in prange(planes):
        for row in range(out_height):
            for column in range(out_width):
                total = 0.0
                for h in range(tops[row], bottoms[row]):
                    for w in range(lefts[column], rights[column]):
                        total += x[p, h, w]
                out[p, row, column] = total / (heights[row] * widths[column])


def _spread_loop(grad, tops, bottoms, heights, lefts, rights, widths, out):
    planes, out_height, out_width = grad.shape
    for p in prange(planes):
        for h in range(out.shape[1]):
            for w in range(out.shape[2]):
                out[p, h, w] = 0
        for row in range(out_height):
            for column in range(out_width):
                share = grad[p, row, column] / grad.dtype.type(heights[row] * widths[column])
                for h in range(tops[row], bottoms[row]):
                    for w in range(lefts[column], rights[column]):
                        out[p, h, w] += share


max_pool2d_loop = jit(_max_pool2d_loop)
max_pool2d_backward_loop = jit(_max_pool2d_backward_loop)
average_loop = jit(_average_loop, reassociate=True)
spread_loop = jit(_spread_loop)
