"""Public tests: one for each function, so one for each fault. They say that something is wrong, and hardly what."""

import numpy as np

import tinycnn as tc
from tinycnn import functional as F
from tinycnn.assign.testing import numeric_gradient


def normalise(student, rng, check):
    """normalise: each channel by its own mean and deviation."""
    images = rng.integers(256, size=(4, 3, 3, 3)).astype(np.uint8)
    mean, std = rng.uniform(50, 150, 3), rng.uniform(20, 60, 3)
    got = student.normalise(images, mean, std)
    check.close(got, np.stack([(images[:, c] - mean[c]) / std[c] for c in range(3)], axis=1).astype(np.float32))
    check.equal(str(got.dtype), "float32", what="the dtype")


def he_normal(student, rng, check):
    """he_normal: the deviation that keeps the size of what passes through."""
    shape = (int(rng.integers(4, 9)), 64, 3, 3)
    got = student.weight(int(rng.integers(1000)), shape)
    check.equal(list(got.shape), list(shape), what="the shape")
    ratio = got.std() / np.sqrt(2 / (64 * 9))
    check.true(0.9 < ratio < 1.1, "the deviation of the weights is not sqrt(2 / fan-in)", "what is fan-in here?")


def batches(student, rng, check):
    """batches: every image once, with its own label, in random order."""
    count, size = int(rng.integers(20, 30)), int(rng.integers(6, 9))
    labels = rng.permutation(count)
    got = student.epoch(int(rng.integers(1000)), labels[:, None] * 10.0, labels, size)
    check.equal([len(part) for part, _ in got][:-1], [size] * ((count - 1) // size), what="the list of batch sizes")
    images, answers = (np.concatenate(parts) for parts in zip(*got))
    check.equal(sorted(answers.tolist()), list(range(count)), what="the labels, sorted,")
    check.true((images[:, 0] == 10 * answers).all(), "images and labels do not belong together")
    check.true((answers != labels).any(), "the order is not random")


def linear_backward(student, rng, check):
    """linear_backward: the gradients agree with finite differences."""
    x, weight, grad = rng.normal(size=(5, 3)), rng.normal(size=(4, 3)), rng.normal(size=(5, 4))
    dx, dweight, dbias = student.linear_backward(grad, x, weight)
    check.close(dx, numeric_gradient(lambda v: (grad * (v @ weight.T)).sum(), x), tolerance=1e-6)
    check.close(dweight, numeric_gradient(lambda v: (grad * (x @ v.T)).sum(), weight), tolerance=1e-6)
    check.close(dbias, grad.sum(axis=0))


def max_pool(student, rng, check):
    """max_pool: the largest of neighbours."""
    x = rng.normal(size=(2, 3, 7, 6))
    check.close(student.max_pool(x), F.max_pool2d(tc.Tensor(x), 2).data)


def log_softmax(student, rng, check):
    """log_softmax: right for logits of very different size."""
    logits = rng.normal(size=(4, 5)) * np.array([[1.0], [30.0], [1000.0], [1.0]]) + np.array([[0.0], [0], [0], [5000]])
    check.close(student.log_softmax(logits), F.log_softmax(tc.Tensor(logits)).data)
