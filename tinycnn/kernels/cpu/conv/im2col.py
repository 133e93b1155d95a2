"""Convolution by im2col: the compiled twin of :mod:`tinycnn.kernels.reference.convolution`, the one to read first.

For each image and group, columns (:mod:`tinycnn.kernels.cpu.im2col`) and a matrix product. The columns take as much
memory as kernel height * kernel width copies of an image.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from tinycnn.kernels.cpu.im2col import col2im, im2col
from tinycnn.kernels.cpu.machine.allocator import empty, zeros
from tinycnn.kernels.cpu.matmul import matmul
from tinycnn.kernels.geometry import ConvShape


def conv2d(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, shape: ConvShape) -> np.ndarray:
    """Multiply the weights and the columns."""
    out, part = empty(shape.output, x.dtype), shape.of_one_group()
    pixels = out.reshape(*out.shape[:2], math.prod(out.shape[2:]))
    for n, inputs, outputs in _images_and_groups(shape):
        columns = im2col(x[n : n + 1, inputs], part)[0]
        pixels[n, outputs] = matmul(_rows(weight[outputs]), columns)
    if bias is not None:
        pixels += bias[:, None]
    return out


def conv2d_backward_input(grad: np.ndarray, weight: np.ndarray, shape: ConvShape) -> np.ndarray:
    """Multiply the transposed weights and the gradients to columns, and add these up."""
    out, part = empty(shape.input, grad.dtype), shape.of_one_group()
    for n, inputs, outputs in _images_and_groups(shape):
        columns = matmul(_rows(weight[outputs]).T, _rows(grad[n, outputs]))
        out[n, inputs] = col2im(columns[None], part)[0]
    return out


def conv2d_backward_weight(grad: np.ndarray, x: np.ndarray, shape: ConvShape) -> np.ndarray:
    """Multiply the gradients and the transposed columns, and add the products of the images."""
    out, part = zeros(shape.weight, x.dtype), shape.of_one_group()
    for n, inputs, outputs in _images_and_groups(shape):
        columns = im2col(x[n : n + 1, inputs], part)[0]
        out[outputs] += matmul(_rows(grad[n, outputs]), columns.T).reshape(part.weight)
    return out


def _rows(array: np.ndarray) -> np.ndarray:
    """Return an array (A, ...) as a matrix of A rows."""
    return array.reshape(array.shape[0], math.prod(array.shape[1:]))


def _images_and_groups(shape: ConvShape) -> Iterator[tuple[int, slice, slice]]:
    """Yield, image by image and group by group, the image's number, the group's input channels and its outputs."""
    inputs, outputs = shape.weight[1], shape.weight[0] // shape.groups
    for n in range(shape.input[0]):
        for g in range(shape.groups):
            yield n, slice(g * inputs, (g + 1) * inputs), slice(g * outputs, (g + 1) * outputs)
