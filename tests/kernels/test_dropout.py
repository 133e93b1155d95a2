"""The dropout kernel: known answers of its generator, statistics, independence of threads."""

import numpy as np
import pytest

import tinycnn as tc
from tinycnn.kernels.cpu.dropout import dropout, philox
from tinycnn.kernels.cpu.machine.nhwc import channels_last

# Philox 4x32-10 in Random123's kat_vectors: counter, key, answer.
KNOWN_ANSWERS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def philox_reference(counter, key):
    """Return the paper's figure in Python's unbounded integers."""
    c, k = list(counter), list(key)
    for _ in range(10):
        first, second = c[0] * 0xD2511F53, c[2] * 0xCD9E8D57
        c = [second >> 32 ^ c[1] ^ k[0], second % 2**32, first >> 32 ^ c[3] ^ k[1], first % 2**32]
        k = [(k[0] + 0x9E3779B9) % 2**32, (k[1] + 0xBB67AE85) % 2**32]
    return c


def words(text):
    return [int(word, 16) for word in text.split()]


def join(low, high):
    return np.uint64(low | high << 32)


@pytest.mark.nojit
@pytest.mark.parametrize("counter, key, answer", KNOWN_ANSWERS)
def test_philox_gives_the_known_answers(counter, key, answer):
    c, k = words(counter), words(key)
    assert philox_reference(c, k) == words(answer)
    assert [int(word) for word in philox(join(*c[:2]), join(*c[2:]), join(*k))] == words(answer)


@pytest.mark.nojit
def test_the_mask_is_philox_of_seed_stream_and_index():
    seed, stream, p = 0x123456789ABCDEF0, 7, 0.3
    out = dropout(np.ones(11), p, seed, stream)
    key = seed % 2**32, seed >> 32
    expected = [philox_reference((i // 4, 0, stream, 0), key)[i % 4] >= p * 2**32 for i in range(11)]
    np.testing.assert_array_equal(out, np.where(expected, 1 / 0.7, 0))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_statistics(p, dtype):
    n = 400_000
    out = dropout(np.ones(n, dtype), p, 3, 1)
    kept = out != 0
    assert out.dtype == dtype
    assert np.unique(out[kept]).tolist() == [dtype(1 / (1 - p))]
    deviation = np.sqrt(p * (1 - p) / n)
    assert abs(kept.mean() - (1 - p)) < 4 * deviation
    for lag in 1, 2, 3, 4, 1000:  # neighbours are independent
        together = (kept[lag:] & kept[:-lag]).mean()
        assert abs(together - (1 - p) ** 2) < 6 * deviation


def test_seeds_and_streams_differ_and_repeat():
    x = np.ones(1000)
    assert np.array_equal(dropout(x, 0.5, 1, 2), dropout(x, 0.5, 1, 2))
    for seed, stream in (2, 2), (1, 3), (1 + 2**32, 2), (1, 2 + 2**32):
        agreement = (dropout(x, 0.5, 1, 2) == dropout(x, 0.5, seed, stream)).mean()
        assert 0.4 < agreement < 0.6


@pytest.mark.nojit
def test_probabilities_zero_and_one():
    x = np.array([1.5, -2.0, 3.0])
    np.testing.assert_array_equal(dropout(x, 0.0, 0, 0), x)
    np.testing.assert_array_equal(dropout(x, 1.0, 0, 0), np.zeros(3))


def test_backward_drops_the_same_elements():
    x, grad = np.ones((3, 5, 7), np.float32), np.full((3, 5, 7), 2.0, np.float32)
    np.testing.assert_array_equal(dropout(grad, 0.4, 9, 9), 2 * dropout(x, 0.4, 9, 9))


@pytest.mark.parametrize("size", range(10))
def test_every_length(size):
    long = dropout(np.ones(12), 0.5, 5, 5)
    np.testing.assert_array_equal(dropout(np.ones(size), 0.5, 5, 5), long[:size])


@pytest.mark.nojit
@pytest.mark.parametrize("first", [0, 1, 2, 3, 4, 9])
def test_a_part_is_a_part_of_the_whole(first):
    whole = dropout(np.ones(23), 0.5, 5, 5)
    for size in range(24 - first):
        np.testing.assert_array_equal(dropout(np.ones(size), 0.5, 5, 5, first), whole[first : first + size])


def test_any_strides_and_shape():
    x = np.arange(24.0).reshape(4, 6)
    view = x.T[::-1]
    view.flags.writeable = False
    np.testing.assert_array_equal(dropout(view, 0.5, 1, 1), dropout(view.copy(), 0.5, 1, 1))
    assert dropout(np.float32(1).reshape(()), 0.5, 1, 1).shape == ()


def test_the_same_bits_for_any_number_of_threads():
    x = np.random.default_rng(0).standard_normal(10_001)
    many = dropout(x, 0.5, 1, 1)
    tc.set_num_threads(1)
    np.testing.assert_array_equal(many, dropout(x, 0.5, 1, 1))


def test_the_same_elements_are_dropped_however_they_lie_in_memory():
    x = np.random.default_rng(0).random((3, 48, 27, 9)).astype(np.float32)
    np.testing.assert_array_equal(dropout(channels_last(x), 0.3, 7, 9), dropout(x, 0.3, 7, 9))
