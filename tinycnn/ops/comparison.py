"""Comparisons element by element, as booleans. They have no gradient."""

from __future__ import annotations

from typing import Any

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


class Ordering(Comparison):
    """Base class of the comparisons that need an order, which complex numbers do not have."""

    def forward(self, a, b):
        if _is_complex(a) or _is_complex(b):
            raise TypeError("complex numbers have no order")
        return self.compare(a, b)


def _is_complex(value: Any) -> bool:
    return isinstance(value, complex) or (hasattr(value, "dtype") and value.dtype.kind == "c")


class Less(Ordering):
    """a < b."""

    compare = np.less


class LessEqual(Ordering):
    """a <= b."""

    compare = np.less_equal


class Greater(Ordering):
    """a > b."""

    compare = np.greater


class GreaterEqual(Ordering):
    """a >= b."""

    compare = np.greater_equal
