"""Dropout from a counter-based random generator.

Whether element i is kept is a pure function of (seed, stream, i): no state, so the bits are the same for any
number of threads and on any device, and backward computes the mask again instead of storing it.
"""

from __future__ import annotations

import numpy as np

from tinycnn.kernels.cpu._jit import inline, jit
from tinycnn.kernels.cpu.layout import empty_alike, flat_alike, lies_channels_last

LINE = 4096

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
    dropout_loop(-(-x.size // area), source, channels, area, first, threshold, scale, key, counter, target)
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


def _dropout_loop(begin, end, x, channels, area, origin, threshold, scale, seed, stream, out):
    """Line by line of ``area`` elements, counted from ``origin`` as in NCHW; in memory they are ``channels`` apart."""
    zero = x.dtype.type(0)
    for line in range(begin, end):
        first, last = origin + line * area, origin + min(x.size, (line + 1) * area)
        place = line // channels * area * channels + line % channels
        for block in range(first // 4, (last + 3) // 4):
            words = philox(np.uint64(block), stream, seed)
            for j in range(max(0, first - 4 * block), min(4, last - 4 * block)):
                at = place + (4 * block + j - first) * channels
                out[at] = x[at] * (scale if words[j] >= threshold else zero)


dropout_loop = jit(_dropout_loop)
