"""Convolution forward, twice: as it is defined, and as one matrix product.

Images are (N, C, H, W). As in all networks, the kernel is not flipped: this is a cross-correlation.
"""

import numpy as np


def pad(x, padding):
    """Add zeros around the images.

    Parameters
    ----------
    x : ndarray, shape (N, C, H, W)
    padding : (int, int)
        Rows above and below, columns left and right.

    Returns
    -------
    ndarray, shape (N, C, H + 2 rows, W + 2 columns)
    """
    ### BEGIN SOLUTION
    rows, columns = padding
    return np.pad(x, ((0, 0), (0, 0), (rows, rows), (columns, columns)))
    ### END SOLUTION


def conv2d_loops(x, weight, bias=None, stride=(1, 1), padding=(0, 0)):
    """Return out[n, o, i, j] = bias[o] + sum of weight[o] * (the window of image n at position i, j).

    Parameters
    ----------
    x : ndarray, shape (N, C, H, W)
    weight : ndarray, shape (O, C, kernel height, kernel width)
    bias : ndarray, shape (O,), optional
    stride, padding : (int, int)
        For rows and for columns.

    Returns
    -------
    ndarray, shape (N, O, H_out, W_out)
    """
    ### BEGIN SOLUTION
    x = pad(x, padding)
    height, width = weight.shape[2:]
    rows, columns = output_size(x, (height, width), stride)
    out = np.empty((len(x), len(weight), rows, columns), x.dtype)
    for i in range(rows):
        for j in range(columns):
            top, left = i * stride[0], j * stride[1]
            window = x[:, None, :, top : top + height, left : left + width]
            out[:, :, i, j] = (window * weight).sum(axis=(2, 3, 4))
    return out if bias is None else out + bias[:, None, None]
    ### END SOLUTION


def im2col(x, kernel, stride=(1, 1), padding=(0, 0)):
    """Return each window of each image as a column.

    Parameters
    ----------
    x : ndarray, shape (N, C, H, W)
    kernel, stride, padding : (int, int)

    Returns
    -------
    ndarray, shape (N, C * kernel height * kernel width, H_out * W_out)
        A column holds the window's channels one after the other, each row by row: the order of ``weight[o].ravel()``.
        Columns are in the order of the output's positions, row by row.
    """
    ### BEGIN SOLUTION
    x = pad(x, padding)
    rows, columns = output_size(x, kernel, stride)
    out = np.empty((*x.shape[:2], *kernel, rows, columns), x.dtype)
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            out[:, :, i, j] = x[:, :, i :: stride[0], j :: stride[1]][:, :, :rows, :columns]
    return out.reshape(len(x), -1, rows * columns)
    ### END SOLUTION


def conv2d_columns(x, weight, bias=None, stride=(1, 1), padding=(0, 0)):
    """Return the same numbers as ``conv2d_loops``, by ``im2col`` and one matrix product."""
    ### BEGIN SOLUTION
    rows, columns = output_size(pad(x, padding), weight.shape[2:], stride)
    out = weight.reshape(len(weight), -1) @ im2col(x, weight.shape[2:], stride, padding)
    out = out.reshape(len(x), len(weight), rows, columns)
    return out if bias is None else out + bias[:, None, None]
    ### END SOLUTION


def merge(first, second):
    """Return the one kernel that replaces two convolutions in a row (stride 1, no padding, nothing in between).

    Parameters
    ----------
    first : ndarray, shape (M, C, a, b)
        Is applied to the image.
    second : ndarray, shape (O, M, c, d)
        Is applied to the result.

    Returns
    -------
    ndarray, shape (O, C, a + c - 1, b + d - 1)
        Two 3x3 kernels make a 5x5.
    """
    ### BEGIN SOLUTION
    (a, b), (c, d) = first.shape[2:], second.shape[2:]
    out = np.zeros((len(second), first.shape[1], a + c - 1, b + d - 1), first.dtype)
    for i in range(c):
        for j in range(d):
            out[:, :, i : i + a, j : j + b] += np.tensordot(second[:, :, i, j], first, 1)
    return out
    ### END SOLUTION


### BEGIN SOLUTION
def output_size(x, kernel, stride):
    """Return the number of positions of the window on images that are padded already."""
    return tuple((n - k) // s + 1 for n, k, s in zip(x.shape[2:], kernel, stride))


### END SOLUTION
