"""The largest element, or the average, of each window."""

import itertools

import numpy as np

from tinycnn.kernels.reference.im2col import pixels_under

# -- the largest element -----------------------------------------------------------------------------------------------


def max_pool2d(x, shape):
    (_, _, H, W), margins = x.shape, _margins(shape)
    padded = np.pad(x, margins)  # (N, C, H + margins, W + margins)
    is_pixel = np.pad(np.ones((1, 1, H, W), bool), margins)  # (1, 1, H + margins, W + margins)
    out = np.full(shape.output, -np.inf, x.dtype)  # (N, C, H_out, W_out)
    taken = np.full(shape.output, -1, np.int16)  # (N, C, H_out, W_out)
    for number, (i, j) in enumerate(np.ndindex(shape.kernel_size)):
        index = pixels_under(i, j, shape)
        value = padded[index]  # (N, C, H_out, W_out)
        wins = is_pixel[index] & ((value > out) | np.isnan(value) | (taken < 0))  # (N, C, H_out, W_out)
        out[wins], taken[wins] = value[wins], number
    return out, taken


def max_pool2d_backward(grad, taken, shape):
    (N, C, H, W), (_, _, (top, below), (left, right)) = shape.input, _margins(shape)
    padded = np.zeros((N, C, top + H + below, left + W + right), grad.dtype)
    for number, (i, j) in enumerate(np.ndindex(shape.kernel_size)):
        padded[pixels_under(i, j, shape)] += np.where(taken == number, grad, 0)
    return padded[:, :, top : top + H, left : left + W].copy()  # (N, C, H, W)


def _margins(shape):
    """Return the width of the padding, which in ceil mode reaches to the end of the last window."""
    ends = [axis.stride * (n - 1) - axis.before + axis.span for axis, n in zip(shape.axes, shape.output[2:])]
    return (0, 0), (0, 0), *((axis.before, max(end - axis.size, 0)) for axis, end in zip(shape.axes, ends))


# -- the average: a window of an axis is its number, a slice of pixels, and the number that they are divided by --------


def avg_pool2d(x, shape, count_include_pad):
    return _average(x, *_windows(shape, count_include_pad))


def avg_pool2d_backward(grad, shape, count_include_pad):
    return _divide_among(grad, shape.input, *_windows(shape, count_include_pad))


def adaptive_avg_pool2d(x, output_size):
    return _average(x, *map(_adaptive_windows, x.shape[2:], output_size))


def adaptive_avg_pool2d_backward(grad, input_shape):
    return _divide_among(grad, input_shape, *map(_adaptive_windows, input_shape[2:], grad.shape[2:]))


def _average(x, down, across):
    out = np.empty((*x.shape[:2], len(down), len(across)), x.dtype)  # (N, C, H_out, W_out)
    for (row, ys, height), (column, xs, width) in itertools.product(down, across):
        out[:, :, row, column] = x[:, :, ys, xs].sum(axis=(2, 3)) / (height * width)  # (N, C)
    return out


def _divide_among(grad, input_shape, down, across):
    """Return the adjoint of the average."""
    grad_input = np.zeros(input_shape, grad.dtype)  # (N, C, H, W)
    for (row, ys, height), (column, xs, width) in itertools.product(down, across):
        grad_input[:, :, ys, xs] += grad[:, :, row, column, None, None] / (height * width)  # (N, C, 1, 1)
    return grad_input


def _windows(shape, count_include_pad):
    """Return the windows of each axis; ``count_include_pad`` counts zeros of the padding, but nothing beyond it."""
    for axis, count in zip(shape.axes, shape.output[2:]):
        n, k = axis.size, axis.kernel
        starts = [i * axis.stride - axis.before for i in range(count)]
        pixels = [slice(*np.clip([start, start + k], 0, n)) for start in starts]
        with_padding = [min(start + k, n + axis.after) - start for start in starts]
        counts = with_padding if count_include_pad else [max(len(range(n)[window]), 1) for window in pixels]
        yield list(zip(range(count), pixels, counts))


def _adaptive_windows(n, count):
    """Return the windows of an axis of n pixels: from floor(i n / count) to ceil((i + 1) n / count)."""
    edges = [(i * n // count, -(-(i + 1) * n // count)) for i in range(count)]
    return [(i, slice(start, end), end - start) for i, (start, end) in enumerate(edges)]
