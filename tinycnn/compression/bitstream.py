"""Streams of code words of different lengths: the loops of Huffman coding, and of runs of zeros.

Words follow one another, the highest bit of a byte first; the last byte is filled up with zeros.
"""

from __future__ import annotations

import numpy as np

from tinycnn.kernels.cpu.machine.parallel import as_contiguous, parallel_for

LONGEST_WORD = 15
"""Bits. A table then takes half a byte a symbol."""


def pack(symbols: np.ndarray, words: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return the bytes of a sequence of code words.

    Parameters
    ----------
    symbols : uint8 array, shape (N,)
    words, lengths : arrays, shape (alphabet,)
        The word of each symbol, and the number of its bits.

    Examples
    --------
    >>> [f"{byte:08b}" for byte in pack(np.array([1, 0, 1], np.uint8), np.array([0, 6]), np.array([1, 3]))]
    ['11001100']
    """
    bits = int(np.bincount(symbols, minlength=len(lengths)) @ lengths.astype(np.int64))
    out = np.zeros(-(-bits // 8), np.uint8)
    pack_loop(1, as_contiguous(symbols), words.astype(np.int64), lengths.astype(np.int64), out)
    return out


def unpack(data: np.ndarray, count: int, sizes: np.ndarray, order: np.ndarray) -> tuple[np.ndarray, int]:
    """Decode a canonical prefix code: words of one length are consecutive numbers, shorter words come first.

    Parameters
    ----------
    data : uint8 array
    count : int
        Symbols to decode.
    sizes : integer array, shape (LONGEST_WORD + 1,)
        The number of words of each length.
    order : uint8 array
        Symbols in the order of their words.

    Returns
    -------
    uint8 array, shape (count,)
    int
        Bits read, or -1 if the data end too early or hold a word that is not in the code.
    """
    out, read = np.empty(count, np.uint8), np.zeros(1, np.int64)
    unpack_loop(1, as_contiguous(data), sizes.astype(np.int64), as_contiguous(order), out, read)
    return out, int(read[0])


def spread(symbols: np.ndarray, top: int, values: np.ndarray, size: int) -> np.ndarray | None:
    """Write each value after its run of zeros.

    Parameters
    ----------
    symbols : uint8 array
        The number of zeros before each value, and at the end. ``top`` is that many zeros without a value after them.
    top : int
    values : unsigned integer array
    size : int
        Elements of the whole array.

    Returns
    -------
    array, shape (size,)
        None if the runs and the values do not fill it.

    Examples
    --------
    >>> spread(np.array([1, 3, 0, 2], np.uint8), 3, np.array([7, 8], np.uint32), 8).tolist()
    [0, 7, 0, 0, 0, 8, 0, 0]
    """
    out, found = np.zeros(size, values.dtype), np.zeros(2, np.int64)
    spread_loop(1, as_contiguous(symbols), top, as_contiguous(values), out, found)
    return out if found.tolist() == [size + 1, len(values) + 1] else None


# -- loops ---------------------------------------------------------------------------------------------------


def _pack_loop(begin, end, symbols, words, lengths, out):
    for _ in range(begin, end):
        waiting, bits, position = np.int64(0), np.int64(0), 0
        for symbol in symbols:
            waiting = waiting << lengths[symbol] | words[symbol]
            bits += lengths[symbol]
            while bits >= 8:
                bits -= 8
                out[position] = waiting >> bits & 255
                position += 1
            waiting &= 255  # at most 7 bits are not written yet
        if bits:
            out[position] = waiting << (8 - bits) & 255


def _unpack_loop(begin, end, data, sizes, order, out, read):
    for _ in range(begin, end):
        bit, last = 0, 8 * data.size
        for i in range(out.size):
            word, first, before = np.int64(0), np.int64(0), np.int64(0)
            for length in range(1, sizes.size):
                if bit == last:
                    read[0] = -1
                    return
                word = word << 1 | (data[bit >> 3] >> (7 - (bit & 7)) & 1)
                bit += 1
                if word - first < sizes[length]:
                    out[i] = order[before + word - first]
                    break
                before += sizes[length]
                first = (first + sizes[length]) << 1
            else:
                read[0] = -1
                return
        read[0] = bit


def _spread_loop(begin, end, symbols, top, values, out, found):
    for _ in range(begin, end):
        position, used = 0, 0
        for symbol in symbols:
            position += symbol
            if symbol < top:
                if position < out.size and used < values.size:
                    out[position] = values[used]
                position += 1
                used += 1
        found[0], found[1] = position, used


pack_loop = parallel_for(_pack_loop)
unpack_loop = parallel_for(_unpack_loop)
spread_loop = parallel_for(_spread_loop)
