"""im2col and its adjoint. Thread = number that is written: im2col's threads copy, col2im's gather and add, in order.

Neighbouring threads write neighbouring numbers, and mostly read neighbours: a warp's 32 reads are few of the memory's.
"""

from __future__ import annotations

from tinycnn.kernels.cuda.array import DeviceArray, contiguous, empty
from tinycnn.kernels.cuda.machine.launch import kernel, launch
from tinycnn.kernels.cuda.machine.target import cuda
from tinycnn.kernels.geometry import ConvShape


def im2col(x: DeviceArray, shape: ConvShape) -> DeviceArray:
    kernel_y, kernel_x = shape.kernel_size
    rows, columns = shape.output[2:]
    out = empty((x.shape[0], x.shape[1] * kernel_y * kernel_x, rows * columns), x.dtype)
    launch(im2col_kernel, out.size, contiguous(x), *_numbers(shape), columns, out)
    return out


def col2im(columns: DeviceArray, shape: ConvShape) -> DeviceArray:
    out = empty(shape.input, columns.dtype)
    add_columns(columns, shape, out)
    return out


def add_columns(columns: DeviceArray, shape: ConvShape, out: DeviceArray) -> None:
    """Do the same for some images, into a contiguous array (N, C, H, W)."""
    area = shape.kernel_size[0] * shape.kernel_size[1]
    parts = contiguous(columns).reshape(out.shape[0] * out.shape[1], area, *shape.output[2:])
    launch(col2im_kernel, out.size, parts, *_numbers(shape), out)


def _numbers(shape: ConvShape) -> tuple[int, ...]:
    top, _, left, _ = shape.padding
    return *shape.kernel_size, *shape.stride, top, left, *shape.dilation


# -- kernels -----------------------------------------------------------------------------------------------------------


@kernel
def im2col_kernel(
    x, kernel_y, kernel_x, stride_y, stride_x, pad_y, pad_x, dilation_y, dilation_x, out_columns, out
):  # fmt: skip
    """Thread = element of a column: a pixel of the image, or 0 in the padding."""
    channels, height, width = x.shape[1:]
    pixels = out.shape[2]
    for index in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        pixel, row = index % pixels, index // pixels
        j, i = row % kernel_x, row // kernel_x % kernel_y
        plane = row // (kernel_x * kernel_y)
        y = pixel // out_columns * stride_y - pad_y + i * dilation_y
        at = pixel % out_columns * stride_x - pad_x + j * dilation_x
        value = x.dtype.type(0)
        if 0 <= y < height and 0 <= at < width:
            value = x[plane // channels, plane % channels, y, at]
        out[plane // channels, row % out.shape[1], pixel] = value


@kernel
def col2im_kernel(columns, kernel_y, kernel_x, stride_y, stride_x, pad_y, pad_x, dilation_y, dilation_x, out):
    """Thread = pixel: it adds up all its copies."""
    channels, height, width = out.shape[1:]
    out_y, out_x = columns.shape[2:]
    for index in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        x, y = index % width, index // width % height
        plane = index // (width * height)
        total = out.dtype.type(0)
        for i in range(kernel_y):
            top = y + pad_y - i * dilation_y
            row = top // stride_y
            if row * stride_y == top and 0 <= row < out_y:
                for j in range(kernel_x):
                    left = x + pad_x - j * dilation_x
                    column = left // stride_x
                    if column * stride_x == left and 0 <= column < out_x:
                        total += columns[plane, i * kernel_x + j, row, column]
        out[plane // channels, plane % channels, y, x] = total
