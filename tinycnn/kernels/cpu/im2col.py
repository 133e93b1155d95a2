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

Size = tuple[int, int]


def im2col(x: np.ndarray, kernel_size: Size, stride: Size, padding: Size, dilation: Size) -> np.ndarray:
    """Return the columns (N, C kH kW, H_out W_out) of images (N, C, H, W).

    >>> im2col(np.arange(9.0).reshape(1, 1, 3, 3), (2, 2), (1, 1), (0, 0), (1, 1))[0].astype(int)
    array([[0, 1, 3, 4],
           [1, 2, 4, 5],
           [3, 4, 6, 7],
           [4, 5, 7, 8]])
    """
    x = as_contiguous(x)
    grid = _grid(x.shape, kernel_size, stride, padding, dilation)
    columns = empty((*x.shape[:2], *kernel_size, *grid), x.dtype)
    im2col_loop(x.shape[0] * x.shape[1], x, *stride, *padding, *dilation, columns)
    return columns.reshape(x.shape[0], x.shape[1] * kernel_size[0] * kernel_size[1], grid[0] * grid[1])


def col2im(
    columns: np.ndarray,
    input_shape: tuple[int, ...],
    kernel_size: Size,
    stride: Size,
    padding: Size,
    dilation: Size,
) -> np.ndarray:
    """Add columns (N, C kH kW, H_out W_out) up to images (N, C, H, W): <im2col(x), columns> = <x, images>."""
    grid = _grid(input_shape, kernel_size, stride, padding, dilation)
    columns = as_contiguous(columns).reshape(*input_shape[:2], *kernel_size, *grid)
    out = empty(input_shape, columns.dtype)
    col2im_loop(out.shape[0] * out.shape[1], columns, *stride, *padding, *dilation, out)
    return out


def _grid(shape: tuple[int, ...], kernel: Size, stride: Size, padding: Size, dilation: Size) -> Size:
    height, width = (
        (size + 2 * p - d * (k - 1) - 1) // s + 1
        for size, k, s, p, d in zip(shape[2:], kernel, stride, padding, dilation)
    )
    return height, width


def _im2col(begin, end, x, stride_y, stride_x, pad_y, pad_x, dilation_y, dilation_x, columns):
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


def _col2im(begin, end, columns, stride_y, stride_x, pad_y, pad_x, dilation_y, dilation_x, out):
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
