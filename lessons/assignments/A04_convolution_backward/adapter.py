"""Calls of the student's checks with functions, which cannot be sent from the grader."""

import numpy as np

FUNCTIONS = {
    "cubes": lambda x: (x**3).sum(),
    "one product": lambda x: x.flat[0] * x.flat[-1],
    "logarithm of a sum of exponentials": lambda x: np.log(np.exp(x).sum()),
}


def numeric(student, name, x):
    """Return the numeric gradient of a function by name."""
    before = x.copy()
    gradient = student.numeric_gradient(FUNCTIONS[name], x)
    return gradient, np.array_equal(x, before)


def gap(student, matrix, other, x, y):
    """Return the adjoint gap of two matrices."""
    return float(student.adjoint_gap(lambda v: matrix @ v, lambda v: other @ v, x, y))
