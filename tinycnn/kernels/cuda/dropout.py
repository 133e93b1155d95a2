"""Dropout from a counter-based random generator: the same bits as on the CPU.

Whether element i is kept is a pure function of (seed, stream, i), so each thread asks for the numbers of its elements,
in any order, and backward computes the mask again instead of storing it.
"""

from __future__ import annotations

import numpy as np

from tinycnn.kernels.cuda.array import DeviceArray, contiguous, empty
from tinycnn.kernels.cuda.machine.launch import device_function, kernel, launch
from tinycnn.kernels.cuda.machine.target import cuda

_LOW = np.uint64(0xFFFFFFFF)
_WORD = np.uint64(32)
_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)


def dropout(x: DeviceArray, p: float, seed: int, stream: int, first: int = 0) -> DeviceArray:
    """Draw the four words of one block of Philox a thread."""
    out = empty(x.shape, x.dtype)
    mask = 2**64 - 1
    scale = x.dtype.type(1 / (1 - p) if p < 1 else 0)
    threshold, key, counter = (np.uint64(n) for n in (round(p * 2**32), seed & mask, stream & mask))
    blocks = (first + x.size + 3) // 4 - first // 4
    source, target = contiguous(x).reshape(-1), out.reshape(-1)
    launch(dropout_kernel, blocks, source, first // 4, first, blocks, threshold, scale, key, counter, target)
    return out


# -- Philox ------------------------------------------------------------------------------------------------------------
# Words of 32 bits, each in a uint64: a product of two of them fits exactly.


@device_function
def philox_round(a, b, c, d, key0, key1):
    product0, product1 = a * _M0, c * _M1
    return (product1 >> _WORD) ^ b ^ key0, product1 & _LOW, (product0 >> _WORD) ^ d ^ key1, product0 & _LOW


@device_function
def philox(block, stream, key):
    """Four random words of 32 bits from a counter (block, stream) and a key of 64 bits each."""
    a, b, c, d = block & _LOW, block >> _WORD, stream & _LOW, stream >> _WORD
    key0, key1 = key & _LOW, key >> _WORD
    for _ in range(10):
        a, b, c, d = philox_round(a, b, c, d, key0, key1)
        key0, key1 = (key0 + _W0) & _LOW, (key1 + _W1) & _LOW
    return a, b, c, d


# -- kernels -----------------------------------------------------------------------------------------------------------


@device_function
def keep_or_drop(i, word, threshold, scale, x, out):
    """Element i, if there is one, by its random word."""
    if 0 <= i < x.size:
        out[i] = x[i] * (scale if word >= threshold else x.dtype.type(0))


@kernel
def dropout_kernel(x, first_block, origin, blocks, threshold, scale, seed, stream, out):
    """Thread = block of four elements."""
    for number in range(cuda.grid(1), blocks, cuda.gridsize(1)):
        block = first_block + number
        a, b, c, d = philox(np.uint64(block), stream, seed)
        at = 4 * block - origin
        keep_or_drop(at, a, threshold, scale, x, out)
        keep_or_drop(at + 1, b, threshold, scale, x, out)
        keep_or_drop(at + 2, c, threshold, scale, x, out)
        keep_or_drop(at + 3, d, threshold, scale, x, out)
