"""Huffman coding: exact round trips, never far from the entropy, and nothing damaged is accepted."""

import numpy as np
import pytest

from tinycnn.compression import bitstream, huffman
from tinycnn.errors import WeightsError

RNG = np.random.default_rng(0)
COUNTS = {
    "equal": np.full(16, 100),
    "powers of two": 2 ** np.arange(10),
    "one symbol": np.array([0, 7, 0]),
    "two symbols": np.array([1, 1_000_000]),
    "normal": np.histogram(RNG.normal(size=100_000), 256)[0],
    "runs": np.bincount(np.minimum(RNG.geometric(0.05, 50_000), 255), minlength=256),
    "Fibonacci": np.array([1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610, 987, 1597, 2584, 4181]),
}


def symbols_with(counts):
    return RNG.permutation(np.repeat(np.arange(len(counts)), np.minimum(counts, 5000))).astype(np.uint8)


def average(counts, lengths):
    return float(counts @ lengths.astype(np.int64) / counts.sum())


@pytest.mark.parametrize("name", COUNTS)
def test_a_word_is_on_average_less_than_a_bit_longer_than_the_entropy(name):
    counts = COUNTS[name]
    mean, bound = average(counts, huffman.word_lengths(counts)), huffman.entropy(counts)
    assert bound <= mean + 1e-12 and (mean < bound + 1 or np.count_nonzero(counts) == 1)
    if name in ("equal", "powers of two"):
        assert mean == pytest.approx(bound, abs=0.01)


def best_by_trying_all(counts):
    """Return the least average length of all prefix codes, by Kraft's inequality."""
    best = np.inf
    for lengths in np.ndindex(*[len(counts)] * len(counts)):
        if sum(2.0 ** -(length + 1) for length in lengths) <= 1:
            best = min(best, float(np.dot(counts, np.add(lengths, 1))))
    return best


@pytest.mark.parametrize("trial", range(8))
def test_no_prefix_code_is_better(trial):
    counts = np.random.default_rng(trial).integers(1, 60, size=5)
    assert float(counts @ huffman.word_lengths(counts).astype(int)) == best_by_trying_all(counts)


def test_words_of_at_most_15_bits_cost_next_to_nothing():
    counts = COUNTS["Fibonacci"]
    unlimited = 0
    heap = sorted(counts.tolist())
    while len(heap) > 1:  # the cost of a Huffman code is the sum of all joined counts
        joined = heap.pop(0) + heap.pop(0)
        unlimited += joined
        heap = sorted([*heap, joined])
    lengths = huffman.word_lengths(counts)
    assert lengths.max() <= huffman.LONGEST_WORD < len(counts) - 1
    assert counts @ lengths.astype(int) <= 1.01 * unlimited


@pytest.mark.parametrize("name", COUNTS)
def test_no_word_begins_another(name):
    lengths = huffman.word_lengths(COUNTS[name])
    words = [f"{w:0{n}b}" for w, n in zip(huffman.words(lengths), lengths) if n]
    assert not any(a != b and b.startswith(a) for a in words for b in words)
    assert len(set(words)) == np.count_nonzero(COUNTS[name])


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("name", COUNTS)
def test_round_trip(name, fixed):
    symbols, alphabet = symbols_with(COUNTS[name]), len(COUNTS[name])
    lengths = huffman.fixed_lengths(alphabet) if fixed else huffman.word_lengths(np.bincount(symbols))
    lengths = np.append(lengths, np.zeros(alphabet - len(lengths), np.uint8))
    data = huffman.encode(symbols, alphabet, lengths)
    bits = np.bincount(symbols, minlength=alphabet) @ lengths.astype(int)
    assert len(data) == -(-alphabet // 2) + -(-bits // 8)
    np.testing.assert_array_equal(huffman.decode(data, len(symbols), alphabet), symbols)


@pytest.mark.nojit
def test_bytes_by_hand():
    """Words 110, 111, 10 and 0 of 3, 3, 2 and 1 bits; then 0 111 0 0 10 110 0, filled up with zeros."""
    symbols = np.array([3, 1, 3, 3, 2, 0, 3], np.uint8)
    data = huffman.encode(symbols, 4)
    assert data.hex() == "3321" + "72c0"
    np.testing.assert_array_equal(huffman.decode(data, 7, 4), symbols)


DAMAGED = {
    "a table that is cut off": (b"\x11", 1, 6, "cut off"),
    "an entry beyond the alphabet": (b"\x11\x11\x00", 1, 3, "beyond its alphabet"),
    "too many short words": (b"\x11\x10\x00", 1, 4, "more words than a prefix code"),
    "more words than bits": (b"\x11\x00", 9, 2, "cannot hold 9 words"),
    "an unknown word": (b"\x10\xff", 1, 2, "unknown"),
    "bytes that are left": (b"\x11\x00\x00", 3, 2, "are too long"),
    "words that end too early": (b"\x22\x22\x00", 5, 4, "too early"),
    "a last word without its last bit": (b"\x12\x20\x01", 8, 3, "too early"),
}


@pytest.mark.nojit
@pytest.mark.parametrize("name", DAMAGED)
def test_what_is_no_prefix_code_is_refused(name):
    data, count, alphabet, message = DAMAGED[name]
    with pytest.raises(WeightsError, match=message):
        huffman.decode(data, count, alphabet)


def test_no_bit_behind_the_data_is_read():
    """The loop as plain Python, where an index out of bounds raises an error."""
    sizes, order, out, read = np.array([0, 1, 2]), np.arange(3), np.zeros(8, np.uint8), np.zeros(1, np.int64)
    bitstream._unpack_loop(0, 1, np.array([0b00000001], np.uint8), sizes, order, out, read)
    assert out.tolist() == [0] * 8 and read[0] == -1


def test_runs_must_use_every_value():
    symbols = np.array([1, 0], np.uint8)
    assert bitstream.spread(symbols, 3, np.array([7], np.uint8), 2).tolist() == [0, 7]
    assert bitstream.spread(symbols, 3, np.array([7, 8, 9], np.uint8), 2) is None
    assert bitstream.spread(symbols, 3, np.array([7], np.uint8), 3) is None
