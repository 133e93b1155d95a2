"""Layers with weights: fully connected, and convolution."""

from __future__ import annotations

import math

from tinycnn import arguments
from tinycnn.functional.checks import check_bias, layer_inputs, same_dtype
from tinycnn.kernels.geometry import ConvShape, Pairlike
from tinycnn.ops import convolution, matmul
from tinycnn.tensor import Tensor

__all__ = ["conv2d", "linear"]


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return y = x W^T + b over the last dimension.

    Parameters
    ----------
    input : Tensor, shape (..., in)
    weight : Tensor, shape (out, in)
    bias : Tensor, shape (out,), optional

    Returns
    -------
    Tensor, shape (..., out)
    """
    x, weight, bias = layer_inputs("linear", input, weight, bias)
    if weight.ndim != 2:
        raise ValueError(f"linear: weight has shape {weight.shape}, expected (out, in)")
    if not x.ndim or x.shape[-1] != weight.shape[1]:
        raise ValueError(
            f"linear: input has shape {x.shape} but weight {weight.shape} expects (..., {weight.shape[-1]})"
        )
    check_bias("linear", bias, weight)
    same_dtype("linear", x, weight)
    flat = x if x.ndim == 2 else x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    out = matmul.Linear.apply(flat, weight, bias)
    return out if x.ndim == 2 else out.reshape(*x.shape[:-1], weight.shape[0])


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pairlike = 1,
    padding: Pairlike | str = 0,
    dilation: Pairlike = 1,
    groups: int = 1,
    algorithm: str | None = None,
) -> Tensor:
    """Return a two-dimensional convolution (cross-correlation).

    The output size is ``floor((H + 2 padding - dilation (kernel - 1) - 1) / stride) + 1``, likewise for the width; see
    :class:`tinycnn.kernels.geometry.ConvShape`.

    Parameters
    ----------
    input : Tensor, shape (N, C, H, W)
    weight : Tensor, shape (O, C / groups, kernel height, kernel width)
    bias : Tensor, shape (O,), optional
    stride, padding, dilation : int or (int, int)
        ``padding`` may also be "valid" (0), or with stride 1 "same": the output is as large as the input, and where an
        odd number of pixels is needed, one more is at the bottom and at the right.
    groups : int
        Input and output channels are cut into this many groups that see only each other.
    algorithm : {"auto", "im2col", "direct", "winograd"}, optional
        How to compute it; see :class:`tinycnn.convolution_algorithm`, which chooses for a whole ``with`` block.

    Returns
    -------
    Tensor, shape (N, O, H_out, W_out)

    Raises
    ------
    ValueError
        If shapes or arguments do not fit together.

    Examples
    --------
    >>> import numpy as np
    >>> image, kernel = Tensor(np.ones((1, 3, 224, 224))), Tensor(np.ones((96, 3, 11, 11)))
    >>> conv2d(image, kernel, stride=4, padding=2).shape
    (1, 96, 55, 55)
    """
    x, weight, bias = layer_inputs("conv2d", input, weight, bias)
    shape = ConvShape.of(x.shape, weight.shape, stride, padding, dilation, groups)
    check_bias("conv2d", bias, weight)
    same_dtype("conv2d", x, weight)
    if algorithm is None:
        algorithm = convolution.convolution_algorithm.current()
    else:
        arguments.instance("conv2d", "algorithm", algorithm, str, "an algorithm's name")
    return convolution.Conv2d.apply(x, weight, bias, shape=shape, algorithm=algorithm)
