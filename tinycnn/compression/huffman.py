"""Huffman coding: frequent symbols get short words, and no word begins another.

D. Huffman, "A Method for the Construction of Minimum-Redundancy Codes" (1952). The average length of a word lies
between the entropy of the symbols and one bit more. Codes are canonical: the lengths of the words determine the words,
so a table stores half a byte for each symbol.
"""

from __future__ import annotations

import heapq

import numpy as np

from tinycnn import arguments
from tinycnn.compression import bitstream
from tinycnn.errors import WeightsError

LONGEST_WORD = bitstream.LONGEST_WORD


def entropy(counts: np.ndarray) -> float:
    """Return Shannon's bound in bits for each symbol: the sum of -p log2 p.

    >>> entropy(np.array([2, 1, 1]))
    1.5
    """
    counts = _counts("entropy", counts)
    if not counts.sum() > 0:
        return 0.0
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log2(shares)).sum())


def word_lengths(counts: np.ndarray) -> np.ndarray:
    """Return the bits of each symbol's word in an optimal code; 0 for a symbol that does not occur.

    The two rarest symbols are joined into one, again and again: each joining makes the words of the joined symbols one
    bit longer. A word of more than :data:`LONGEST_WORD` bits is avoided by halving the counts, which costs next to
    nothing; one symbol alone has a word of 1 bit.

    Parameters
    ----------
    counts : integer array, shape (alphabet,)

    Examples
    --------
    >>> word_lengths(np.array([5, 1, 0, 2])).tolist()
    [1, 2, 0, 2]
    """
    counts = _counts("word_lengths", counts)
    heap = [(int(count), symbol, [symbol]) for symbol, count in enumerate(counts) if count]
    lengths = np.zeros(len(counts), np.uint8)
    if len(heap) == 1:
        lengths[heap[0][1]] = 1
    heapq.heapify(heap)
    while len(heap) > 1:
        rare, rank, first = heapq.heappop(heap)
        rarer, _, second = heapq.heappop(heap)
        lengths[first + second] += 1
        heapq.heappush(heap, (rare + rarer, rank, first + second))
    return lengths if lengths.max(initial=0) <= LONGEST_WORD else word_lengths((np.asarray(counts) + 1) // 2)


def fixed_lengths(alphabet: int) -> np.ndarray:
    """Return words of one length for all symbols, as in a code without Huffman's idea."""
    arguments.integer("fixed_lengths", "alphabet", alphabet, 0, 2**LONGEST_WORD)
    return np.full(alphabet, max(1, (alphabet - 1).bit_length()), np.uint8)


def words(lengths: np.ndarray) -> np.ndarray:
    """Return the canonical words: consecutive numbers for one length, in the order of symbols, shorter words first.

    >>> [f"{word:b}" for word in words(np.array([1, 2, 0, 2]))]
    ['0', '10', '0', '11']
    """
    lengths = arguments.array("words", "lengths", np.asarray(lengths), "iu", 1)
    found, word = np.zeros(len(lengths), np.int64), 0
    for length in range(1, LONGEST_WORD + 1):
        members = np.flatnonzero(lengths == length)
        found[members] = word + np.arange(len(members))
        word = (word + len(members)) << 1
    return found


def encode(symbols: np.ndarray, alphabet: int, lengths: np.ndarray | None = None) -> bytes:
    """Return a table of word lengths, then the words.

    Parameters
    ----------
    symbols : uint8 array, shape (N,)
    alphabet : int
        At most 256.
    lengths : uint8 array, optional
        Of words; by default :func:`word_lengths` of the symbols' counts.
    """
    arguments.integer("encode", "alphabet", alphabet, 0, 256)
    symbols = arguments.array("encode", "symbols", symbols, "iu", 1)
    if symbols.size and not 0 <= symbols.min() <= symbols.max() < alphabet:
        raise ValueError(f"encode: symbols are {symbols.min()} to {symbols.max()}, expected 0 to {alphabet - 1}")
    symbols = symbols.astype(np.uint8)
    if lengths is not None:
        lengths = _lengths(lengths, symbols, alphabet)
    else:
        lengths = word_lengths(np.bincount(symbols, minlength=alphabet))
    padded = np.append(lengths, np.zeros(alphabet % 2, np.uint8))
    table = (padded[::2] << 4 | padded[1::2]).astype(np.uint8)
    return table.tobytes() + bitstream.pack(symbols, words(lengths), lengths).tobytes()


def decode(data: bytes, count: int, alphabet: int) -> np.ndarray:
    """Return the ``count`` symbols that :func:`encode` wrote; ``data`` must hold them and nothing more.

    Raises
    ------
    WeightsError
        If the table is not a prefix code, or the words do not fill the data.
    """
    arguments.instance("decode", "data", data, (bytes, bytearray), "bytes")
    arguments.integer("decode", "count", count, 0)
    arguments.integer("decode", "alphabet", alphabet, 0, 256)
    size = -(-alphabet // 2)
    table = np.frombuffer(data[:size], np.uint8)
    lengths = np.stack([table >> 4, table & 15], axis=1).reshape(-1)
    if len(table) < size or lengths[alphabet:].any():
        raise WeightsError("a Huffman table is cut off or has entries beyond its alphabet")
    lengths = lengths[:alphabet]
    sizes = np.bincount(lengths, minlength=LONGEST_WORD + 1)
    sizes[0] = 0
    if (sizes / 2.0 ** np.arange(LONGEST_WORD + 1)).sum() > 1:
        raise WeightsError("a Huffman table has more words than a prefix code can have")
    if count > 8 * (len(data) - size):
        raise WeightsError(f"{len(data) - size} bytes cannot hold {count} words")
    order = np.argsort(lengths, kind="stable")[np.count_nonzero(lengths == 0) :].astype(np.uint8)
    symbols, read = bitstream.unpack(np.frombuffer(data[size:], np.uint8), count, sizes, order)
    if read < 0 or -(-read // 8) != len(data) - size:
        raise WeightsError("the words of a Huffman code end too early, are too long, or are unknown")
    return symbols


def _counts(owner: str, counts: np.ndarray) -> np.ndarray:
    counts = arguments.array(owner, "counts", np.asarray(counts), "iuf", 1)
    if not (counts >= 0).all():
        raise ValueError(f"{owner}: counts holds {counts.min()}, expected numbers of at least 0")
    return counts


def _lengths(lengths: np.ndarray, symbols: np.ndarray, alphabet: int) -> np.ndarray:
    """Return word lengths as bytes if they belong to a code that has a word for each of the symbols."""
    lengths = arguments.array("encode", "lengths", lengths, "iu", 1)
    if lengths.shape != (alphabet,) or not ((lengths >= 0) & (lengths <= LONGEST_WORD)).all():
        raise ValueError(f"encode: lengths must be {alphabet} numbers from 0 to {LONGEST_WORD}")
    if (2.0 ** -lengths[lengths > 0].astype(np.float64)).sum() > 1 or not lengths[symbols].all():
        raise ValueError("encode: lengths is not a prefix code with a word for each symbol")
    return lengths.astype(np.uint8)
