"""The largest element, or the average, of each window."""

import itertools

import numpy as np

from tinycnn.kernels.geometry import pooled_size
from tinycnn.kernels.reference.im2col import pixels_under

# -- the largest element -----------------------------------------------------------------------------------------------


def max_pool2d(x, kernel_size, stride, padding, dilation, ceil_mode):
    (N, C, H, W), (kH, kW) = x.shape, kernel_size
    if kH * kW > np.iinfo(np.int16).max:
        raise ValueError(f"max_pool2d: kernel_size is {kernel_size}, expected a window of at most 32767 elements")
    out_size = tuple(map(pooled_size, (H, W), kernel_size, stride, padding, dilation, (ceil_mode, ceil_mode)))
    margins = _margins((H, W), kernel_size, stride, padding, dilation, out_size)
    padded = np.pad(x, margins)  # (N, C, H + margins, W + margins)
    is_pixel = np.pad(np.ones((1, 1, H, W), bool), margins)  # (1, 1, H + margins, W + margins)
    out = np.full((N, C, *out_size), -np.inf, x.dtype)  # (N, C, H_out, W_out)
    taken = np.full(out.shape, -1, np.int16)  # (N, C, H_out, W_out)
    for number, (i, j) in enumerate(np.ndindex(kH, kW)):
        index = pixels_under(i, j, out_size, stride, dilation)
        value = padded[index]  # (N, C, H_out, W_out)
        wins = is_pixel[index] & ((value > out) | np.isnan(value) | (taken < 0))  # (N, C, H_out, W_out)
        out[wins], taken[wins] = value[wins], number
    return out, taken


def max_pool2d_backward(grad, taken, input_shape, kernel_size, stride, padding, dilation):
    (N, C, H, W), (kH, kW), out_size = input_shape, kernel_size, grad.shape[2:]
    (_, _, (top, below), (left, right)) = _margins((H, W), kernel_size, stride, padding, dilation, out_size)
    padded = np.zeros((N, C, top + H + below, left + W + right), grad.dtype)
    for number, (i, j) in enumerate(np.ndindex(kH, kW)):
        padded[pixels_under(i, j, out_size, stride, dilation)] += np.where(taken == number, grad, 0)
    return padded[:, :, top : top + H, left : left + W].copy()  # (N, C, H, W)


def _margins(size, kernel_size, stride, padding, dilation, out_size):
    """Return the width of the padding, which in ceil mode reaches to the end of the last window."""
    need = [s * (n - 1) + d * (k - 1) + 1 for s, n, d, k in zip(stride, out_size, dilation, kernel_size)]
    return (0, 0), (0, 0), *((p, max(e - p - n, 0)) for p, e, n in zip(padding, need, size))


# -- the average: a window of an axis is its number, a slice of pixels, and the number that they are divided by --------


def avg_pool2d(x, kernel_size, stride, padding, ceil_mode, count_include_pad):
    return _average(x, *_windows(x.shape, kernel_size, stride, padding, ceil_mode, count_include_pad))


def avg_pool2d_backward(grad, input_shape, kernel_size, stride, padding, ceil_mode, count_include_pad):
    windows = _windows(input_shape, kernel_size, stride, padding, ceil_mode, count_include_pad)
    return _divide_among(grad, input_shape, *windows)


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


def _windows(input_shape, kernel_size, stride, padding, ceil_mode, count_include_pad):
    """Return the windows of each axis; ``count_include_pad`` counts zeros of the padding, but nothing beyond it."""
    for n, k, s, p in zip(input_shape[2:], kernel_size, stride, padding):
        starts = [i * s - p for i in range(pooled_size(n, k, s, p, 1, ceil_mode))]
        pixels = [slice(*np.clip([start, start + k], 0, n)) for start in starts]
        with_padding = [min(start + k, n + p) - start for start in starts]
        counts = with_padding if count_include_pad else [max(len(range(n)[window]), 1) for window in pixels]
        yield list(zip(range(len(starts)), pixels, counts))


def _adaptive_windows(n, count):
    """Return the windows of an axis of n pixels: from floor(i n / count) to ceil((i + 1) n / count)."""
    edges = [(i * n // count, -(-(i + 1) * n // count)) for i in range(count)]
    return [(i, slice(start, end), end - start) for i, (start, end) in enumerate(edges)]
