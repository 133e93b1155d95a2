"""Matrix products."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tinycnn.ops.matmul import MatMul
from tinycnn.tensor_methods.shape import Shape

if TYPE_CHECKING:
    from tinycnn.tensor import Tensor


class Products(Shape):
    """The operator ``@`` and its method."""

    __slots__ = ()

    def __matmul__(self, other: Any) -> Tensor:
        return _product(self, self._factor(other))

    def __rmatmul__(self, other: Any) -> Tensor:
        return _product(self._factor(other), self)

    def matmul(self, other: Any) -> Tensor:
        """Return self @ other, batched and broadcast over leading dimensions; vectors as in NumPy's ``@``.

        Raises
        ------
        ValueError
            If the inner sizes differ or a factor is a scalar.
        TypeError
            If the dtypes differ.
        """
        return _product(self, self._factor(other))

    def _factor(self, value: Any) -> Products:
        """Return a factor as a tensor; one without a dtype of its own, such as a list, takes this tensor's."""
        if isinstance(value, Products):
            return value
        return self._constant(value, None if hasattr(value, "dtype") else self.dtype)


def _product(a: Products, b: Products) -> Tensor:
    if a.dtype != b.dtype:
        raise TypeError(f"matmul: the factors have dtypes {a.dtype} and {b.dtype}; convert one of them")
    if not a.ndim or not b.ndim or a.shape[-1] != b.shape[max(b.ndim - 2, 0)]:
        raise ValueError(f"matmul: shapes {a.shape} and {b.shape} do not fit: the inner sizes must be equal")
    left, right = a.reshape(1, -1) if a.ndim == 1 else a, b.reshape(-1, 1) if b.ndim == 1 else b
    out = MatMul.apply(left, right)
    if a.ndim == 1:
        out = out.reshape(*out.shape[:-2], out.shape[-1])
    return out.reshape(out.shape[:-1]) if b.ndim == 1 else out
