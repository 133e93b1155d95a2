"""Arithmetic and functions of each element, with broadcasting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tinycnn.ops import elementwise
from tinycnn.tensor_methods.facts import Facts

if TYPE_CHECKING:
    from tinycnn.tensor import Tensor


class Arithmetic(Facts):
    """Operators on tensors, arrays and numbers."""

    __slots__ = ()

    def __add__(self, other: Any) -> Tensor:
        return elementwise.Add.apply(self, other)

    def __radd__(self, other: Any) -> Tensor:
        return elementwise.Add.apply(self, other)

    def __sub__(self, other: Any) -> Tensor:
        return elementwise.Sub.apply(self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return elementwise.Sub.apply(other, self)

    def __mul__(self, other: Any) -> Tensor:
        return elementwise.Mul.apply(self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return elementwise.Mul.apply(self, other)

    def __truediv__(self, other: Any) -> Tensor:
        return elementwise.Div.apply(self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return elementwise.Div.apply(other, self)

    def __pow__(self, other: Any) -> Tensor:
        return elementwise.Pow.apply(self, other)

    def __rpow__(self, other: Any) -> Tensor:
        return elementwise.Pow.apply(other, self)

    def __neg__(self) -> Tensor:
        return elementwise.Neg.apply(self)

    def __abs__(self) -> Tensor:
        return elementwise.Abs.apply(self)

    def add(self, other: Any) -> Tensor:
        """Return self + other."""
        return elementwise.Add.apply(self, other)

    def sub(self, other: Any) -> Tensor:
        """Return self - other."""
        return elementwise.Sub.apply(self, other)

    def mul(self, other: Any) -> Tensor:
        """Return self * other."""
        return elementwise.Mul.apply(self, other)

    def div(self, other: Any) -> Tensor:
        """Return self / other. Division by 0 gives inf or NaN; integers divide to float32."""
        return elementwise.Div.apply(self, other)

    def pow(self, exponent: Any) -> Tensor:
        """Return self ** exponent; the exponent is a number or a tensor."""
        return elementwise.Pow.apply(self, exponent)

    def neg(self) -> Tensor:
        """Return -self."""
        return elementwise.Neg.apply(self)

    def exp(self) -> Tensor:
        """Return e**self."""
        return elementwise.Exp.apply(self)

    def log(self) -> Tensor:
        """Return the natural logarithm: -inf at 0, NaN below."""
        return elementwise.Log.apply(self)

    def sqrt(self) -> Tensor:
        """Return the square root: NaN below 0."""
        return elementwise.Sqrt.apply(self)

    def abs(self) -> Tensor:
        """Return |self|; the gradient at 0 is 0."""
        return elementwise.Abs.apply(self)

    def maximum(self, other: Any) -> Tensor:
        """Return the larger of two, element by element; see :func:`tinycnn.maximum`."""
        return elementwise.Maximum.apply(self, other)

    def clip(self, min: float | None = None, max: float | None = None) -> Tensor:
        """Return the elements held between ``min`` and ``max`` (None: no bound).

        The gradient passes inside and on the bounds.

        Raises
        ------
        ValueError
            If neither bound is given.
        """
        if min is None and max is None:
            raise ValueError("clip: min and max are both None, expected at least one bound")
        return elementwise.Clip.apply(self, low=min, high=max)
