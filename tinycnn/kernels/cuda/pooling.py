"""Pooling: each output is the largest, or the average, of a window.

Forward a thread computes one output and walks over its window; backward it computes the gradient of one input and
gathers from the windows that hold it, so that no two threads ever add to the same number.
"""

from __future__ import annotations

import numpy as np

from tinycnn.kernels.cuda.array import DeviceArray, contiguous, empty
from tinycnn.kernels.cuda.machine.launch import device_function, kernel, launch
from tinycnn.kernels.cuda.machine.target import cuda
from tinycnn.kernels.geometry import pooled_size

Pair = tuple[int, int]
Windows = tuple[int, int, int, int, bool]


def max_pool2d(
    x: DeviceArray, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool
) -> tuple[DeviceArray, DeviceArray]:
    if kernel_size[0] * kernel_size[1] > np.iinfo(np.int16).max:
        raise ValueError(f"max_pool2d: kernel_size is {kernel_size}, expected a window of at most 32767 elements")
    geometry = zip(x.shape[2:], kernel_size, stride, padding, dilation)
    shape = (*x.shape[:2], *(pooled_size(*axis, ceil_mode) for axis in geometry))
    out, taken = empty(shape, x.dtype), empty(shape, np.int16)
    launch(
        max_pool2d_kernel,
        out.size,
        _planes(x),
        *kernel_size,
        *stride,
        *padding,
        *dilation,
        _planes(out),
        _planes(taken),
    )
    return out, taken


def max_pool2d_backward(
    grad: DeviceArray,
    taken: DeviceArray,
    input_shape: tuple[int, ...],
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
) -> DeviceArray:
    """Gather: each element adds up what it gets from the windows it is in."""
    out = empty(input_shape, grad.dtype)
    geometry = *kernel_size, *stride, *padding, *dilation
    launch(max_pool2d_backward_kernel, out.size, _planes(grad), _planes(taken), *geometry, _planes(out))
    return out


def avg_pool2d(
    x: DeviceArray, kernel_size: Pair, stride: Pair, padding: Pair, ceil_mode: bool, count_include_pad: bool
) -> DeviceArray:
    geometry = zip(x.shape[2:], kernel_size, stride, padding)
    rows, columns = (pooled_size(*axis, 1, ceil_mode) for axis in geometry)
    return _average(x, (rows, columns), *_avg_windows(kernel_size, stride, padding, count_include_pad))


def avg_pool2d_backward(
    grad: DeviceArray,
    input_shape: tuple[int, ...],
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    ceil_mode: bool,
    count_include_pad: bool,
) -> DeviceArray:
    return _spread(grad, input_shape, *_avg_windows(kernel_size, stride, padding, count_include_pad))


def adaptive_avg_pool2d(x: DeviceArray, output_size: Pair) -> DeviceArray:
    return _average(x, output_size, *map(_adaptive_windows, x.shape[2:], output_size))


def adaptive_avg_pool2d_backward(grad: DeviceArray, input_shape: tuple[int, ...]) -> DeviceArray:
    return _spread(grad, input_shape, *map(_adaptive_windows, input_shape[2:], grad.shape[2:]))


# Window i of an axis runs from floor(i step / parts) - padding to ceil((i step + length) / parts) - padding.


def _avg_windows(kernel_size: Pair, stride: Pair, padding: Pair, count_include_pad: bool) -> list[Windows]:
    return [(s, 1, k, p, count_include_pad) for k, s, p in zip(kernel_size, stride, padding)]


def _adaptive_windows(size: int, count: int) -> Windows:
    return size, count, size, 0, False


def _average(x: DeviceArray, output_size: Pair, rows: Windows, columns: Windows) -> DeviceArray:
    out = empty((*x.shape[:2], *output_size), x.dtype)
    launch(average_kernel, out.size, _planes(x), *rows, *columns, _planes(out))
    return out


def _spread(grad: DeviceArray, input_shape: tuple[int, ...], rows: Windows, columns: Windows) -> DeviceArray:
    out = empty(input_shape, grad.dtype)
    launch(spread_kernel, out.size, _planes(grad), *rows, *columns, _planes(out))
    return out


def _planes(x: DeviceArray) -> DeviceArray:
    """(N, C, H, W) as (N * C, H, W): pooling sees planes, and which image they belong to makes no difference."""
    return contiguous(x).reshape(x.shape[0] * x.shape[1], *x.shape[2:])


