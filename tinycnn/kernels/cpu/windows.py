"""The numbers of windows that pooling and im2col loops get in one array."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from tinycnn.kernels.cpu.machine.numbers import positions
from tinycnn.kernels.geometry import ConvShape, PoolShape

WINDOWS = positions("kernel_y", "kernel_x", "stride_y", "stride_x", "top", "left", "dilation_y", "dilation_x")
"""Positions of the numbers; ``top`` and ``left`` are the padding there."""


@lru_cache(maxsize=512)
def window_numbers(shape: ConvShape | PoolShape) -> np.ndarray:
    """Return the numbers of a convolution's or a pooling's windows."""
    top, _, left, _ = shape.padding
    return np.array((*shape.kernel_size, *shape.stride, top, left, *shape.dilation), np.int64)
