"""The progress bar: loss, accuracy, images a second, time left, and which kernel is being compiled."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any

from tqdm import tqdm

from tinycnn.kernels import numba_is_missing
from tinycnn.kernels.cpu.machine.compile_events import CompileListener


class _StandardError:
    """Standard error for output that may be lost: a closed stream or terminal does not stop the program."""

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr, name)

    def write(self, text: str) -> int:
        """Write, or do nothing."""
        try:
            return 0 if sys.stderr is None else sys.stderr.write(text)
        except UnicodeEncodeError:
            return sys.stderr.write(text.encode("ascii", "replace").decode())
        except (OSError, ValueError):  # the terminal is gone; the file is closed
            return 0

    def flush(self) -> None:
        """Flush, or do nothing."""
        try:
            if sys.stderr is not None:
                sys.stderr.flush()
        except (OSError, ValueError):
            pass

    def isatty(self) -> bool:
        """True for a terminal that is still there."""
        try:
            return sys.stderr is not None and sys.stderr.isatty()
        except (OSError, ValueError):
            return False


def note(text: str) -> None:
    """Write a line to standard error, above a progress bar if there is one."""
    tqdm.write(f"tinycnn: {text}", file=_StandardError())  # type: ignore[arg-type]


class Progress:
    """A bar over the images of an epoch. Use it as a context manager.

    Parameters
    ----------
    total : int
        Images.
    title : str
    initial : int
        Images done already.
    quiet : bool
        Show nothing.
    """

    def __init__(self, total: int, title: str, initial: int = 0, quiet: bool = False) -> None:
        self._bar = tqdm(
            total=total,
            initial=initial,
            desc=title,
            unit=" images",
            file=_StandardError(),  # type: ignore[arg-type]
            disable=quiet,
            dynamic_ncols=True,
            mininterval=0.25,
            bar_format="{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} "
            "[{elapsed}<{remaining}, {rate_fmt}]{postfix}",
        )
        self._compiling = CompileListener(self._show) if numba_is_missing() is None else None

    def update(self, images: int, **numbers: float) -> None:
        """Advance the bar, and show numbers."""
        self._bar.set_postfix_str(", ".join(f"{k} {v:.3f}" for k, v in numbers.items()), refresh=False)
        self._bar.update(images)

    def _show(self, kernel: str) -> None:
        self._bar.set_postfix_str(f"compiling {kernel} (first use only)", refresh=True)

    def __enter__(self) -> Progress:
        if self._compiling is not None:
            self._compiling.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._compiling is not None:
            self._compiling.stop()
        self._bar.close()
