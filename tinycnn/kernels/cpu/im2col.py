"""im2col and its adjoint, whole and readable: the idea of the convolution in two functions.

im2col copies the patch of the image under the kernel, for each output pixel, into a column. The convolution is then one
matrix product, ``weight (C_out, C kH kW) @ columns (C kH kW, H_out W_out)``. :mod:`.conv.direct` computes the same
products without writing the columns.

col2im is its adjoint: im2col copies a pixel into many columns, and col2im adds all of them up again. It gathers: each
pixel sums its own copies, so no two threads write to one element and the order of the sum is fixed.
"""

from __future__ import annotations

import numpy as np

from tinycnn.kernels.cpu.machine.allocator import empty
from tinycnn.kernels.cpu.machine.parallel import as_contiguous, parallel_for
from tinycnn.kernels.cpu.windows import WINDOWS, window_numbers
from tinycnn.kernels.geometry import ConvShape


def im2col(x: np.ndarray, shape: ConvShape) -> np.ndarray:
    """Copy the patches, a plane of an image a task.

    >>> im2col(np.arange(9.0).reshape(1, 1, 3, 3), ConvShape.of((1, 1, 3, 3), (1, 1, 2, 2)))[0].astype(int)
    array([[0, 1, 3, 4],
           [1, 2, 4, 5],
           [3, 4, 6, 7],
           [4, 5, 7, 8]])
    """
    (n, c, _, _), (_, _, rows, columns), (height, width) = shape.input, shape.output, shape.kernel_size
    out = empty((n, c, height, width, rows, columns), x.dtype)
    im2col_loop(n * c, as_contiguous(x), window_numbers(shape), out)
    return out.reshape(n, c * height * width, rows * columns)


def col2im(columns: np.ndarray, shape: ConvShape) -> np.ndarray:
    """Add the copies of each pixel up, a plane of an image a task."""
    n, c, _, _ = shape.input
    columns = as_contiguous(columns).reshape(n, c, *shape.kernel_size, *shape.output[2:])
    out = empty(shape.input, columns.dtype)
    col2im_loop(n * c, columns, window_numbers(shape), out)
    return out


# -- loops -------------------------------------------------------------------------------------------------------------


def _im2col(begin, end, x, windows, columns):
    stride_y, stride_x = windows[WINDOWS.stride_y], windows[WINDOWS.stride_x]
    pad_y, pad_x = windows[WINDOWS.top], windows[WINDOWS.left]
    dilation_y, dilation_x = windows[WINDOWS.dilation_y], windows[WINDOWS.dilation_x]
    channels, kernel_y, kernel_x, out_y, out_x = columns.shape[1:]
    for plane in range(begin, end):
        n, c = plane // channels, plane % channels
        for i in range(kernel_y):
            for j in range(kernel_x):
                for oy in range(out_y):
                    y = oy * stride_y - pad_y + i * dilation_y
                    for ox in range(out_x):
                        left = ox * stride_x - pad_x + j * dilation_x
                        inside = 0 <= y < x.shape[2] and 0 <= left < x.shape[3]
                        columns[n, c, i, j, oy, ox] = x[n, c, y, left] if inside else 0


im2col_loop = parallel_for(_im2col)


def _col2im(begin, end, columns, windows, out):
    stride_y, stride_x = windows[WINDOWS.stride_y], windows[WINDOWS.stride_x]
    pad_y, pad_x = windows[WINDOWS.top], windows[WINDOWS.left]
    dilation_y, dilation_x = windows[WINDOWS.dilation_y], windows[WINDOWS.dilation_x]
    channels, kernel_y, kernel_x, out_y, out_x = columns.shape[1:]
    for plane in range(begin, end):
        n, c = plane // channels, plane % channels
        for y in range(out.shape[2]):
            for x in range(out.shape[3]):
                total = 0.0
                for i in range(kernel_y):
                    for j in range(kernel_x):
                        top, left = y + pad_y - i * dilation_y, x + pad_x - j * dilation_x
                        if top % stride_y == 0 and left % stride_x == 0:
                            oy, ox = top // stride_y, left // stride_x
                            if 0 <= oy < out_y and 0 <= ox < out_x:
                                total += columns[n, c, i, j, oy, ox]
                out[n, c, y, x] = total


col2im_loop = parallel_for(_col2im)
