"""Dropout: whether element i is kept is a pure function of (seed, stream, i), so no mask is stored."""

import numpy as np

M0, M1 = 0xD2511F53, 0xCD9E8D57  # multipliers and increments of the key, from the paper (section 3.3)
W0, W1 = 0x9E3779B9, 0xBB67AE85
LOW = 2**32 - 1


def dropout(x, p, seed, stream, first=0):
    first, last = int(first), int(first) + x.size
    blocks = np.arange(first // 4, -(-last // 4), dtype=np.uint64)
    words = philox(blocks, stream % 2**64, seed % 2**64).ravel()[first % 4 :][: x.size]  # (x.size,)
    scale = x.dtype.type(1 / (1 - p) if p < 1 else 0)
    return x * np.where(words >= round(p * 2**32), scale, 0).reshape(x.shape)


def philox(block, stream, seed):
    """Return four random words of 32 bits, (blocks, 4), for each counter (block, stream): Philox 4x32-10.

    Words are kept in 64 bits, which hold the product of two of them.
    """
    a, b, c, d = block & LOW, block >> 32, stream & LOW, stream >> 32
    key0, key1 = seed & LOW, seed >> 32
    for _ in range(10):
        product0, product1 = a * M0, c * M1
        a, b, c, d = (product1 >> 32) ^ b ^ key0, product1 & LOW, (product0 >> 32) ^ d ^ key1, product0 & LOW
        key0, key1 = (key0 + W0) & LOW, (key1 + W1) & LOW
    return np.stack([a, b, c, d], axis=1)
