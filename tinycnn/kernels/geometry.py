"""Sizes of outputs: how many windows of a convolution or a pooling fit along one axis."""

from __future__ import annotations


def output_size(size: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    """Return floor((size + 2 padding - dilation (kernel - 1) - 1) / stride) + 1.

    >>> output_size(227, 11, 4, 0, 1)
    55
    """
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def pooled_size(size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool) -> int:
    """Return :func:`output_size`, or in ceil mode the same rounded up.

    In ceil mode the last window must start inside the input or the padding before it.

    >>> pooled_size(6, 3, 2, 0, 1, ceil_mode=False), pooled_size(6, 3, 2, 0, 1, ceil_mode=True)
    (2, 3)
    """
    if not ceil_mode:
        return output_size(size, kernel, stride, padding, dilation)
    count = output_size(size + stride - 1, kernel, stride, padding, dilation)
    return count - 1 if (count - 1) * stride >= size + padding else count
