"""Reductions over some or all dimensions."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tinycnn.kernels.arrays import as_array
from tinycnn.ops.reduction import MaxAll, MaxAlong, Mean, Sum, Var
from tinycnn.tensor_methods.facts import Facts

if TYPE_CHECKING:
    from tinycnn.tensor import Tensor

Dim = int | tuple[int, ...] | None


class MaxResult(NamedTuple):
    """The largest values along a dimension, and their indices."""

    values: Tensor
    indices: Tensor


class Reduction(Facts):
    """Sums, means and maxima. ``dim`` is a dimension, a tuple of them, or None for all; ``keepdim`` keeps size 1."""

    __slots__ = ()

    def sum(self, dim: Dim = None, keepdim: bool = False) -> Tensor:
        """Return the sum over ``dim``."""
        return Sum.apply(self, dim=_dims("sum", self, dim), keepdim=keepdim)

    def mean(self, dim: Dim = None, keepdim: bool = False) -> Tensor:
        """Return the mean over ``dim``; NaN over no elements."""
        return Mean.apply(self, dim=_dims("mean", self, dim), keepdim=keepdim)

    def var(self, dim: Dim = None, correction: int = 1, keepdim: bool = False) -> Tensor:
        """Return the variance over ``dim``, divided by n - ``correction`` (1: unbiased, 0: of the population)."""
        return Var.apply(self, dim=_dims("var", self, dim), correction=correction, keepdim=keepdim)

    def max(self, dim: int | None = None, keepdim: bool = False) -> Tensor | MaxResult:
        """Return the largest element, or along ``dim`` the pair (values, indices).

        NaN is largest. Over all elements the gradient is divided among equals; along a dimension it goes to the index
        that is returned.

        Raises
        ------
        ValueError
            If there is nothing to take the largest of.
        """
        if dim is None:
            if not self.size:
                raise ValueError(f"max: the tensor has no elements, shape {self.shape}")
            return MaxAll.apply(self)
        if not self.ndim:
            _dims("max", self, dim)
            return MaxResult(MaxAll.apply(self), self.argmax())
        axes = _dims("max", self, dim)
        if axes is None or len(axes) != 1:
            raise ValueError(f"max: dim is {dim!r}, expected one dimension")
        (axis,) = axes
        if not self.shape[axis]:
            raise ValueError(f"max: dimension {dim} of shape {self.shape} is empty")
        indices = self.data.argmax(axis=axis, keepdims=True)
        values = MaxAlong.apply(self, indices=indices, dim=axis, keepdim=keepdim)
        return MaxResult(values, self.wrap(indices if keepdim else indices.squeeze(axis)))

    def argmax(self, dim: int | None = None) -> Tensor:
        """Return the index of the first largest element (of the flattened tensor, or along ``dim``); no gradient.

        Raises
        ------
        ValueError
            If there is nothing to take the largest of.
        """
        axes = _dims("argmax", self, dim)
        if axes is not None and len(axes) > 1:
            raise ValueError(f"argmax: dim is {dim!r}, expected one dimension")
        axis = axes[0] if axes else None
        if not (self.size if axis is None else self.shape[axis]):
            raise ValueError(f"argmax: nothing to take the largest of in shape {self.shape}")
        return self.wrap(as_array(self.data.argmax(axis=axis)))


def _dims(name: str, x: Facts, dim: Dim) -> tuple[int, ...] | None:
    """Return ``dim`` as a tuple of non-negative numbers; None, all dimensions, for an empty tuple.

    As in PyTorch a tensor without dimensions has the dimensions 0 and -1, over which nothing is reduced.
    """
    dims = tuple(dim) if isinstance(dim, (tuple, list)) else (dim,)
    if dim is None or not dims:
        return None
    count = x.ndim or 1
    for d in dims:
        if not isinstance(d, (int, np.integer)) or isinstance(d, bool):
            raise TypeError(f"{name}: dim is {dim!r}, expected an integer or a tuple of integers")
        if not -count <= d < count:
            raise ValueError(f"{name}: dim is {d}, expected {-count} to {count - 1} for shape {x.shape}")
    found = tuple(int(d) % count for d in dims)  # type: ignore[arg-type]
    if len(set(found)) < len(found):
        raise ValueError(f"{name}: dim is {dim!r}, expected each dimension once")
    return found if x.ndim else ()
