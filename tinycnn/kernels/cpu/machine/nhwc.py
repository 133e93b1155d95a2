"""Channels last: how images lie in memory between the layers of a network.

Every array keeps the shape (N, C, H, W), but the kernels write their results so that the channels of one pixel are
neighbours in memory: (N, H, W, C). A convolution then reads runs of contiguous numbers, and pooling and normalisation
work on vectors of channels. Whoever looks at the array sees no difference; NumPy's strides hide it::

    address of x[n, c, y, x] = ((n H + y) W + x) C + c
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinycnn.kernels.cpu.machine.allocator import empty
from tinycnn.kernels.cpu.machine.parallel import carray, inline, jit
from tinycnn.kernels.cpu.machine.simd import prefetch

BLOCK = 64
WIDTH = 256  # elements of a row, where channels are fewer
FEW = 8  # channels: fewer are left to NumPy
AHEAD = 16  # pixels later, what is asked of the caches now will be needed


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
    out = empty((n, height, width, c), images.dtype)
    interleave_loop(
        n * -(-height * width // BLOCK), images.reshape(n, c, height * width), out.reshape(n, height * width, c)
    )
    return out


def channels_last(images: np.ndarray) -> np.ndarray:
    """The same images (N, C, H, W), lying channels last: a view where they do, else a copy."""
    return from_pixels(to_pixels(images))


def from_pixels(pixels: np.ndarray) -> np.ndarray:
    """An array (N, H, W, C) seen as (N, C, H, W)."""
    return pixels.transpose(0, 3, 1, 2)


def lies_channels_last(images: np.ndarray) -> bool:
    """Whether an array (N, C, ...) has its channels last in memory, and not both ways at once."""
    return images.ndim > 2 and not images.flags.carray and _channels_last(images).flags.carray


def flat_alike(*arrays: np.ndarray) -> list[np.ndarray]:
    """Arrays of one shape as flat arrays in one order of elements: channels last if one of them lies that way.

    Views where possible; an array that lies otherwise is copied.
    """
    if any(map(lies_channels_last, arrays)):
        arrays = tuple(map(_channels_last, arrays))
    return [carray(array).reshape(-1) for array in arrays]


def lies_like(out: np.ndarray, arrays: Sequence[np.ndarray]) -> bool:
    """Whether :func:`flat_alike` of these arrays and ``out`` gives a view of ``out``."""
    return out.flags.carray if not any(map(lies_channels_last, arrays)) else _channels_last(out).flags.carray


def empty_alike(*arrays: np.ndarray) -> np.ndarray:
    """A new array of their shape and dtype whose elements lie in the order that :func:`flat_alike` takes."""
    shape, dtype = arrays[0].shape, arrays[0].dtype
    if any(map(lies_channels_last, arrays)):
        dimensions = len(shape)
        out = empty((shape[0], *shape[2:], shape[1]), dtype)
        return out.transpose(0, dimensions - 1, *range(1, dimensions - 1))
    return empty(shape, dtype)


def _channels_last(array: np.ndarray) -> np.ndarray:
    """(N, C, ...) seen as (N, ..., C)."""
    return array.transpose(0, *range(2, array.ndim), 1)


def wide(rows: np.ndarray) -> np.ndarray:
    """Rows of few channels, taken together: as many as make ``WIDTH`` elements, and as divide the number of rows.

    >>> wide(np.zeros((96, 64))).shape, wide(np.zeros((98, 64))).shape, wide(np.zeros((96, 300))).shape
    ((24, 256), (49, 128), (96, 300))
    """
    count, channels = rows.shape
    together = math.gcd(count, 1 << max(WIDTH // max(channels, 1), 1).bit_length() - 1) or 1
    return rows.reshape(count // together, together * channels)


# -- channels side by side ---------------------------------------------------------------------------------------------


def join_channels(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Images (N, C_i, H, W) as one array (N, sum of C_i, H, W).

    >>> join_channels([np.zeros((2, 3, 4, 5)), np.ones((2, 1, 4, 5))]).shape
    (2, 4, 4, 5)
    """
    n, _, height, width = parts[0].shape
    out = from_pixels(empty((n, height, width, sum(part.shape[1] for part in parts)), parts[0].dtype))
    start = 0
    for part in parts:
        assign(out[:, start : start + part.shape[1]], channels_last(part))
        start += part.shape[1]
    return out


def assign(target: np.ndarray, value: Any) -> None:
    """target[...] = value, a number or an array that broadcasts, which does not overlap with the target.

    Images that both lie channels last, whole or slices of any steps, are copied on all threads.
    """
    ends = []
    if isinstance(value, np.ndarray) and (value.shape, value.dtype) == (target.shape, target.dtype):
        ends = [end for end in map(_flat_pixels, (value, target)) if end is not None]
    if len(ends) < 2 or target.shape[1] < FEW:
        target[...] = value
        return
    n, c, height, width = target.shape
    (source, from_steps), (flat, to_steps) = ends
    assign_loop(n * height, height, width, c, source, *from_steps, flat, *to_steps)


def pixel_rows(images: np.ndarray) -> tuple[np.ndarray, int] | None:
    """Some channels of images that lie channels last: flat memory from the first of them on, and from pixel to pixel.

    None if the array lies otherwise.
    """
    found = _flat_pixels(images)
    if found is None:
        return None
    flat, steps = found
    step = steps[2]
    _, c, height, width = images.shape
    return (flat, step) if steps == (height * width * step, width * step, step) and step >= c else None


def _flat_pixels(images: np.ndarray) -> tuple[np.ndarray, tuple[int, ...]] | None:
    """Images (N, C, H, W) whose channels are neighbours: flat memory, and the steps along N, H and W; else None."""
    if images.ndim != 4 or not images.size or images.strides[1] != images.itemsize:
        return None
    if any(step < 0 or step % images.itemsize for step in images.strides):
        return None
    steps = tuple(images.strides[axis] // images.itemsize for axis in (0, 2, 3))
    sizes = images.shape[0], *images.shape[2:]
    count = sum((size - 1) * step for size, step in zip(sizes, steps)) + images.shape[1]
    return np.lib.stride_tricks.as_strided(images[0, :, 0, 0], (count,), (images.itemsize,)), steps


# -- loops -------------------------------------------------------------------------------------------------------------


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


def _copy(source, target):
    """Written out on whole slices, whose indices are never negative: only then does the compiler make vectors."""
    for i in range(source.size):
        target[i] = source[i]


copy = inline(_copy)


def _assign(begin, end, height, width, count, source, from_n, from_y, from_x, target, to_n, to_y, to_x):
    """Row of pixels by row of pixels."""
    for task in range(begin, end):
        n, y = task // height, task % height
        for x in range(width):
            here, there = n * from_n + y * from_y + x * from_x, n * to_n + y * to_y + x * to_x
            prefetch(source, here + AHEAD * from_x, count)
            prefetch(target, there + AHEAD * to_x, count)
            copy(source[here : here + count], target[there : there + count])


assign_loop = jit(_assign)
