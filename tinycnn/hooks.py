"""Callbacks that can be removed again, and the checks of what hooks on gradients return."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from tinycnn.kernels import is_on_gpu
from tinycnn.kernels.arrays import as_array


class Hook:
    """A registered callback. ``remove()`` unregisters it.

    Raises
    ------
    TypeError
        If the callback is not callable.
    """

    _keys = itertools.count()

    def __init__(self, registry: dict[int, Callable], callback: Callable[..., Any]) -> None:
        if not callable(callback):
            raise TypeError(f"hook is {callback!r}, expected a function")
        self._registry = registry
        self._key = next(key for key in Hook._keys if key not in registry)  # unpickled hooks keep their keys
        registry[self._key] = callback

    def remove(self) -> None:
        """Stop calling the callback."""
        self._registry.pop(self._key, None)


def run_hooks(place: str, hooks: dict[int, Callable], grad: Any) -> Any:
    """Show a gradient to hooks; what one returns, unless None, replaces it.

    Hooks get a read-only view, because other parts of the graph may refer to the array.

    Raises
    ------
    TypeError, ValueError
        If a hook returns something that cannot be this gradient.
    """
    for hook in list(hooks.values()):
        shown = _read_only(grad)
        replaced = hook(shown)
        if replaced is not None and replaced is not shown:
            name = getattr(hook, "__qualname__", None) or repr(hook)
            grad = fitting_gradient(replaced, grad, f"hook {name}: the gradient of {place} that it returned")
    return grad


def fitting_gradient(value: Any, like: Any, place: str) -> Any:
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
    return array if array.dtype == like.dtype else array.astype(like.dtype)


def _read_only(grad: Any) -> Any:
    if is_on_gpu(grad):
        return grad
    shown = grad.view()
    shown.flags.writeable = False
    return shown
