"""The channels_last memory format: how images are stored between the layers of a network.

Every array has the shape (N, C, H, W), but the kernels write results with NHWC strides, so that the channels of one
pixel are neighbours in memory. A convolution then reads contiguous segments, and pooling and normalisation work on
vectors of channels. Callers see no difference; NumPy's strides hide it::

    address of x[n, c, y, x] = ((n H + y) W + x) C + c
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinycnn.kernels.cpu.machine.allocator import empty
from tinycnn.kernels.cpu.machine.parallel import as_contiguous, helper, parallel_for
from tinycnn.kernels.cpu.machine.simd import prefetch
from tinycnn.kernels.cpu.machine.tuning import (
    INTERLEAVE_CHANNELS,
    INTERLEAVE_PIXELS,
    MERGED_ROW_ELEMENTS,
    MIN_COPIED_CHANNELS,
    PREFETCH_DISTANCE,
)


def to_nhwc(images: np.ndarray) -> np.ndarray:
    """Return images (N, C, H, W) as a contiguous array (N, H, W, C): a view if they have NHWC strides, else a copy.

    >>> to_nhwc(as_nchw(np.zeros((2, 4, 5, 3)))).shape
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
        n * -(-height * width // INTERLEAVE_PIXELS),
        images.reshape(n, c, height * width),
        out.reshape(n, height * width, c),
    )
    return out


def channels_last(images: np.ndarray) -> np.ndarray:
    """Return images (N, C, H, W) with NHWC strides: a view if they have them already, else a copy."""
    return as_nchw(to_nhwc(images))


def as_nchw(pixels: np.ndarray) -> np.ndarray:
    """Return a view (N, C, H, W) of an array (N, H, W, C)."""
    return pixels.transpose(0, 3, 1, 2)


def is_channels_last(images: np.ndarray) -> bool:
    """Return True if an array (N, C, ...) has its channels last in memory, and not both orders at once."""
    return images.ndim > 2 and not images.flags.carray and _channels_last(images).flags.carray


def flatten_in_same_order(*arrays: np.ndarray) -> list[np.ndarray]:
    """Flatten arrays of one shape in the same order of elements: channels last if one of them is stored so.

    The results are views if possible. An array that is stored in another order is copied.
    """
    if any(map(is_channels_last, arrays)):
        arrays = tuple(map(_channels_last, arrays))
    return [as_contiguous(array).reshape(-1) for array in arrays]


def flattens_to_view(out: np.ndarray, arrays: Sequence[np.ndarray]) -> bool:
    """Return True if :func:`flatten_in_same_order` of these arrays and ``out`` returns a view of ``out``."""
    return out.flags.carray if not any(map(is_channels_last, arrays)) else _channels_last(out).flags.carray


def empty_like(*arrays: np.ndarray) -> np.ndarray:
    """Return a new array of their shape and dtype, stored in the order of :func:`flatten_in_same_order`."""
    shape, dtype = arrays[0].shape, arrays[0].dtype
    if any(map(is_channels_last, arrays)):
        dimensions = len(shape)
        out = empty((shape[0], *shape[2:], shape[1]), dtype)
        return out.transpose(0, dimensions - 1, *range(1, dimensions - 1))
    return empty(shape, dtype)


def _channels_last(array: np.ndarray) -> np.ndarray:
    """Return a view (N, ..., C) of an array (N, C, ...)."""
    return array.transpose(0, *range(2, array.ndim), 1)


def merge_rows(rows: np.ndarray) -> np.ndarray:
    """Merge rows of few channels into longer ones: up to ``MERGED_ROW_ELEMENTS`` elements, without a remainder.

    >>> [merge_rows(np.zeros(shape)).shape for shape in ((96, 64), (98, 64), (96, 300))]
    [(24, 256), (49, 128), (96, 300)]
    """
    count, channels = rows.shape
    merged = math.gcd(count, 1 << max(MERGED_ROW_ELEMENTS // max(channels, 1), 1).bit_length() - 1) or 1
    return rows.reshape(count // merged, merged * channels)


# -- channels side by side ---------------------------------------------------------------------------------------------


def join_channels(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Concatenate images (N, C_i, H, W) to one array (N, sum of C_i, H, W).

    >>> join_channels([np.zeros((2, 3, 4, 5)), np.ones((2, 1, 4, 5))]).shape
    (2, 4, 4, 5)
    """
    n, _, height, width = parts[0].shape
    out = as_nchw(empty((n, height, width, sum(part.shape[1] for part in parts)), parts[0].dtype))
    start = 0
    for part in parts:
        assign(out[:, start : start + part.shape[1]], channels_last(part))
        start += part.shape[1]
    return out


def assign(target: np.ndarray, value: Any) -> None:
    """Do ``target[...] = value``, a number or an array that broadcasts and does not overlap with the target.

    Images that both have NHWC strides, whole or slices of any steps, are copied on all threads.
    """
    both = []
    if isinstance(value, np.ndarray) and (value.shape, value.dtype) == (target.shape, target.dtype):
        both = [flat for flat in map(_flat_pixels, (value, target)) if flat is not None]
    if len(both) < 2 or target.shape[1] < MIN_COPIED_CHANNELS:
        target[...] = value
        return
    n, c, height, width = target.shape
    (source, source_steps), (flat, target_steps) = both
    assign_loop(n * height, height, width, c, source, *source_steps, flat, *target_steps)


def channel_rows(images: np.ndarray) -> tuple[np.ndarray, int] | None:
    """Return the flat memory of some channels of images with NHWC strides, and the step from pixel to pixel.

    None if the array is stored otherwise.
    """
    found = _flat_pixels(images)
    if found is None:
        return None
    flat, steps = found
    step = steps[2]
    _, c, height, width = images.shape
    return (flat, step) if steps == (height * width * step, width * step, step) and step >= c else None


def _flat_pixels(images: np.ndarray) -> tuple[np.ndarray, tuple[int, ...]] | None:
    """Return the flat memory of images whose channels are neighbours, and the steps along N, H, W; else None."""
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
    """Copy planes (N, C, H W) to pixels (N, H W, C), in blocks that fit the cache."""
    channels, area = planes.shape[1:]
    blocks = -(-area // INTERLEAVE_PIXELS)
    for task in range(begin, end):
        n, first = task // blocks, task % blocks * INTERLEAVE_PIXELS
        for start in range(0, channels, INTERLEAVE_CHANNELS):
            for p in range(first, min(first + INTERLEAVE_PIXELS, area)):
                for c in range(start, min(start + INTERLEAVE_CHANNELS, channels)):
                    pixels[n, p, c] = planes[n, c, p]


interleave_loop = parallel_for(_interleave)


def _copy(source, target):
    """Copy an array. Indices of whole slices are never negative: only then does the compiler vectorise."""
    for i in range(source.size):
        target[i] = source[i]


copy = helper(_copy)


def _assign(
    begin, end, height, width, count, source, source_n, source_y, source_x, target, target_n, target_y, target_x
):
    """Copy ``count`` channels of each pixel, row by row; ``source_n`` is the step from image to image, and so on."""
    for task in range(begin, end):
        n, y = task // height, task % height
        for x in range(width):
            start = n * source_n + y * source_y + x * source_x
            target_start = n * target_n + y * target_y + x * target_x
            prefetch(source, start + PREFETCH_DISTANCE * source_x, count)
            prefetch(target, target_start + PREFETCH_DISTANCE * target_x, count)
            copy(source[start : start + count], target[target_start : target_start + count])


assign_loop = parallel_for(_assign)
