"""Public tests. Sizes are the lengths of what ``encode`` returned, and ``decode`` runs in a fresh process."""

import numpy as np


def layer(rng, size=4000):
    """Return weights with a few large ones, as in trained nets."""
    return (rng.standard_t(3, size) * 0.05).astype(np.float32)


def pruned(weights, keep):
    """Return the right pruning, if no two weights are equal."""
    least = np.sort(np.abs(weights), axis=None)[-round(keep * weights.size)]
    return np.where(np.abs(weights) >= least, weights, 0).astype(weights.dtype)


def cost(counts):
    """Return the least number of bits: the sum of all inner nodes of Huffman's tree."""
    nodes, total = sorted(int(count) for count in counts if count), 0
    while nodes[1:]:
        both = nodes[0] + nodes[1]
        nodes, total = sorted([both, *nodes[2:]]), total + both
    return total or nodes[0]


def prune(student, rng, check):
    """Pruning: the largest stay, by absolute value, and so many."""
    weights = layer(rng, 60).reshape(5, 12)
    keep = float(rng.uniform(0.1, 0.4))
    check.close(student.prune(weights, keep), pruned(weights, keep))


def share(student, rng, check):
    """Sharing: each value has the number of its nearest centre, and centres are means of their values."""
    values, count = layer(rng, 500), int(rng.integers(6, 12))
    centres, labels = student.share(values, count)
    check.equal([np.shape(centres), np.shape(labels)], [(count,), (500,)], what="the list of shapes")
    check.true((np.diff(centres) >= 0).all(), "centres are not in ascending order")
    nearest = np.abs(values[:, None] - centres).min(axis=1)
    check.close(np.abs(values - centres[labels]), nearest, tolerance=1e-5)
    reference = np.linspace(values.min(), values.max(), count)
    for _ in range(30):
        near = np.abs(values[:, None] - reference).argmin(axis=1)
        reference = np.array([values[near == k].mean() if (near == k).any() else reference[k] for k in range(count)])
    best = ((values - reference[np.abs(values[:, None] - reference).argmin(axis=1)]) ** 2).mean()
    error = ((values - centres[labels]) ** 2).mean()
    check.true(
        error < 1.2 * best, "the mean squared error is larger than k-means leaves it", "do centres move to the mean?"
    )


def huffman(student, rng, check):
    """Huffman's lengths: codes exist for them, and no others are shorter in total."""
    for counts in (rng.integers(0, 90, 12).tolist(), (2 ** rng.integers(0, 9, 7)).tolist(), [0, 7, 0]):
        lengths = student.huffman_lengths(counts)
        with check.part():
            check.equal(
                [length > 0 for length in lengths], [count > 0 for count in counts], what="which symbols have codes"
            )
            total = sum(count * length for count, length in zip(counts, lengths))
            room = sum(2.0**-length for length in lengths if length)
            check.true(room <= 1, "no code has these lengths: they are too short to be told apart")
            check.equal(total, cost(counts), what="the number of bits in all")


def round_trip(student, rng, check):
    """The weights are the same after encoding and decoding: pruned, each near its own value."""
    weights = layer(rng)
    data = student.encoded(weights, 0.2, 16)
    compare_decoded(check, fresh(student, check, data), weights, 0.2)


def fresh(student, check, data):
    """Decode in a new process, without any state."""
    student.restart()
    return student.decoded(data)


def compare_decoded(check, got, weights, keep):
    """Compare the positions of the remaining weights, and roughly their values."""
    right = pruned(weights, keep)
    check.equal([list(np.shape(got)), str(got.dtype)], [[weights.size], "float32"], what="shape and dtype")
    check.true(((got != 0) <= (right != 0)).all(), "weights come back where none were left", "are gaps counted right?")
    off = np.abs(got - right)[right != 0] / np.abs(right).max()
    check.true(off.mean() < 0.05 and off.max() < 0.2, "weights come back far from what they were")


def size(student, rng, check):
    """4,000 weights (16,000 bytes), of which 20 % stay with 16 values, in at most 1,400 bytes, and in 1,150."""
    weights = layer(rng)
    data = student.encoded(weights, 0.2, 16)
    compare_decoded(check, fresh(student, check, data), weights, 0.2)
    for most in (1400, 1150):
        with check.part():
            check.true(
                len(data) <= most, f"{len(data)} bytes, expected at most {most}", "are gaps coded by Huffman, too?"
            )
