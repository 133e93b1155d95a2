"""Public tests."""

import numpy as np

import tinycnn as tc
from tinycnn import functional as F


def make(rng, depth, width, std):
    """Return normal weights, an input and a gradient."""
    return (
        [rng.normal(0, std, (width, width)) for _ in range(depth)],
        rng.normal(size=(4, width)),
        rng.normal(size=(4, width)),
    )


def lengths_of(weights, x, grad, activation):
    """Return the gradients' lengths, by tinycnn's engine."""
    inputs, tensor = [], tc.Tensor(x, requires_grad=True)
    for matrix in weights:
        tensor.retain_grad()
        inputs.append(tensor)
        tensor = tc.matmul(tensor, tc.Tensor(matrix.T))
        tensor = F.relu(tensor) if activation == "relu" else tensor
    tensor.backward(grad)
    return np.array([np.linalg.norm(one.grad) for one in inputs])


def zero_after(factor, kind):
    """Return the number of factors in the first product that is 0."""
    return int(np.flatnonzero(np.multiply.accumulate(np.full(2000, factor, kind)) == 0)[0]) + 1


def zero(student, rng, check):
    """After how many factors 1 is 0, in float32 and float16."""
    factor = float(rng.uniform(0.3, 0.49))
    for dtype, kind in (("float32", np.float32), ("float16", np.float16)):
        with check.part():
            check.equal(student.first_zero(factor, dtype), zero_after(factor, kind))
            check.equal(student.first_zero(0.5, dtype), {"float32": 150, "float16": 25}[dtype])


def slope(student, rng, check):
    """The slope that theory predicts."""
    width, std = int(rng.integers(50, 400)), float(rng.uniform(0.01, 0.2))
    with check.part():
        check.close(student.predicted_slope(width, std, "linear"), np.log10(std * width**0.5))
    with check.part():
        wrong = {"a ReLU lets half of the gradient pass": np.log10(std * width**0.5)}
        check.close(student.predicted_slope(width, std, "relu"), np.log10(std * (width / 2) ** 0.5), wrong)


def lengths(student, rng, check):
    """The gradient's length at each layer of a linear net."""
    weights, x, grad = make(rng, 5, 12, 0.2)
    expected = lengths_of(weights, x, grad, "linear")
    check.close(student.gradient_lengths(weights, x, grad, "linear"), expected, {"last layer first": expected[::-1]})


def fit(student, rng, check):
    """The slope of measured lengths."""
    depth, true = int(rng.integers(6, 12)), float(rng.uniform(-0.4, 0.4))
    measured = 3 * 10 ** (true * np.arange(depth, 0, -1)) * np.exp(0.1 * rng.normal(size=depth))
    expected = np.polyfit(np.arange(depth, 0, -1), np.log10(measured), 1)[0]
    wrong = {"the sign: the first length has come the longest way": -expected}
    check.close(student.measured_slope(measured), expected, wrong)


def linear_repair(student, rng, check):
    """A linear net with weights of any size is repaired."""
    compare_repaired(student, rng, check, "linear")


def compare_repaired(student, rng, check, activation):
    """Compare directions, and check that gradients neither shrink nor grow."""
    std = float(rng.uniform(0.01, 0.03))
    weights, x, grad = make(rng, 12, 150, std)
    got = student.repair(weights, activation)
    check.equal([np.shape(weight) for weight in got], [weight.shape for weight in weights], what="the list of shapes")
    for weight, repaired in zip(weights, got):
        factor = float(np.vdot(repaired, weight) / np.vdot(weight, weight))
        check.close(repaired, factor * weight)
    measured = lengths_of(got, x, grad, activation)
    steepness = np.polyfit(np.arange(12), np.log10(measured), 1)[0]
    check.true(abs(steepness) < 0.04, "after the repair gradients still shrink or grow from layer to layer")
