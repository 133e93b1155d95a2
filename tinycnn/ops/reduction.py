"""Operations that reduce dimensions. ``dim`` is an int, a tuple of ints, or None for all; ``keepdim`` keeps size 1."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tinycnn.kernels.arrays import as_array
from tinycnn.tensor import Function, Tensor

Dim = int | tuple[int, ...] | None


def _spread(reduced: np.ndarray, shape: tuple[int, ...], dim: Dim) -> np.ndarray:
    """A reduced array with its dimensions put back as size 1, so that it broadcasts to ``shape``."""
    dims = range(len(shape)) if dim is None else np.atleast_1d(dim)
    gone = {int(d) % len(shape) for d in dims} if shape else set()
    return reduced.reshape([1 if i in gone else n for i, n in enumerate(shape)])


class Sum(Function):
    """The sum. Backward: the gradient, repeated."""

    def forward(self, x, dim, keepdim):
        self.shape, self.dim = x.shape, dim
        return x.sum(axis=dim, keepdims=keepdim)

    def backward(self, grad):
        return np.broadcast_to(_spread(grad, self.shape, self.dim), self.shape)


class Mean(Function):
    """The mean of n elements; NaN for none. Backward: the gradient / n, repeated."""

    def forward(self, x, dim, keepdim):
        self.shape, self.dim = x.shape, dim
        out = x.sum(axis=dim, keepdims=keepdim)
        self.count = x.size // out.size if out.size else 1
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.true_divide(out, self.count, dtype=x.dtype if x.dtype.kind == "f" else None)

    def backward(self, grad):
        return np.broadcast_to(_spread(grad / (self.count or 1), self.shape, self.dim), self.shape)


class Var(Function):
    """The variance: sum of (x - mean)**2 / (n - correction). Backward: grad * 2 (x - mean) / (n - correction)."""

    returns_new = True

    def forward(self, x, dim, correction, keepdim):
        self.dim = dim
        centred = x - x.mean(axis=dim, keepdims=True)
        out = (centred * centred).sum(axis=dim, keepdims=keepdim)
        self.divisor = np.maximum((x.size // out.size if out.size else 0) - correction, 0)
        self.save(centred)
        with np.errstate(divide="ignore", invalid="ignore"):
            return out / x.dtype.type(self.divisor)

    def backward(self, grad):
        (centred,) = self.saved
        with np.errstate(divide="ignore", invalid="ignore"):
            scale = grad.dtype.type(2) / grad.dtype.type(self.divisor)
            return _spread(grad, centred.shape, self.dim) * centred * scale


class MaxAll(Function):
    """The largest of all elements. Backward: shared equally by all that are largest."""

    returns_new = True

    def forward(self, x):
        out = x.max()
        self.save(x)
        self.largest = out
        return out

    def backward(self, grad):
        (x,) = self.saved
        hit = (x == self.largest) | (x != x)  # if one is NaN, all NaN are largest
        return grad * hit / hit.sum()


class MaxAlong(Function):
    """The largest along one dimension. Backward: to the element that was taken (the first of equals)."""

    returns_new = True

    def forward(self, x, indices, dim, keepdim):
        self.shape, self.dim = x.shape, dim
        self.save(indices)
        out = np.take_along_axis(x, indices, dim)
        return out if keepdim else out.squeeze(dim)

    def backward(self, grad):
        (indices,) = self.saved
        out = self.kernels.empty(self.shape, grad.dtype)
        out.fill(0)
        np.put_along_axis(out, indices, grad.reshape(indices.shape), self.dim)
        return out


class MaxResult(NamedTuple):
    """The largest values along a dimension, and where they were."""

    values: Tensor
    indices: Tensor


def sum(x: Tensor, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """The sum over ``dim``."""
    return Sum.apply(x, dim=_dims("sum", x, dim), keepdim=keepdim)


def mean(x: Tensor, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """The mean over ``dim``; NaN over no elements."""
    return Mean.apply(x, dim=_dims("mean", x, dim), keepdim=keepdim)


def var(x: Tensor, dim: Dim = None, correction: int = 1, keepdim: bool = False) -> Tensor:
    """The variance over ``dim``, divided by n - ``correction`` (1: unbiased, 0: of the population)."""
    return Var.apply(x, dim=_dims("var", x, dim), correction=correction, keepdim=keepdim)


def max(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor | MaxResult:
    """The largest element, or along ``dim`` the pair (values, indices).

    NaN counts as largest. Over all elements the gradient is shared by equals; along a dimension it goes to the index
    that is returned.

    Raises
    ------
    ValueError
        If there is nothing to take the largest of.
    """
    if dim is None:
        if not x.size:
            raise ValueError(f"max: the tensor has no elements, shape {x.shape}")
        return MaxAll.apply(x)
    (axis,) = _dims("max", x, dim)  # type: ignore[misc]
    if not x.shape[axis]:
        raise ValueError(f"max: dimension {dim} of shape {x.shape} is empty")
    indices = x.data.argmax(axis=axis, keepdims=True)
    values = MaxAlong.apply(x, indices=indices, dim=axis, keepdim=keepdim)
    return MaxResult(values, Tensor._of(indices if keepdim else indices.squeeze(axis)))


def argmax(x: Tensor, dim: int | None = None) -> Tensor:
    """The index of the first largest element (of the flattened tensor, or along ``dim``); no gradient."""
    return Tensor._of(as_array(x.data.argmax(axis=dim)))


def _dims(name: str, x: Tensor, dim: Dim) -> tuple[int, ...] | None:
    """``dim`` as a tuple of non-negative numbers."""
    if dim is None:
        return None
    dims = dim if isinstance(dim, tuple) else (dim,)
    for d in dims:
        if not -x.ndim <= d < x.ndim:
            raise ValueError(f"{name}: dim is {d}, expected {-x.ndim} to {x.ndim - 1} for shape {x.shape}")
    return tuple(d % x.ndim for d in dims)
