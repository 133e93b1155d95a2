"""The modes that decide whether operations are recorded in the graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinycnn.choice import Choice


def is_grad_enabled() -> bool:
    """True if operations are being recorded in the graph.

    >>> is_grad_enabled()
    True
    """
    return GradMode.current()


class GradMode(Choice, default=True):
    """Base class of :class:`no_grad` and :class:`enable_grad`."""

    enabled: bool

    def __new__(cls, function: Callable | None = None) -> Any:
        return super().__new__(cls) if function is None else cls()(function)  # `@no_grad` without parentheses

    def __init__(self, function: Callable | None = None) -> None:
        super().__init__(self.enabled)


class no_grad(GradMode):
    """A ``with`` block or decorator in which operations are not recorded: for evaluation and parameter updates.

    >>> import tinycnn as tc
    >>> x = tc.Tensor([1.0], requires_grad=True)
    >>> with tc.no_grad():
    ...     (x * 2).requires_grad
    False
    >>> @tc.no_grad
    ... def twice(x):
    ...     return x * 2
    >>> twice(x).requires_grad
    False
    """

    enabled = False


class enable_grad(GradMode):
    """A ``with`` block or decorator in which operations are recorded again, inside a :class:`no_grad` block."""

    enabled = True
