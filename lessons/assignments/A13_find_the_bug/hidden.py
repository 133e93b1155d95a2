"""Hidden tests."""

import numpy as np

import tinycnn as tc
from tinycnn import functional as F


def batch_norm(student, rng, check):
    """batch_norm: the output and the running statistics, in training and in evaluation."""
    x, gamma, beta = rng.normal(3, 2, (4, 3, 2, 5)), *rng.normal(size=(2, 3))
    mean, var = rng.normal(size=3), rng.uniform(0.5, 2, 3)
    out, after = student.batch_norm(x, gamma, beta, (mean, var), True)
    check.close(out, F.batch_norm(tc.Tensor(x), None, None, tc.Tensor(gamma), tc.Tensor(beta), True).data)
    check.close(after[0], 0.9 * mean + 0.1 * x.mean(axis=(0, 2, 3)))
    check.close(after[1], 0.9 * var + 0.1 * x.var(axis=(0, 2, 3)))
    out, after = student.batch_norm(x, gamma, beta, (mean, var), False)
    check.close(out, F.batch_norm(tc.Tensor(x), mean, var, tc.Tensor(gamma), tc.Tensor(beta)).data)
    check.close(after[0], mean)


def momentum_step(student, rng, check):
    """momentum_step: two steps with momentum."""
    weight, one, two = rng.normal(size=(3, 4))
    velocity, right, lr, momentum = np.zeros(4), weight, float(rng.uniform(0.1, 0.5)), 0.9
    pace = np.zeros(4)
    for grad in (one, two):
        weight, velocity = student.momentum_step(weight, grad, velocity, lr, momentum)
        pace = momentum * pace + grad
        right = right - lr * pace
    check.close(weight, right, {"the learning rate counts twice": lambda: right + lr * pace - lr * lr * pace})


def cosine_rate(student, rng, check):
    """cosine_rate: up for the warm-up, then down a cosine to 0."""
    steps, warmup, lr = int(rng.integers(40, 80)), int(rng.integers(5, 15)), float(rng.uniform(0.1, 1))
    check.close(student.cosine_rate(0, steps, lr, warmup), lr / warmup)
    check.close(student.cosine_rate(warmup, steps, lr, warmup), lr)
    middle = student.cosine_rate(warmup + 10, steps, lr, warmup)
    check.close(middle, lr * (1 + np.cos(np.pi * 10 / (steps - warmup))) / 2)
    check.true(abs(student.cosine_rate(steps, steps, lr, warmup)) < 1e-9, "the rate does not end at 0")


def clip_by_norm(student, rng, check):
    """clip_by_norm: the direction of all gradients together stays."""
    grads = [rng.normal(size=(3, 4)), 0.1 * rng.normal(size=5)]
    length = float(np.sqrt(sum((grad**2).sum() for grad in grads)))
    for most, factor in ((length / 2, 0.5), (2 * length, 1.0)):
        got = student.clip_by_norm([grad.copy() for grad in grads], most)
        for one, grad in zip(got, grads, strict=True):
            check.close(one, factor * grad)
