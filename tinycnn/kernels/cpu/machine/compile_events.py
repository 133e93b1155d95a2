"""News of a compilation that begins, for a progress bar."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class CompileListener:
    """Calls ``show(name)`` when Numba begins to compile a function of this package."""

    def __init__(self, show: Callable[[str], None]) -> None:
        from numba.core import event

        class Listener(event.Listener):
            def on_start(self, event: Any) -> None:
                function = event.data["dispatcher"].py_func
                if function.__module__.startswith("tinycnn."):  # not Numba's own helpers
                    show(function.__name__.lstrip("_"))

            def on_end(self, event: Any) -> None:
                pass

        self._event, self._listener = event, Listener()

    def start(self) -> None:
        """Listen."""
        self._event.register("numba:compile", self._listener)

    def stop(self) -> None:
        """Listen no more."""
        self._event.unregister("numba:compile", self._listener)
