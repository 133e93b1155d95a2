"""Functions of tensors that are not methods of one: joining, choosing, padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinycnn import arguments
from tinycnn.ops.elementwise import Maximum, Where
from tinycnn.ops.shape import BroadcastTo, Concatenate, Pad, Stack
from tinycnn.tensor import Tensor
from tinycnn.tensor_methods.shape import dimension

__all__ = ["broadcast_to", "concatenate", "matmul", "maximum", "pad", "stack", "where"]


def maximum(a: Any, b: Any) -> Tensor:
    """Return the larger of two, element by element; where equal, each gets half of the gradient.

    >>> a, b = Tensor([1.0, 2.0], requires_grad=True), Tensor([1.0, 5.0], requires_grad=True)
    >>> maximum(a, b).sum().backward()
    >>> a.grad.tolist(), b.grad.tolist()
    ([0.5, 0.0], [0.5, 1.0])
    """
    return Maximum.apply(a, b)


def where(condition: Any, a: Any, b: Any) -> Tensor:
    """Return elements of ``a`` where the condition (booleans) holds, of ``b`` elsewhere.

    Raises
    ------
    TypeError
        If the condition is not made of booleans.
    """
    dtype = condition.dtype if isinstance(condition, Tensor) else np.asarray(condition).dtype
    if dtype != np.bool_:
        raise TypeError(f"where: the condition has dtype {dtype}, expected bool; compare first, such as x > 0")
    return Where.apply(condition, a, b)


def matmul(a: Any, b: Any) -> Tensor:
    """Return the matrix product, batched and broadcast over leading dimensions; vectors as in NumPy's ``@``.

    Raises
    ------
    ValueError
        If the inner sizes differ or a factor is a scalar.
    TypeError
        If the dtypes differ.
    """
    if isinstance(b, Tensor) and not isinstance(a, Tensor):
        return b.__rmatmul__(a)
    return (a if isinstance(a, Tensor) else Tensor(a)).matmul(b)


def broadcast_to(x: Tensor, shape: Sequence[int]) -> Tensor:
    """Return a tensor repeated to a larger shape, as NumPy broadcasts."""
    sizes = shape if isinstance(shape, (tuple, list)) else (None,)
    if not all(map(_is_size, sizes)):
        raise TypeError(f"broadcast_to: shape is {shape!r}, expected a tuple of sizes")
    return BroadcastTo.apply(x, shape=tuple(sizes))


def concatenate(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Return tensors joined along a dimension that they already have.

    Raises
    ------
    TypeError, ValueError
        If ``tensors`` is a single tensor or empty, or the shapes do not fit.
    """
    _check_list("concatenate", tensors)
    first = tensors[0] if isinstance(tensors[0], Tensor) else Tensor(tensors[0])
    return Concatenate.apply(*tensors, dim=dimension("concatenate", first, dim))


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Return tensors of one shape joined along a new dimension.

    Raises
    ------
    TypeError, ValueError
        If ``tensors`` is a single tensor or empty, or the shapes differ.
    """
    _check_list("stack", tensors)
    first = tensors[0] if isinstance(tensors[0], Tensor) else Tensor(tensors[0])
    if not isinstance(dim, (int, np.integer)) or not -first.ndim - 1 <= dim <= first.ndim:
        raise ValueError(f"stack: dim is {dim!r}, expected {-first.ndim - 1} to {first.ndim} for shape {first.shape}")
    return Stack.apply(*tensors, dim=int(dim))


def pad(x: Tensor, pad: Sequence[int], value: float = 0.0) -> Tensor:
    """Add a border of ``value``: ``pad`` is (left, right, top, bottom, ...), from the last dimension to the first.

    >>> pad(Tensor([[1.0, 2.0]]), (1, 0)).data
    array([[0., 1., 2.]], dtype=float32)
    """
    x = x if isinstance(x, Tensor) else Tensor(x)
    sizes = pad if isinstance(pad, (tuple, list)) else ()
    if sizes is not pad or len(pad) % 2 or len(pad) > 2 * x.ndim or not all(map(_is_size, pad)):
        raise ValueError(
            f"pad: pad is {pad!r}, expected pairs of numbers of at least 0 for at most {x.ndim} dimensions"
        )
    pairs = list(zip(pad[::2], pad[1::2]))
    widths = [(0, 0)] * (x.ndim - len(pairs)) + pairs[::-1]
    return Pad.apply(x, widths=widths, value=arguments.number("pad", "value", value))


def _is_size(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and bool(0 <= value < 2**31)


def _check_list(name: str, tensors: Any) -> None:
    if isinstance(tensors, (Tensor, np.ndarray)):
        raise TypeError(f"{name}: one array of shape {tensors.shape} came, expected a list or tuple of tensors")
    if not isinstance(tensors, (tuple, list)):
        raise TypeError(f"{name}: tensors is a {type(tensors).__name__}, expected a list or tuple of tensors")
    if not tensors:
        raise ValueError(f"{name}: the list of tensors is empty")
