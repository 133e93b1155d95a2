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
    if not x.ndim:
        _dims("max", x, dim)
        return MaxResult(MaxAll.apply(x), argmax(x))
    axes = _dims("max", x, dim)
    if axes is None or len(axes) != 1:
        raise ValueError(f"max: dim is {dim!r}, expected one dimension")
    (axis,) = axes
    if not x.shape[axis]:
        raise ValueError(f"max: dimension {dim} of shape {x.shape} is empty")
    indices = x.data.argmax(axis=axis, keepdims=True)
    values = MaxAlong.apply(x, indices=indices, dim=axis, keepdim=keepdim)
    return MaxResult(values, Tensor._of(indices if keepdim else indices.squeeze(axis)))


def argmax(x: Tensor, dim: int | None = None) -> Tensor:
    """Return the index of the first largest element (of the flattened tensor, or along ``dim``); no gradient.

    Raises
    ------
    ValueError
        If there is nothing to take the largest of.
    """
    axes = _dims("argmax", x, dim)
    if axes is not None and len(axes) > 1:
        raise ValueError(f"argmax: dim is {dim!r}, expected one dimension")
    axis = axes[0] if axes else None
    if not (x.size if axis is None else x.shape[axis]):
        raise ValueError(f"argmax: nothing to take the largest of in shape {x.shape}")
    return Tensor._of(as_array(x.data.argmax(axis=axis)))


def _dims(name: str, x: Tensor, dim: Dim) -> tuple[int, ...] | None:
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
