"""Pooling: each output is the largest, or the average, of a window.

Forward a thread computes one output and walks over its window; backward it computes the gradient of one input and
gathers from the windows that hold it, so that no two threads ever add to the same number.
"""

from __future__ import annotations

import numpy as np

from tinycnn.kernels.cuda.array import DeviceArray, contiguous, empty
from tinycnn.kernels.cuda.machine.launch import device_function, kernel, launch
from tinycnn.kernels.cuda.machine.target import cuda
from tinycnn.kernels.geometry import Pair, PoolShape, Shape

Windows = tuple[int, int, int, int, int]  # step, parts, length, before, after


def max_pool2d(x: DeviceArray, shape: PoolShape) -> tuple[DeviceArray, DeviceArray]:
    out, taken = empty(shape.output, x.dtype), empty(shape.output, np.int16)
    launch(max_pool2d_kernel, out.size, _planes(x), *_numbers(shape), _planes(out), _planes(taken))
    return out, taken


def max_pool2d_backward(grad: DeviceArray, taken: DeviceArray, shape: PoolShape) -> DeviceArray:
    """Gather: each element adds up what it gets from the windows it is in."""
    out = empty(shape.input, grad.dtype)
    launch(max_pool2d_backward_kernel, out.size, _planes(grad), _planes(taken), *_numbers(shape), _planes(out))
    return out


def avg_pool2d(x: DeviceArray, shape: PoolShape, count_include_pad: bool) -> DeviceArray:
    return _average(x, shape.output[2:], *_avg_windows(shape, count_include_pad))


def avg_pool2d_backward(grad: DeviceArray, shape: PoolShape, count_include_pad: bool) -> DeviceArray:
    return _spread(grad, shape.input, *_avg_windows(shape, count_include_pad))


def adaptive_avg_pool2d(x: DeviceArray, output_size: Pair) -> DeviceArray:
    return _average(x, output_size, *map(_adaptive_windows, x.shape[2:], output_size))


def adaptive_avg_pool2d_backward(grad: DeviceArray, input_shape: Shape) -> DeviceArray:
    return _spread(grad, input_shape, *map(_adaptive_windows, input_shape[2:], grad.shape[2:]))


def _numbers(shape: PoolShape) -> tuple[int, ...]:
    top, _, left, _ = shape.padding
    return *shape.kernel_size, *shape.stride, top, left, *shape.dilation


# Window i of an axis runs from floor(i step / parts) - before to ceil((i step + length) / parts) - before, and counts
# at most ``after`` zeros behind the image; -1: only pixels count.


def _avg_windows(shape: PoolShape, count_include_pad: bool) -> list[Windows]:
    return [(a.stride, 1, a.kernel, a.before, a.after if count_include_pad else -1) for a in shape.axes]


def _adaptive_windows(size: int, count: int) -> Windows:
    return size, count, size, 0, -1


def _average(x: DeviceArray, output_size: Shape, rows: Windows, columns: Windows) -> DeviceArray:
    out = empty((*x.shape[:2], *output_size), x.dtype)
    launch(average_kernel, out.size, _planes(x), *rows, *columns, _planes(out))
    return out


def _spread(grad: DeviceArray, input_shape: Shape, rows: Windows, columns: Windows) -> DeviceArray:
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
def window(i, size, step, parts, length, before, after):
    """Start and end of window i inside the image, and by how many elements its sum is divided."""
    start = i * step // parts - before
    end = -(-(i * step + length) // parts) - before
    first, last = max(start, 0), min(end, size)
    return first, last, max(min(end, size + after) - start if after >= 0 else last - first, 1)


@device_function
def windows_of(place, count, step, parts, length, before):
    """The first and the last of ``count`` windows that hold a place: :func:`window` solved for i."""
    at = (place + before) * parts
    return max((at - length) // step + 1, 0), min((at + parts - 1) // step, count - 1)


@kernel
def average_kernel(x, step_y, parts_y, length_y, before_y, after_y, step_x, parts_x, length_x, before_x, after_x, out):
    """Thread = output element."""
    _, height, width = x.shape
    _, rows, columns = out.shape
    for number in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        plane, row, column = place(number, rows, columns)
        top, bottom, tall = window(row, height, step_y, parts_y, length_y, before_y, after_y)
        left, right, wide = window(column, width, step_x, parts_x, length_x, before_x, after_x)
        total = x.dtype.type(0)
        for y in range(top, bottom):
            line = x.dtype.type(0)  # a sum of sums loses fewer digits
            for at in range(left, right):
                line += x[plane, y, at]
            total += line
        out[plane, row, column] = total / x.dtype.type(tall * wide)


@kernel
def spread_kernel(
    grad, step_y, parts_y, length_y, before_y, after_y, step_x, parts_x, length_x, before_x, after_x, out
):
    """Thread = input element: it sums its shares of the windows that hold it."""
    _, height, width = out.shape
    _, rows, columns = grad.shape
    for number in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        plane, y, at = place(number, height, width)
        first_row, last_row = windows_of(y, rows, step_y, parts_y, length_y, before_y)
        first_column, last_column = windows_of(at, columns, step_x, parts_x, length_x, before_x)
        total = grad.dtype.type(0)
        for row in range(first_row, last_row + 1):
            _, _, tall = window(row, height, step_y, parts_y, length_y, before_y, after_y)
            for column in range(first_column, last_column + 1):
                _, _, wide = window(column, width, step_x, parts_x, length_x, before_x, after_x)
                total += grad[plane, row, column] / grad.dtype.type(tall * wide)
        out[plane, y, at] = total
