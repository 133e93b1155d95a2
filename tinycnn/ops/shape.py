"""Operations that move elements without changing them. Each backward is the move in reverse."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinycnn.autograd import Function
from tinycnn.kernels import Kernels, for_device


class Reshape(Function):
    """The same elements in another shape."""

    returns_grad = True

    def forward(self, x, shape):
        self.shape = x.shape
        return x.reshape(shape)

    def backward(self, grad):
        return grad.reshape(self.shape)


class Permute(Function):
    """Dimensions in another order."""

    returns_grad = True

    def forward(self, x, dims):
        self.inverse = np.argsort(dims)
        return x.transpose(dims)

    def backward(self, grad):
        return grad.transpose(self.inverse)


class BroadcastTo(Function):
    """Repeated along dimensions of size 1. Backward: the engine sums over the repeats."""

    returns_grad = True

    def forward(self, x, shape):
        return np.broadcast_to(x, shape)

    def backward(self, grad):
        return grad


class GetItem(Function):
    """x[index]. Backward: each gradient is added to the element that it belongs to (one element may be taken many
    times).
    """

    returns_new = True

    def forward(self, x, index):
        self.shape, self.index, self.axes = x.shape, index, _axes_in_memory(x)
        chosen = x[index]
        if chosen.ndim < 4:
            return chosen.copy(order="K")
        out = _new(self.kernels, chosen.shape, _axes_in_memory(chosen), x.dtype)
        self.kernels.assign(out, chosen)
        return out

    def backward(self, grad):
        out = _new(self.kernels, self.shape, self.axes, grad.dtype)
        out.fill(0)
        if grad.ndim == 4 and _takes_once(self.index):
            self.kernels.assign(out[self.index], grad)
        elif _takes_once(self.index):
            out[self.index] = grad
        else:
            np.add.at(out, self.index, grad)
        return out


def _axes_in_memory(array: np.ndarray) -> tuple[int, ...]:
    """Return the dimensions ordered by stride, the largest first."""
    return tuple(sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis])))


def _new(kernels: Kernels, shape: tuple[int, ...], axes: tuple[int, ...], dtype: Any) -> Any:
    """Return a new array whose memory has this order of dimensions."""
    return kernels.empty(tuple(shape[axis] for axis in axes), dtype).transpose(np.argsort(axes))


def _takes_once(index: Any) -> bool:
    """True if an index takes no element twice: numbers, slices, None and Ellipsis, but no arrays."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(part is None or part is Ellipsis or isinstance(part, (int, np.integer, slice)) for part in parts)


class Concatenate(Function):
    """Joined along a dimension. Backward: cut apart again."""

    def forward(self, *arrays, dim):
        self.dim = dim
        self.cuts = np.cumsum([a.shape[dim] for a in arrays])[:-1]
        channels = arrays[0].ndim == 4 and dim in (1, -3) and len({a.dtype for a in arrays}) == 1
        return self.kernels.join_channels(arrays) if channels else np.concatenate(arrays, axis=dim)

    def backward(self, grad):
        return tuple(np.split(grad, self.cuts, axis=self.dim))


class Stack(Function):
    """Joined along a new dimension."""

    def forward(self, *arrays, dim):
        self.dim = dim
        return np.stack(arrays, axis=dim)

    def backward(self, grad):
        return tuple(np.moveaxis(grad, self.dim, 0))


class Pad(Function):
    """A border of one value around the array. Backward: the border is cut off."""

    def forward(self, x, widths, value):
        self.inner = tuple(slice(before, before + n) for (before, _), n in zip(widths, x.shape))
        shape = tuple(before + n + after for (before, after), n in zip(widths, x.shape))
        out = _new(self.kernels, shape, _axes_in_memory(x), x.dtype)
        out.fill(value)
        self.kernels.assign(out[self.inner], x)
        return out

    def backward(self, grad):
        return grad[self.inner]


class Move(Function):
    """The same numbers on another device. Backward: the gradient moves back."""

    returns_grad = True

    def forward(self, x, device):
        self.device = x.device
        return for_device(device).as_array(x)

    def backward(self, grad):
        return for_device(self.device).as_array(grad)
