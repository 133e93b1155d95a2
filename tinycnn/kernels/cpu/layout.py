"""Channels last: how images lie in memory between the layers of a network.

Every array keeps the shape (N, C, H, W), but the kernels write their results so that the channels of one pixel are
neighbours in memory: (N, H, W, C). A convolution then reads runs of contiguous numbers, and pooling and normalisation
work on vectors of channels. Whoever looks at the array sees no difference; NumPy's strides hide it::

    address of x[n, c, y, x] = ((n H + y) W + x) C + c
"""

from __future__ import annotations

import numpy as np

from tinycnn.kernels.cpu._jit import carray, jit

BLOCK = 64


def to_pixels(images: np.ndarray) -> np.ndarray:
    """Images (N, C, H, W) as a contiguous array (N, H, W, C): a view where they lie that way, else a copy.

    >>> to_pixels(from_pixels(np.zeros((2, 4, 5, 3)))).shape
    (2, 4, 5, 3)
    """
    pixels = images.transpose(0, 2, 3, 1)
    if pixels.flags.carray:
        return pixels
    if not images.flags.carray:
        return np.array(pixels, order="C")
    n, c, height, width = images.shape
    out = np.empty((n, height, width, c), images.dtype)
    interleave_loop(
        n * -(-height * width // BLOCK), images.reshape(n, c, height * width), out.reshape(n, height * width, c)
    )
    return out


def from_pixels(pixels: np.ndarray) -> np.ndarray:
    """An array (N, H, W, C) seen as (N, C, H, W)."""
    return pixels.transpose(0, 3, 1, 2)


def lies_channels_last(images: np.ndarray) -> bool:
    """Whether an array (N, C, ...) has its channels last in memory, and not both ways at once."""
    return images.ndim > 2 and not images.flags.carray and np.moveaxis(images, 1, -1).flags.carray


def flat_alike(*arrays: np.ndarray) -> list[np.ndarray]:
    """Arrays of one shape as flat arrays in one order of elements: channels last if one of them lies that way.

    Views where possible; an array that lies otherwise is copied.
    """
    if any(map(lies_channels_last, arrays)):
        arrays = tuple(np.moveaxis(array, 1, -1) for array in arrays)
    return [carray(array).reshape(-1) for array in arrays]


def empty_alike(*arrays: np.ndarray) -> np.ndarray:
    """A new array of their shape and dtype whose elements lie in the order that :func:`flat_alike` takes."""
    shape, dtype = arrays[0].shape, arrays[0].dtype
    if any(map(lies_channels_last, arrays)):
        return np.moveaxis(np.empty((shape[0], *shape[2:], shape[1]), dtype), -1, 1)
    return np.empty(shape, dtype)


def _interleave(begin, end, planes, pixels):
    """Channel by channel to pixel by pixel, in blocks that fit the cache."""
    channels, area = planes.shape[1:]
    blocks = -(-area // BLOCK)
    for task in range(begin, end):
        n, first = task // blocks, task % blocks * BLOCK
        for start in range(0, channels, 16):
            for p in range(first, min(first + BLOCK, area)):
                for c in range(start, min(start + 16, channels)):
                    pixels[n, p, c] = planes[n, c, p]


interleave_loop = jit(_interleave)
