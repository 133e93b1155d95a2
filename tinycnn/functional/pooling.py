"""Pooling: the maximum or the mean of windows."""

from __future__ import annotations

from tinycnn import arguments
from tinycnn.functional.checks import float_tensor, images
from tinycnn.kernels.geometry import Pairlike, PoolShape, pair
from tinycnn.ops import pooling
from tinycnn.tensor import Tensor

__all__ = ["adaptive_avg_pool2d", "avg_pool2d", "global_avg_pool2d", "max_pool2d"]


def max_pool2d(
    input: Tensor,
    kernel_size: Pairlike,
    stride: Pairlike | None = None,
    padding: Pairlike = 0,
    dilation: Pairlike = 1,
    ceil_mode: bool = False,
) -> Tensor:
    """Return the largest element of each window; padding never wins, NaN always does.

    Parameters
    ----------
    input : Tensor, shape (N, C, H, W)
    kernel_size, stride, padding, dilation : int or (int, int)
        ``stride`` defaults to ``kernel_size``; smaller makes windows overlap, as in AlexNet (3, stride 2).
    ceil_mode : bool
        Round the output size up, with a last window that extends beyond the edge.
    """
    x, ceil_mode = float_tensor("max_pool2d", input), arguments.flag("max_pool2d", "ceil_mode", ceil_mode)
    shape = PoolShape.of(x.shape, kernel_size, stride, padding, dilation, ceil_mode, "max_pool2d")
    return pooling.MaxPool2d.apply(x, shape=shape)


def avg_pool2d(
    input: Tensor,
    kernel_size: Pairlike,
    stride: Pairlike | None = None,
    padding: Pairlike = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """Return the average of each window.

    Parameters
    ----------
    input : Tensor, shape (N, C, H, W)
    kernel_size, stride, padding : int or (int, int)
    ceil_mode : bool
        Round the output size up.
    count_include_pad : bool
        Count zeros of the padding in the average.
    """
    x, ceil_mode = float_tensor("avg_pool2d", input), arguments.flag("avg_pool2d", "ceil_mode", ceil_mode)
    count_include_pad = arguments.flag("avg_pool2d", "count_include_pad", count_include_pad)
    shape = PoolShape.of(x.shape, kernel_size, stride, padding, 1, ceil_mode, "avg_pool2d")
    return pooling.AvgPool2d.apply(x, shape=shape, count_include_pad=count_include_pad)


def adaptive_avg_pool2d(input: Tensor, output_size: Pairlike) -> Tensor:
    """Return the averages of windows chosen so that the output is (N, C, *output_size).

    Window i of n over a size H runs from floor(i H / n) to ceil((i + 1) H / n).
    """
    return _adaptive_avg_pool2d("adaptive_avg_pool2d", input, output_size)


def global_avg_pool2d(input: Tensor) -> Tensor:
    """Return the average of each feature map: (N, C, H, W) to (N, C). SqueezeNet and ResNet end with it."""
    return _adaptive_avg_pool2d("global_avg_pool2d", input, 1).flatten(1)


def _adaptive_avg_pool2d(name: str, x: Tensor, output_size: Pairlike) -> Tensor:
    x = images(name, x)
    if 0 in x.shape[2:]:
        raise ValueError(f"{name}: input of shape {x.shape} has no pixels")
    return pooling.AdaptiveAvgPool2d.apply(x, output_size=pair(name, "output_size", output_size, 1))
