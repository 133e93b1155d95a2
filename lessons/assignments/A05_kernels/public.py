"""Public tests: expected values are those of tinycnn's own operations."""

import numpy as np

import tinycnn as tc
from tinycnn import functional as F


def logits_of(rng, rows=4, classes=5, scale=1.0, dtype=np.float64):
    """Return logits and labels."""
    return (scale * rng.normal(size=(rows, classes))).astype(dtype), rng.integers(classes, size=rows)


def loss_and_gradient(logits, labels):
    """Return the mean cross-entropy and its gradient."""
    leaf = tc.Tensor(logits, requires_grad=True)
    loss = F.cross_entropy(leaf, labels)
    loss.backward()
    return loss.item(), leaf.grad


def rectify(student, rng, check):
    """ReLU, with zeros and NaN among its inputs."""
    x = rng.normal(size=20)
    x[3] = 0.0
    check.close(student.fill("relu", x), np.maximum(x, 0))
    x[5] = np.nan
    check.true(np.isnan(student.fill("relu", x)[5]), "relu makes a number of NaN", "a comparison with NaN is false")


def rectify_backward(student, rng, check):
    """The gradient of ReLU; at 0 it is 0."""
    grad, x = rng.normal(size=(2, 20))
    x[2] = x[7] = 0.0
    wrong = {"the slope at 0 is taken for 1: x > 0, not x >= 0": grad * (x >= 0), "grad is missing": 1.0 * (x > 0)}
    check.close(student.fill("relu_backward", grad, x), grad * (x > 0), wrong)


def drop(student, rng, check):
    """Dropout: what stays is scaled."""
    x, noise, p = rng.normal(size=40), rng.uniform(size=40), float(rng.uniform(0.2, 0.6))
    kept = noise >= p
    wrong = {
        "what stays is not scaled": kept * x,
        "scaled by 1 / p, not 1 / (1 - p)": kept * x / p,
        "kept what should be dropped": ~kept * x / (1 - p),
    }
    check.close(student.fill("dropout", x, noise, p), kept * x / (1 - p), wrong)


def probabilities(student, rng, check):
    """Softmax of rows."""
    x, _ = logits_of(rng)
    wrong = {
        "the sum runs over all rows": np.exp(x) / np.exp(x).sum(),
        "along the wrong axis": np.exp(x) / np.exp(x).sum(0),
    }
    check.close(student.fill("softmax", x), F.softmax(tc.Tensor(x)).data, wrong)


def loss(student, rng, check):
    """The mean cross-entropy."""
    logits, labels = logits_of(rng)
    expected, _ = loss_and_gradient(logits, labels)
    wrong = {"a sum where a mean over rows is wanted": len(logits) * expected, "the sign is wrong": -expected}
    check.close(student.number("cross_entropy", logits, labels), expected, wrong)


def loss_backward(student, rng, check):
    """The gradient of the mean cross-entropy."""
    logits, labels = logits_of(rng)
    check.close(student.fill("cross_entropy_backward", logits, labels), loss_and_gradient(logits, labels)[1])
