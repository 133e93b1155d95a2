"""im2col copies the pixels under the kernel into columns; col2im, its adjoint, adds them back.

A convolution is then one matrix product, as :mod:`.convolution` shows.
"""

import numpy as np

from tinycnn.kernels.geometry import output_size


def im2col(x, kernel_size, stride, padding, dilation):
    (N, C, H, W), (kH, kW) = x.shape, kernel_size
    H_out, W_out = map(output_size, (H, W), kernel_size, stride, padding, dilation)
    padded = np.pad(x, ((0, 0), (0, 0), (padding[0],) * 2, (padding[1],) * 2))  # (N, C, H + 2 pad, W + 2 pad)
    columns = np.empty((N, C, kH, kW, H_out, W_out), x.dtype)
    for i, j in np.ndindex(kH, kW):
        columns[:, :, i, j] = padded[pixels_under(i, j, (H_out, W_out), stride, dilation)]  # (N, C, H_out, W_out)
    return columns.reshape(N, C * kH * kW, H_out * W_out)


def col2im(columns, input_shape, kernel_size, stride, padding, dilation):
    (N, C, H, W), (kH, kW) = input_shape, kernel_size
    H_out, W_out = map(output_size, (H, W), kernel_size, stride, padding, dilation)
    columns = columns.reshape(N, C, kH, kW, H_out, W_out)
    padded = np.zeros((N, C, H + 2 * padding[0], W + 2 * padding[1]), columns.dtype)
    for i, j in np.ndindex(kH, kW):
        padded[pixels_under(i, j, (H_out, W_out), stride, dilation)] += columns[:, :, i, j]  # (N, C, H_out, W_out)
    return padded[:, :, padding[0] : padding[0] + H, padding[1] : padding[1] + W].copy()  # (N, C, H, W)


def pixels_under(i, j, out_size, stride, dilation):
    """Return the index of the padded pixels under element (i, j) of the kernel, one for each output pixel."""
    H_out, W_out = out_size
    top, left = i * dilation[0], j * dilation[1]
    rows = slice(top, top + stride[0] * H_out, stride[0])
    return np.s_[:, :, rows, left : left + stride[1] * W_out : stride[1]]
