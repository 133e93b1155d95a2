"""Pooling: the maximum or the mean of windows."""

from __future__ import annotations

from tinycnn import arguments
from tinycnn.functional.checks import Pair, check_window, images, pair, window
from tinycnn.ops import pooling
from tinycnn.tensor import Tensor


def max_pool2d(
    input: Tensor,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    dilation: Pair = 1,
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
    input = images("max_pool2d", input)
    kernel, stride_, padding_ = window("max_pool2d", kernel_size, stride, padding)
    dilation_ = pair("max_pool2d", "dilation", dilation, 1)
    ceil_mode = arguments.flag("max_pool2d", "ceil_mode", ceil_mode)
    check_window("max_pool2d", input, kernel, padding_, dilation_, stride_ if ceil_mode else None)
    return pooling.MaxPool2d.apply(
        input,
        kernel_size=kernel,
        stride=stride_,
        padding=padding_,
        dilation=dilation_,
        ceil_mode=ceil_mode,
    )


def avg_pool2d(
    input: Tensor,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
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
    input = images("avg_pool2d", input)
    kernel, stride_, padding_ = window("avg_pool2d", kernel_size, stride, padding)
    ceil_mode = arguments.flag("avg_pool2d", "ceil_mode", ceil_mode)
    check_window("avg_pool2d", input, kernel, padding_, (1, 1), stride_ if ceil_mode else None)
    return pooling.AvgPool2d.apply(
        input,
        kernel_size=kernel,
        stride=stride_,
        padding=padding_,
        ceil_mode=ceil_mode,
        count_include_pad=arguments.flag("avg_pool2d", "count_include_pad", count_include_pad),
    )


def adaptive_avg_pool2d(input: Tensor, output_size: Pair) -> Tensor:
    """Return the averages of windows chosen so that the output is (N, C, *output_size).

    Window i of n over a size H runs from floor(i H / n) to ceil((i + 1) H / n).
    """
    return _adaptive_avg_pool2d("adaptive_avg_pool2d", input, output_size)


def global_avg_pool2d(input: Tensor) -> Tensor:
    """Return the average of each feature map: (N, C, H, W) to (N, C). SqueezeNet and ResNet end with it."""
    return _adaptive_avg_pool2d("global_avg_pool2d", input, 1).flatten(1)


def _adaptive_avg_pool2d(name: str, input: Tensor, output_size: Pair) -> Tensor:
    input = images(name, input)
    if 0 in input.shape[2:]:
        raise ValueError(f"{name}: input of shape {input.shape} has no pixels")
    return pooling.AdaptiveAvgPool2d.apply(input, output_size=pair(name, "output_size", output_size, 1))
