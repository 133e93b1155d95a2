"""Hidden tests."""

from itertools import pairwise

import numpy as np

from tinycnn.assign.testing import beside

public = beside(__file__, "public.py")


def rectified_lengths(student, rng, check):
    """The gradient's length at each layer of a ReLU net, whose layers have different widths."""
    sizes = [int(n) for n in rng.integers(6, 14, 6)]
    weights = [rng.normal(0, 0.4, (o, i)) for i, o in pairwise(sizes)]
    x, grad = rng.normal(size=(3, sizes[0])), rng.normal(size=(3, sizes[-1]))
    expected = public.lengths_of(weights, x, grad, "relu")
    check.close(student.gradient_lengths(weights, x, grad, "relu"), expected)


def rectified_repair(student, rng, check):
    """A ReLU net is repaired."""
    public.compare_repaired(student, rng, check, "relu")


def other_arithmetic(student, rng, check):
    """After how many factors 1 is 0, in float64."""
    factor = float(rng.uniform(0.3, 0.49))
    check.equal(student.first_zero(factor, "float64"), public.zero_after(factor, np.float64))
