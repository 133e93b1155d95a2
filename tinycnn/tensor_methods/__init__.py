"""Operators and methods of :class:`tinycnn.Tensor`, a file a family: each checks arguments and applies an operation."""

from tinycnn.tensor_methods.arithmetic import Arithmetic
from tinycnn.tensor_methods.comparison import Comparison
from tinycnn.tensor_methods.conversion import Conversion
from tinycnn.tensor_methods.products import Products
from tinycnn.tensor_methods.reduction import MaxResult, Reduction

__all__ = ["Arithmetic", "Comparison", "Conversion", "MaxResult", "Products", "Reduction"]


def __dir__() -> list[str]:
    return __all__
