"""Comparisons element by element, as booleans. They have no gradient."""

from __future__ import annotations

import numpy as np

from tinycnn.autograd import Function


class Comparison(Function):
    """Base class: a subclass names NumPy's function."""

    compare: np.ufunc

    def forward(self, a, b):
        return self.compare(a, b)


class Equal(Comparison):
    """a == b."""

    compare = np.equal


class NotEqual(Comparison):
    """a != b."""

    compare = np.not_equal


class Less(Comparison):
    """a < b."""

    compare = np.less


class LessEqual(Comparison):
    """a <= b."""

    compare = np.less_equal


class Greater(Comparison):
    """a > b."""

    compare = np.greater


class GreaterEqual(Comparison):
    """a >= b."""

    compare = np.greater_equal
