"""What is chosen inside a ``with`` block or a decorated function, by each thread for itself."""

from __future__ import annotations

import threading
from contextlib import ContextDecorator
from typing import Any, ClassVar

_INHERITED: Any = object()


class Choice(ContextDecorator):
    """A choice that holds to the end of its block; the innermost block's holds.

    A subclass with a ``default`` is a choice of its own; its subclasses without one choose the same thing.

    Examples
    --------
    >>> class Colour(Choice, default="black"):
    ...     pass
    >>> with Colour("red"):
    ...     Colour.current()
    'red'
    >>> Colour.current()
    'black'
    """

    made: ClassVar[threading.local]
    default: ClassVar[Any]

    def __init_subclass__(cls, default: Any = _INHERITED) -> None:
        if default is not _INHERITED:
            cls.made, cls.default = threading.local(), default

    def __init__(self, value: Any) -> None:
        self._value = value
        self._previous: list[Any] = []

    @classmethod
    def current(cls) -> Any:
        """What is chosen here."""
        return getattr(cls.made, "value", cls.default)

    def __enter__(self) -> None:
        self._previous.append(self.current())
        self.made.value = self._value

    def __exit__(self, *_: object) -> None:
        self.made.value = self._previous.pop()
