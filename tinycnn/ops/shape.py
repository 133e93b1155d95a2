"""Operations that move elements without changing them. Each backward is the move in reverse."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinycnn.kernels import Kernels, for_device
from tinycnn.tensor import Function, Tensor, plain_index


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
    """x[index]. Backward: each gradient is added where its element came from (an element may be taken many times)."""

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
    """The dimensions, those whose neighbours lie farthest apart first."""
    return tuple(sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis])))


def _new(kernels: Kernels, shape: tuple[int, ...], axes: tuple[int, ...], dtype: Any) -> Any:
    """A new array that lies in memory in this order of dimensions."""
    return kernels.empty(tuple(shape[axis] for axis in axes), dtype).transpose(np.argsort(axes))


def _takes_once(index: Any) -> bool:
    """Whether an index can take no element twice: numbers, slices, None and Ellipsis, but no arrays."""
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


def move(x: Tensor, device: str) -> Tensor:
    """On another device; on its own a tensor that does not require gradients stays out of the graph."""
    return Move.apply(x, device=device)


def reshape(x: Tensor, *shape: Any) -> Tensor:
    """The same elements in another shape; one size may be -1."""
    return Reshape.apply(x, shape=_sizes(shape))


def flatten(x: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Dimensions ``start_dim`` to ``end_dim`` joined into one."""
    start, end = (_dimension("flatten", x, d) for d in (start_dim, end_dim))
    if start > end:
        raise ValueError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim} for shape {x.shape}")
    middle = int(np.prod(x.shape[start : end + 1], dtype=np.int64))
    return Reshape.apply(x, shape=(*x.shape[:start], middle, *x.shape[end + 1 :]))


def transpose(x: Tensor, dim0: int, dim1: int) -> Tensor:
    """Two dimensions swapped."""
    dims = list(range(x.ndim))
    first, second = (_dimension("transpose", x, d) for d in (dim0, dim1))
    dims[first], dims[second] = second, first
    return Permute.apply(x, dims=dims)


def permute(x: Tensor, *dims: Any) -> Tensor:
    """Dimensions in the given order."""
    order = _sizes(dims)
    if sorted(d % x.ndim if -x.ndim <= d < x.ndim else d for d in order) != list(range(x.ndim)):
        raise ValueError(f"permute: dims are {order}, expected each of 0 to {x.ndim - 1} once for shape {x.shape}")
    return Permute.apply(x, dims=[d % x.ndim for d in order])


def broadcast_to(x: Tensor, shape: Sequence[int]) -> Tensor:
    """Repeated to a larger shape, as NumPy broadcasts."""
    return BroadcastTo.apply(x, shape=tuple(shape))


def getitem(x: Tensor, index: Any) -> Tensor:
    """x[index]: integers, slices, None, ..., boolean masks, integer arrays or tensors."""
    return GetItem.apply(x, index=plain_index(index))


def concatenate(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors joined along a dimension they already have."""
    _check_list("concatenate", tensors)
    first = tensors[0] if isinstance(tensors[0], Tensor) else Tensor(tensors[0])
    return Concatenate.apply(*tensors, dim=_dimension("concatenate", first, dim))


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors of one shape joined along a new dimension."""
    _check_list("stack", tensors)
    return Stack.apply(*tensors, dim=dim)


def pad(x: Tensor, pad: Sequence[int], value: float = 0.0) -> Tensor:
    """A border of ``value``: ``pad`` is (left, right, top, bottom, ...), from the last dimension to the first.

    >>> pad(Tensor([[1.0, 2.0]]), (1, 0)).data
    array([[0., 1., 2.]], dtype=float32)
    """
    if len(pad) % 2 or len(pad) > 2 * x.ndim or min(pad, default=0) < 0:
        raise ValueError(
            f"pad: pad is {tuple(pad)}, expected pairs of numbers of at least 0 for at most {x.ndim} dimensions"
        )
    pairs = list(zip(pad[::2], pad[1::2]))
    widths = [(0, 0)] * (x.ndim - len(pairs)) + pairs[::-1]
    return Pad.apply(x, widths=widths, value=value)


def _check_list(name: str, tensors: Any) -> None:
    if isinstance(tensors, (Tensor, np.ndarray)):
        raise TypeError(f"{name}: one array of shape {tensors.shape} came, expected a list or tuple of tensors")
    if not tensors:
        raise ValueError(f"{name}: the list of tensors is empty")


def _dimension(name: str, x: Tensor, dim: int) -> int:
    """``dim`` counted from 0."""
    count = max(x.ndim, 1)
    if not -count <= dim < count:
        raise ValueError(f"{name}: dim is {dim}, expected {-count} to {count - 1} for shape {x.shape}")
    return dim % count


def _sizes(values: tuple) -> tuple[int, ...]:
    """Sizes given one by one or as one sequence."""
    if len(values) == 1 and not isinstance(values[0], (int, np.integer)):
        values = tuple(values[0])
    return tuple(int(v) for v in values)
