"""Methods that move elements without changing them."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinycnn.ops.shape import BroadcastTo, GetItem, Permute, Reshape
from tinycnn.tensor_methods.facts import Facts

if TYPE_CHECKING:
    from tinycnn.tensor import Tensor


class Shape(Facts):
    """Reshaping, transposing and indexing."""

    __slots__ = ()

    def __getitem__(self, index: Any) -> Tensor:
        return GetItem.apply(self, index=plain_index(index))

    def reshape(self, *shape: Any) -> Tensor:
        """Return the same elements in another shape; one size may be -1."""
        return Reshape.apply(self, shape=_sizes("reshape", shape))

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        """Return the tensor with the dimensions ``start_dim`` to ``end_dim`` joined into one."""
        start, end = (dimension("flatten", self, d) for d in (start_dim, end_dim))
        if start > end:
            raise ValueError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim} for shape {self.shape}")
        middle = int(np.prod(self.shape[start : end + 1], dtype=np.int64))
        return Reshape.apply(self, shape=(*self.shape[:start], middle, *self.shape[end + 1 :]))

    def transpose(self, dim0: int, dim1: int) -> Tensor:
        """Return the tensor with two dimensions swapped."""
        dims = list(range(self.ndim))
        first, second = (dimension("transpose", self, d) for d in (dim0, dim1))
        dims[first], dims[second] = second, first
        return Permute.apply(self, dims=dims)

    def permute(self, *dims: Any) -> Tensor:
        """Return the tensor with its dimensions in the given order."""
        order, count = _sizes("permute", dims), self.ndim
        if sorted(d % count if -count <= d < count else d for d in order) != list(range(count)):
            raise ValueError(
                f"permute: dims are {order}, expected each of 0 to {count - 1} once for shape {self.shape}"
            )
        return Permute.apply(self, dims=[d % count for d in order])

    @property
    def T(self) -> Tensor:
        """The tensor with its dimensions in reverse order."""
        return self.permute(*reversed(range(self.ndim)))

    def broadcast_to(self, shape: Sequence[int]) -> Tensor:
        """Return the tensor repeated to a larger shape, as NumPy broadcasts."""
        return BroadcastTo.apply(self, shape=_sizes("broadcast_to", (shape,)))


def dimension(name: str, x: Facts, dim: int) -> int:
    """Return ``dim`` counted from 0.

    Raises
    ------
    TypeError
        If it is not an integer.
    ValueError
        If ``x`` has no such dimension.
    """
    count = max(x.ndim, 1)
    if not isinstance(dim, (int, np.integer)) or isinstance(dim, bool):
        raise TypeError(f"{name}: dim is {dim!r}, expected an integer")
    if not -count <= dim < count:
        raise ValueError(f"{name}: dim is {dim}, expected {-count} to {count - 1} for shape {x.shape}")
    return int(dim) % count


def plain_index(index: Any) -> Any:
    """Return an index with new arrays in place of tensors, arrays and lists, which the caller may change later.

    >>> plain_index((slice(2), [1, 0]))
    (slice(None, 2, None), array([1, 0]))
    """
    if isinstance(index, tuple):
        return tuple(plain_index(part) for part in index)
    if isinstance(index, list):
        return np.array(index, None if index else np.intp)
    return index.data.copy() if isinstance(index, Facts) else index.copy() if isinstance(index, np.ndarray) else index


def _sizes(name: str, values: tuple) -> tuple[int, ...]:
    """Return integers that were given one by one or as one sequence."""
    try:
        one_by_one = len(values) != 1 or isinstance(values[0], (int, np.integer))
        return tuple(operator.index(value) for value in (values if one_by_one else values[0]))
    except TypeError:
        raise TypeError(f"{name}: {', '.join(map(repr, values))} came, expected integers") from None