# -- kernels -----------------------------------------------------------------------------------------------------------


@device_function
def place(i, height, width):
    """Element number i of (planes, height, width) as plane, row and column."""
    line = i // width
    return line // height, line % height, i % width


@kernel
def max_pool2d_kernel(x, kernel_y, kernel_x, stride_y, stride_x, pad_y, pad_x, dilation_y, dilation_x, out, taken):
    """Thread = output element."""
    _, height, width = x.shape
    _, rows, columns = out.shape
    for number in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        plane, row, column = place(number, rows, columns)
        best, which = x.dtype.type(-np.inf), -1
        for i in range(kernel_y):
            y = row * stride_y - pad_y + i * dilation_y
            if 0 <= y < height:
                for j in range(kernel_x):
                    at = column * stride_x - pad_x + j * dilation_x
                    if 0 <= at < width:
                        value = x[plane, y, at]
                        if value > best or value != value or which < 0:
                            best, which = value, i * kernel_x + j
        out[plane, row, column] = best
        taken[plane, row, column] = which


@kernel
def max_pool2d_backward_kernel(
    grad, taken, kernel_y, kernel_x, stride_y, stride_x, pad_y, pad_x, dilation_y, dilation_x, out
):
    """Thread = input element: it sums the gradients of the windows that took it."""
    _, height, width = out.shape
    _, rows, columns = grad.shape
    for number in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        plane, y, at = place(number, height, width)
        total = grad.dtype.type(0)
        for i in range(kernel_y):
            top = y + pad_y - i * dilation_y
            row = top // stride_y
            if row * stride_y != top or row < 0 or row >= rows:
                continue
            for j in range(kernel_x):
                left = at + pad_x - j * dilation_x
                column = left // stride_x
                if column * stride_x != left or column < 0 or column >= columns:
                    continue
                if taken[plane, row, column] == i * kernel_x + j:
                    total += grad[plane, row, column]
        out[plane, y, at] = total


@device_function
def window(i, size, step, parts, length, pad, with_padding):
    """Start and end of window i inside the image, and by how many elements its sum is divided."""
    start = i * step // parts - pad
    end = min(-(-(i * step + length) // parts) - pad, size + pad)
    first, last = max(start, 0), min(end, size)
    return first, last, max(end - start if with_padding else last - first, 1)


@device_function
def windows_of(place, count, step, parts, length, pad):
    """The first and the last of ``count`` windows that hold a place: :func:`window` solved for i."""
    at = (place + pad) * parts
    return max((at - length) // step + 1, 0), min((at + parts - 1) // step, count - 1)


@kernel
def average_kernel(x, step_y, parts_y, length_y, pad_y, padded_y, step_x, parts_x, length_x, pad_x, padded_x, out):
    """Thread = output element."""
    _, height, width = x.shape
    _, rows, columns = out.shape
    for number in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        plane, row, column = place(number, rows, columns)
        top, bottom, tall = window(row, height, step_y, parts_y, length_y, pad_y, padded_y)
        left, right, wide = window(column, width, step_x, parts_x, length_x, pad_x, padded_x)
        total = x.dtype.type(0)
        for y in range(top, bottom):
            line = x.dtype.type(0)  # a sum of sums loses fewer digits
            for at in range(left, right):
                line += x[plane, y, at]
            total += line
        out[plane, row, column] = total / x.dtype.type(tall * wide)


@kernel
def spread_kernel(grad, step_y, parts_y, length_y, pad_y, padded_y, step_x, parts_x, length_x, pad_x, padded_x, out):
    """Thread = input element: it sums its shares of the windows that hold it."""
    _, height, width = out.shape
    _, rows, columns = grad.shape
    for number in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        plane, y, at = place(number, height, width)
        first_row, last_row = windows_of(y, rows, step_y, parts_y, length_y, pad_y)
        first_column, last_column = windows_of(at, columns, step_x, parts_x, length_x, pad_x)
        total = grad.dtype.type(0)
        for row in range(first_row, last_row + 1):
            _, _, tall = window(row, height, step_y, parts_y, length_y, pad_y, padded_y)
            for column in range(first_column, last_column + 1):
                _, _, wide = window(column, width, step_x, parts_x, length_x, pad_x, padded_x)
                total += grad[plane, row, column] / grad.dtype.type(tall * wide)
        out[plane, y, at] = total
