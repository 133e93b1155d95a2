"""Compress a layer's weights by real bytes: prune, share, and code by Huffman (Han et al. 2015).

What ``encode`` returns is all that ``decode`` gets, in another process: a codebook, a table or a length that is not in
the bytes is not there.
"""

import heapq
import struct

import numpy as np


def prune(weights, keep):
    """Return the same array with the smallest weights, by absolute value, set to 0.

    Parameters
    ----------
    weights : ndarray
    keep : float
        The share that stays: round(keep * size) of them.
    """
    ### BEGIN SOLUTION
    count = round(keep * weights.size)
    out = np.zeros_like(weights)
    if count:
        largest = np.argsort(-np.abs(weights), axis=None, kind="stable")[:count]
        out.flat[largest] = weights.flat[largest]
    return out
    ### END SOLUTION


def share(values, count, rounds=30):
    """Return k-means in one dimension: ``count`` centres, and for each value the number of the nearest.

    Centres start at equal distances from the smallest value to the largest (Han et al. found this best, for large
    weights matter), and move to the mean of their values. A centre without values stays where it is.

    Returns
    -------
    (centres, labels)
        Centres float32, in ascending order; labels integers, of the shape of values (one dimension).
    """
    ### BEGIN SOLUTION
    centres = np.linspace(values.min(), values.max(), count)
    for _ in range(rounds):
        labels = np.abs(values[:, None] - centres).argmin(axis=1)
        sums, numbers = np.bincount(labels, values, count), np.bincount(labels, minlength=count)
        centres = np.where(numbers > 0, sums / np.maximum(numbers, 1), centres)
    centres = centres.astype(np.float32)
    return centres, np.abs(values[:, None] - centres).argmin(axis=1)
    ### END SOLUTION


def huffman_lengths(counts):
    """Return the lengths in bits of Huffman's codes for symbols with these counts.

    Parameters
    ----------
    counts : sequence of int

    Returns
    -------
    list of int
        0 for a symbol that does not occur, 1 if only one does. Of codes that can be told apart without separators, none
        is shorter in total: sum of count * length.
    """
    ### BEGIN SOLUTION
    heap = [(count, symbol, [symbol]) for symbol, count in enumerate(counts) if count]
    lengths = [0] * len(counts)
    if len(heap) == 1:
        lengths[heap[0][1]] = 1
    heapq.heapify(heap)
    while len(heap) > 1:
        (one, order, some), (other, _, more) = heapq.heappop(heap), heapq.heappop(heap)
        for symbol in (*some, *more):
            lengths[symbol] += 1
        heapq.heappush(heap, (one + other, order, [*some, *more]))
    return lengths
    ### END SOLUTION


def encode(weights, keep, count):
    """Return a layer as bytes: pruned, the rest shared among ``count`` values, everything coded as tightly as you can.

    Parameters
    ----------
    weights : ndarray of float32, one dimension
    keep : float
    count : int
        At most 256.

    Returns
    -------
    bytes
    """
    ### BEGIN SOLUTION
    pruned = prune(weights, keep)
    (places,) = np.nonzero(pruned)
    centres, labels = share(pruned[places], count)
    gaps = np.diff(places, prepend=-1) - 1
    steps, symbols = [], []
    for gap, label in zip(gaps, labels):  # a gap of 255 and more is several steps, all but the last without a weight
        steps += [255] * (gap // 255) + [gap % 255]
        symbols.append(label)
    head = struct.pack("<IIH", weights.size, len(steps), len(centres))
    return head + centres.tobytes() + pack(steps, 256) + pack(symbols, count)
    ### END SOLUTION


def decode(data):
    """Return the weights that ``encode`` coded: pruned and shared, float32, one dimension."""
    ### BEGIN SOLUTION
    size, steps, count = struct.unpack_from("<IIH", data)
    at = struct.calcsize("<IIH")
    centres = np.frombuffer(data, np.float32, count, at)
    gaps, at = unpack(data, at + 4 * count, 256, steps)
    ends = [number for number, gap in enumerate(gaps) if gap < 255]
    labels, _ = unpack(data, at, count, len(ends))
    places = np.cumsum(gaps)[ends] + np.arange(len(ends)) if steps else np.array([], int)
    out = np.zeros(size, np.float32)
    out[places] = centres[labels]
    return out
    ### END SOLUTION


### BEGIN SOLUTION
def codes_of(lengths):
    """Return canonical codes: from the lengths alone, in the order of (length, symbol)."""
    codes, code, last = {}, 0, 0
    for length, symbol in sorted((length, symbol) for symbol, length in enumerate(lengths) if length):
        code <<= length - last
        codes[symbol], code, last = (code, length), code + 1, length
    return codes


def pack(symbols, count):
    """Return lengths of codes, a byte each, then the codes of all symbols, bit after bit."""
    lengths = huffman_lengths(np.bincount(symbols, minlength=count))
    codes = codes_of(lengths)
    bits = "".join(f"{codes[symbol][0]:0{codes[symbol][1]}b}" for symbol in symbols)
    body = int(bits + "0" * (-len(bits) % 8) or "0", 2).to_bytes(-(-len(bits) // 8), "big")
    return bytes(lengths) + body


def unpack(data, at, count, total):
    """Return ``total`` symbols from a byte on, and the byte behind them."""
    table = {code: symbol for symbol, code in codes_of(data[at : at + count]).items()}
    at, symbols, code, length, used = at + count, [], 0, 0, 0
    while len(symbols) < total:
        code, length, used = code << 1 | data[at + used // 8] >> (7 - used % 8) & 1, length + 1, used + 1
        if (code, length) in table:
            symbols.append(table[code, length])
            code = length = 0
    return symbols, at + -(-used // 8)


### INSTEAD
# # Functions that encode and decode share go here.
### END SOLUTION
