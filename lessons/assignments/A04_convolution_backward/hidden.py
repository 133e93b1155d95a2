"""Hidden tests."""

import numpy as np

from tinycnn import functional as F
from tinycnn.assign.testing import beside

public = beside(__file__, "public.py")


def strided(student, rng, check):
    """The three gradients of a convolution with strides and paddings that differ between rows and columns."""
    for stride, padding in (((2, 1), (1, 2)), ((2, 3), (0, 1))):
        case = public.conv_case(rng, stride, padding, size=(9, 8))
        for which in (0, 1, 2):
            with check.part():
                public.compare_conv(student, check, which, case)


def overlapping(student, rng, check):
    """The gradients of pooling where windows overlap."""
    case = public.pool_case(rng, (3, 3), (2, 1))
    with check.part():
        check.close(student.max_pool2d_backward(*case), public.pool_gradient(F.max_pool2d, *case))
    with check.part():
        check.close(student.avg_pool2d_backward(*case), public.pool_gradient(F.avg_pool2d, *case))


def ties(student, rng, check):
    """The first of several equal largest pixels gets the gradient, and once."""
    grad, x, kernel, stride = public.pool_case(rng, (2, 2), (2, 2), (6, 6))
    x = np.round(x)
    check.close(
        student.max_pool2d_backward(grad, x, kernel, stride),
        public.pool_gradient(F.max_pool2d, grad, x, kernel, stride),
    )


def softly(student, rng, check):
    """Central differences of a function that mixes all elements."""
    x = rng.normal(size=(3, 2, 2))
    got, _ = student.numeric("logarithm of a sum of exponentials", x)
    check.close(got, np.exp(x) / np.exp(x).sum(), tolerance=1e-6)


def adjoint(student, rng, check):
    """The gap is 0 for a matrix and its transpose, and what it should be for another."""
    matrix, other = rng.normal(size=(4, 3)), rng.normal(size=(3, 4))
    x, y = rng.normal(size=3), rng.normal(size=4)
    left, right = y @ matrix @ x, x @ other @ y
    check.close(student.gap(matrix, other, x, y), abs(left - right) / (abs(left) + abs(right)))
    got = student.gap(matrix, matrix.T.copy(), x, y)
    check.true(isinstance(got, float) and abs(got) < 1e-12, "the gap of a matrix and its transpose is not 0")
