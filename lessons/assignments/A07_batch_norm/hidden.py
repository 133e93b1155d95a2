"""Hidden tests."""

import numpy as np

from tinycnn.assign.testing import beside, numeric_gradient

public = beside(__file__, "public.py")


def other_settings(student, rng, check):
    """Training with another momentum, another eps, and very small values."""
    x, *rest = public.case(rng, (3, 2, 2, 4))
    arguments = (1e-2 * x, *rest)
    public.compare_train(check, student.train(*arguments, 0.3, 1e-2), arguments, 0.3, 1e-2)


def many_batches(student, rng, check):
    """Running statistics after three batches."""
    x, gamma, beta, mean, var = public.case(rng)
    right = mean, var
    for _ in range(3):
        x = rng.normal(1, 3, x.shape)
        _, mean, var = student.train(x, gamma, beta, mean, var)
        _, *right = public.norm(x, gamma, beta, *right, True)
    check.close(mean, right[0])
    check.close(var, right[1])


def differences(student, rng, check):
    """The gradient of the input agrees with finite differences of the forward pass, for a large eps, too."""
    x, gamma, beta, *_ = public.case(rng, (2, 2, 2, 2))
    grad = rng.normal(size=x.shape)
    dx, _, _ = student.backward(grad, x, gamma, 0.5)

    def loss(moved):
        return (grad * public.norm(moved, gamma, beta, np.zeros(2), np.ones(2), True, eps=0.5)[0]).sum()

    check.close(dx, numeric_gradient(loss, x), tolerance=1e-6)


def shift(student, rng, check):
    """A constant gradient moves nothing: the batch's mean takes it out; and gamma scales the rest."""
    x, gamma, *_ = public.case(rng)
    dx, dgamma, dbeta = student.backward(np.ones_like(x), x, gamma)
    check.close(dbeta, np.full(len(gamma), x.size // len(gamma), float))
    check.true(np.abs(dx).max() < 1e-10, "a constant gradient reaches the input", "the mean's share is missing")
    check.true(np.abs(dgamma).max() < 1e-10, "a constant gradient reaches gamma")


def folded_otherwise(student, rng, check):
    """Folding with another eps."""
    x, *_ = public.case(rng)
    weight, bias = rng.normal(size=(2, 3, 1, 1)), rng.normal(size=2)
    _, *statistics = public.case(rng, (2, 2, 3, 3))
    public.compare_folded(student, check, x, weight, bias, statistics, 0.3)
