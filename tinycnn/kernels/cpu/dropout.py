"""Dropout from a counter-based random generator, Philox 4x32-10.

Element i is kept or not by a pure function of (seed, stream, i). There is no state, so the bits are the same for any
number of threads and on any device, and the backward pass computes the mask again instead of storing it.
"""

from __future__ import annotations

import numpy as np

from tinycnn.kernels.cpu.machine.nhwc import empty_like, flatten_in_same_order, is_channels_last
from tinycnn.kernels.cpu.machine.parallel import helper, parallel_for
from tinycnn.kernels.cpu.machine.simd import prefetch
from tinycnn.kernels.cpu.machine.tuning import (
    DROPOUT_BLOCKS,
    DROPOUT_CHANNELS,
    DROPOUT_ELEMENTS,
    PREFETCH_DISTANCE,
)

_LOW = np.uint64(0xFFFFFFFF)
_WORD = np.uint64(32)
_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)


def dropout(x: np.ndarray, p: float, seed: int, stream: int, first: int = 0) -> np.ndarray:
    """Draw a block of factors that fits the first-level cache, and multiply by it."""
    out = empty_like(x)
    source, target = flatten_in_same_order(x, out)
    channels, area = 1, DROPOUT_ELEMENTS
    if is_channels_last(x):
        channels, area = x.shape[1], x[0, 0].size
    mask = 2**64 - 1
    scale = x.dtype.type(1 / (1 - p) if p < 1 else 0)
    threshold, key, counter = (np.uint64(n) for n in (round(p * 2**32), seed & mask, stream & mask))
    channel_tasks = -(-channels // DROPOUT_CHANNELS)
    tasks = -(-x.size // (channels * area)) * channel_tasks
    dropout_loop(tasks, source, channels, area, first, threshold, scale, key, counter, target)
    return out


# -- Philox --------------------------------------------------------------------------------------------------
# Words of 32 bits, each in a uint64: a product of two of them fits exactly.


def _philox_round(a, b, c, d, key0, key1):
    product0, product1 = a * _M0, c * _M1
    return (product1 >> _WORD) ^ b ^ key0, product1 & _LOW, (product0 >> _WORD) ^ d ^ key1, product0 & _LOW


philox_round = helper(_philox_round)


def _philox(block, stream, key):
    """Return four random words of 32 bits from a counter (block, stream) and a key of 64 bits each."""
    a, b, c, d = block & _LOW, block >> _WORD, stream & _LOW, stream >> _WORD
    key0, key1 = key & _LOW, key >> _WORD
    for _ in range(10):
        a, b, c, d = philox_round(a, b, c, d, key0, key1)
        key0, key1 = (key0 + _W0) & _LOW, (key1 + _W1) & _LOW
    return a, b, c, d


philox = helper(_philox)


# -- loops ---------------------------------------------------------------------------------------------------


def _draw(block, stream, key, a, b, c, d):
    """Draw the four words of consecutive blocks, in a loop without branches, which is vectorised."""
    for i in range(a.size):
        a[i], b[i], c[i], d[i] = philox(block + np.uint64(i), stream, key)


draw = helper(_draw)


def _write_factors(words, threshold, scale, factors, step):
    """Write the factors of the elements, ``step`` apart; element i has word i % 4 of block i // 4."""
    zero = factors.dtype.type(0)
    for j in range(4):
        source, target = words[j], factors[j * step :]
        for i in range(source.size):
            target[4 * i * step] = scale if source[i] >= threshold else zero


write_factors = helper(_write_factors)


def _multiply(x, start, step, factors, first, rows, count, out):
    """Multiply ``rows`` rows of ``count`` neighbours. Unsigned indices vectorise without slices."""
    for r in range(rows):
        offset, factor = start + r * step, first + r * count
        later = offset + np.uint64(PREFETCH_DISTANCE) * step
        prefetch(x, later, count)
        prefetch(out, later, count)
        for i in range(count):
            out[offset + i] = x[offset + i] * factors[factor + i]


multiply = helper(_multiply)


def _dropout_loop(begin, end, x, channels, area, origin, threshold, scale, seed, stream, out):
    """A task is some channels of an image. Elements are numbered from ``origin`` in NCHW order, and stored in NHWC."""
    per_task = min(DROPOUT_CHANNELS, channels)
    channel_tasks = -(-channels // per_task)
    words = np.empty((4, DROPOUT_BLOCKS), np.uint64)
    factors = np.empty(
        per_task * (area + 3 + 4 * DROPOUT_BLOCKS), x.dtype
    )  # a channel begins at element 0 to 3 of its block
    for task in range(begin, end):
        image, channel = task // channel_tasks, task % channel_tasks * per_task
        count, length = min(per_task, channels - channel), min(area, x.size - image * area)
        for c in range(count):
            first = origin + (image * channels + channel + c) * area
            last = (first + length + 3) // 4
            for block in range(first // 4, last, DROPOUT_BLOCKS):
                drawn = words[:, : min(DROPOUT_BLOCKS, (last - block + 7) // 8 * 8)]
                draw(np.uint64(block), stream, seed, drawn[0], drawn[1], drawn[2], drawn[3])
                write_factors(drawn, threshold, scale, factors[(4 * block - first + 3) * count + c :], count)
        start, line = np.uint64(image * area * channels + channel), np.uint64(count)
        rows, step = np.uint64(length), np.uint64(channels)
        if count == channels:
            rows, line = np.uint64(1), rows * line
        multiply(x, start, step, factors, np.uint64(3 * count), rows, line, out)


dropout_loop = parallel_for(_dropout_loop)
