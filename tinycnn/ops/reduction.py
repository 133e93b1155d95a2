"""Reductions. ``dim`` is a tuple of dimensions counted from 0, or None for all; ``keepdim`` keeps size 1."""

from __future__ import annotations

import numpy as np

from tinycnn.autograd import Function

Dim = int | tuple[int, ...] | None


def _spread(reduced: np.ndarray, shape: tuple[int, ...], dim: Dim) -> np.ndarray:
    """Return a reduced array with its dimensions put back as size 1, so that it broadcasts to ``shape``."""
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
        return np.true_divide(out, self.count, dtype=x.dtype if x.dtype.kind == "f" else None)

    def backward(self, grad):
        return np.broadcast_to(_spread(grad / (self.count or 1), self.shape, self.dim), self.shape)


class Var(Function):
    """The variance: sum of (x - mean)**2 / (n - correction). Backward: grad * 2 (x - mean) / (n - correction)."""

    returns_new = True

    def forward(self, x, dim, correction, keepdim):
        self.dim = dim
        centred = x - x.mean(axis=dim, keepdims=True) if x.size else x.copy()  # NumPy warns of a mean of nothing
        out = (centred * centred).sum(axis=dim, keepdims=keepdim)
        self.divisor = np.maximum((x.size // out.size if out.size else 0) - correction, 0)
        self.save(centred)
        return out / x.dtype.type(self.divisor)

    def backward(self, grad):
        (centred,) = self.saved
        scale = grad.dtype.type(2) / grad.dtype.type(self.divisor)
        return _spread(grad, centred.shape, self.dim) * centred * scale


class MaxAll(Function):
    """The largest of all elements. Backward: the gradient is divided equally among all that are largest."""

    returns_new = True

    def forward(self, x):
        out = x.max()
        self.save(x)
        self.largest = out
        return out

    def backward(self, grad):
        (x,) = self.saved
        hit = (x == self.largest) | (x != x)  # if one is NaN, all NaN are largest
        return np.where(hit, grad / hit.sum(), 0)  # not a product: 0 * inf is NaN


class MaxAlong(Function):
    """The largest along one dimension. Backward: the gradient goes to that element (the first of equals)."""

    returns_new = True

    def forward(self, x, indices, dim, keepdim):
        if not hasattr(indices, "dtype"):
            raise TypeError(f"indices is a {type(indices).__name__}, expected an array of integers")
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
