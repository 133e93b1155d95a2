"""im2col copies the pixels under the kernel into columns; col2im, its adjoint, adds them back.

A convolution is then one matrix product, as :mod:`.convolution` shows.
"""

import numpy as np


def im2col(x, shape):
    (N, C, _, _), (_, _, H_out, W_out), (kH, kW) = x.shape, shape.output, shape.kernel_size
    top, bottom, left, right = shape.padding
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))  # (N, C, top + H + bottom, left + W + right)
    columns = np.empty((N, C, kH, kW, H_out, W_out), x.dtype)
    for i, j in np.ndindex(kH, kW):
        columns[:, :, i, j] = padded[pixels_under(i, j, shape)]  # (N, C, H_out, W_out)
    return columns.reshape(N, C * kH * kW, H_out * W_out)


def col2im(columns, shape):
    (N, C, H, W), (_, _, H_out, W_out), (kH, kW) = shape.input, shape.output, shape.kernel_size
    top, bottom, left, right = shape.padding
    columns = columns.reshape(N, C, kH, kW, H_out, W_out)
    padded = np.zeros((N, C, top + H + bottom, left + W + right), columns.dtype)
    for i, j in np.ndindex(kH, kW):
        padded[pixels_under(i, j, shape)] += columns[:, :, i, j]  # (N, C, H_out, W_out)
    return padded[:, :, top : top + H, left : left + W].copy()  # (N, C, H, W)


def pixels_under(i, j, shape):
    """Return the index of the padded pixels under element (i, j) of the kernel, one for each output pixel."""
    H_out, W_out = shape.output[2:]
    top, left = i * shape.dilation[0], j * shape.dilation[1]
    rows = slice(top, top + shape.stride[0] * H_out, shape.stride[0])
    return np.s_[:, :, rows, left : left + shape.stride[1] * W_out : shape.stride[1]]
