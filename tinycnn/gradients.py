"""The engine's treatment of one gradient: hooks see it, its shape and dtype are checked, a leaf adds it to ``grad``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinycnn.kernels import is_on_gpu
from tinycnn.kernels.arrays import as_array, converted, unbroadcast
from tinycnn.locks import ForkSafeLock


def run_hooks(place: str, hooks: dict[int, Callable], grad: Any) -> Any:
    """Pass a gradient to hooks; a result other than None replaces it.

    Hooks get a read-only view, because other parts of the graph may refer to the array.

    Raises
    ------
    TypeError, ValueError
        If a hook returns something that cannot be this gradient.
    """
    for hook in list(hooks.values()) if hooks else ():
        shown = _read_only(grad)
        replaced = hook(shown)
        if replaced is not None and replaced is not shown:
            name = getattr(hook, "__qualname__", None) or repr(hook)
            grad = given_gradient(replaced, grad, f"hook {name}: the gradient of {place} that it returned")
    return grad


def given_gradient(value: Any, like: Any, place: str) -> Any:
    """Return a gradient that a user gave as an array, in the dtype of ``like``.

    Parameters
    ----------
    value : tensor, array or number
    like : array whose shape and device the gradient must have
    place : beginning of the error message

    Raises
    ------
    TypeError
        If ``value`` does not hold real numbers.
    ValueError
        If its shape or device differs.
    """
    array = as_array(value.data if hasattr(value, "requires_grad") else value)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{place} is {type(value).__name__} of dtype {array.dtype}, expected real numbers")
    if array.shape != like.shape:
        raise ValueError(f"{place} has shape {array.shape}, expected {like.shape}")
    if is_on_gpu(array) != is_on_gpu(like):
        raise ValueError(f"{place} is on device {array.device}, expected {like.device}")
    return array if array.dtype == like.dtype else converted(array, like.dtype)


def computed_gradient(grad: Any, like: Any, name: str) -> Any:
    """Return the array that ``backward`` of the operation ``name`` returned, in the shape and dtype of ``like``.

    A gradient of the broadcast shape is summed.

    Raises
    ------
    TypeError, RuntimeError
        If it does not hold real numbers, or its shape does not fit.
    """
    if grad.shape == like.shape and grad.dtype == like.dtype:
        return grad
    if grad.dtype.kind not in "fiub":
        raise TypeError(f"{name}.backward returned a gradient of dtype {grad.dtype}, expected real numbers")
    if grad.shape != like.shape:
        try:
            grad = unbroadcast(grad, like.shape)
        except ValueError:
            raise RuntimeError(
                f"{name}.backward returned a gradient of shape {grad.shape} for an input of shape {like.shape}"
            ) from None
    return grad if grad.dtype == like.dtype else grad.astype(like.dtype)


def _read_only(grad: Any) -> Any:
    if is_on_gpu(grad):
        return grad
    shown = grad.view()
    shown.flags.writeable = False
    return shown


adding = ForkSafeLock()  # gradients of one leaf may arrive from several threads


def accumulated(total: Any, grad: Any, owned: bool) -> Any:
    """Return the sum of ``tensor.grad`` and another gradient; the first one itself if it is ``owned``, else a copy.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    if total is None:
        return grad if owned else grad.copy(order="K")
    if total.shape != grad.shape:
        raise ValueError(
            f"backward: a gradient of shape {grad.shape} cannot be added to grad of shape {total.shape}; "
            "set grad to None after replacing data"
        )
    return as_array(total + grad)
