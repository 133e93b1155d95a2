"""Dropout from a counter-based random generator.

Whether element i is kept is a pure function of (seed, stream, i): no state, so the bits are the same for any
number of threads and on any device, and backward computes the mask again instead of storing it.
"""

from __future__ import annotations

import numpy as np

from tinycnn.kernels.cpu.machine.nhwc import AHEAD, empty_alike, flat_alike, lies_channels_last
from tinycnn.kernels.cpu.machine.parallel import inline, jit
from tinycnn.kernels.cpu.machine.simd import prefetch

LINE = 4096
BLOCKS = 64  # of random words that are drawn together
CHANNELS = 16  # neighbours in memory that are worked on together

_LOW = np.uint64(0xFFFFFFFF)
_WORD = np.uint64(32)
_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)


def dropout(x: np.ndarray, p: float, seed: int, stream: int, first: int = 0) -> np.ndarray:
    """Each element is multiplied by 0 with probability p, else by 1 / (1 - p) (Srivastava et al. 2014).

    Backward is the same call on the gradient.

    Parameters
    ----------
    x : array of any shape
    p : float
        From 0 to 1, both included.
    seed, stream : int
        Key and upper half of the counter of Philox 4x32-10; their lowest 64 bits count.
    first : int
        The number of x's first element, where x is a part of a larger array.

    Notes
    -----
    The generator is Philox 4x32-10: J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel random numbers: as easy
    as 1, 2, 3", SC 2011. Element i is kept if word i % 4 of block i // 4 is at least p * 2**32.
    """
    out = empty_alike(x)
    source, target = flat_alike(x, out)
    channels, area = 1, LINE
    if lies_channels_last(x):
        channels, area = x.shape[1], x[0, 0].size
    mask = 2**64 - 1
    scale = x.dtype.type(1 / (1 - p) if p < 1 else 0)
    threshold, key, counter = (np.uint64(n) for n in (round(p * 2**32), seed & mask, stream & mask))
    pieces = -(-channels // CHANNELS)
    dropout_loop(
        -(-x.size // (channels * area)) * pieces, source, channels, area, first, threshold, scale, key, counter, target
    )
    return out


# -- Philox --------------------------------------------------------------------------------------------------
# Words of 32 bits, each in a uint64: a product of two of them fits exactly.


def _philox_round(a, b, c, d, key0, key1):
    product0, product1 = a * _M0, c * _M1
    return (product1 >> _WORD) ^ b ^ key0, product1 & _LOW, (product0 >> _WORD) ^ d ^ key1, product0 & _LOW


philox_round = inline(_philox_round)


def _philox(block, stream, key):
    """Four random words of 32 bits from a counter (block, stream) and a key of 64 bits each."""
    a, b, c, d = block & _LOW, block >> _WORD, stream & _LOW, stream >> _WORD
    key0, key1 = key & _LOW, key >> _WORD
    for _ in range(10):
        a, b, c, d = philox_round(a, b, c, d, key0, key1)
        key0, key1 = (key0 + _W0) & _LOW, (key1 + _W1) & _LOW
    return a, b, c, d


philox = inline(_philox)


# -- loops ---------------------------------------------------------------------------------------------------


def _draw(block, stream, key, a, b, c, d):
    """The four words of consecutive blocks; a loop without branches, which becomes vectors."""
    for i in range(a.size):
        a[i], b[i], c[i], d[i] = philox(block + np.uint64(i), stream, key)


draw = inline(_draw)


def _spread(words, threshold, scale, factors, step):
    """What the elements are multiplied by, element i being word i % 4 of block i // 4; ``step`` apart."""
    zero = factors.dtype.type(0)
    for j in range(4):
        source, target = words[j], factors[j * step :]
        for i in range(source.size):
            target[4 * i * step] = scale if source[i] >= threshold else zero


spread = inline(_spread)


def _multiply(x, start, step, factors, first, rows, count, out):
    """Multiply ``rows`` rows of ``count`` neighbours; indices without signs, which make vectors without slices."""
    for r in range(rows):
        at, factor = start + r * step, first + r * count
        later = at + np.uint64(AHEAD) * step
        prefetch(x, later, count)
        prefetch(out, later, count)
        for i in range(count):
            out[at + i] = x[at + i] * factors[factor + i]


multiply = inline(_multiply)


def _dropout_loop(begin, end, x, channels, area, origin, threshold, scale, seed, stream, out):
    """Some channels of an image at a time. Elements are counted from ``origin`` as in NCHW, and lie channels last."""
    some = min(CHANNELS, channels)
    pieces = -(-channels // some)
    words = np.empty((4, BLOCKS), np.uint64)
    factors = np.empty(some * (area + 3 + 4 * BLOCKS), x.dtype)  # a line begins in its block at element 0, 1, 2 or 3
    for task in range(begin, end):
        image, channel = task // pieces, task % pieces * some
        count, length = min(some, channels - channel), min(area, x.size - image * area)
        for c in range(count):
            first = origin + (image * channels + channel + c) * area
            last = (first + length + 3) // 4
            for block in range(first // 4, last, BLOCKS):
                some_words = words[:, : min(BLOCKS, (last - block + 7) // 8 * 8)]
                draw(np.uint64(block), stream, seed, some_words[0], some_words[1], some_words[2], some_words[3])
                spread(some_words, threshold, scale, factors[(4 * block - first + 3) * count + c :], count)
        at, line = np.uint64(image * area * channels + channel), np.uint64(count)
        rows, step = np.uint64(length), np.uint64(channels)
        if count == channels:
            rows, line = np.uint64(1), rows * line
        multiply(x, at, step, factors, np.uint64(3 * count), rows, line, out)


dropout_loop = jit(_dropout_loop)
