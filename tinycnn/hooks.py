"""Callbacks that can be removed again."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any


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


class UncopiedCallback:
    """A callback of something that observes one module: in copies of the module, pickled ones too, it does nothing."""

    def __init__(self, callback: Callable[..., Any] | None) -> None:
        self._callback = callback

    def __call__(self, *args: Any) -> Any:
        return None if self._callback is None else self._callback(*args)

    def __reduce__(self) -> tuple:
        return UncopiedCallback, (None,)
