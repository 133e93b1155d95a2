"""Signals that end a training: after the first, the step is finished and saved; the second ends at once.

They are Ctrl-C (SIGINT), SIGTERM (a batch system, ``kill``), SIGHUP (a closed terminal, a lost connection) and on
Windows Ctrl-Break (SIGBREAK).
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

SAME_CTRL_C = 0.5
"""Seconds within which a rank takes two signals for one: it gets Ctrl-C from the terminal and from mpiexec."""

Handler = Callable[[int, Any], None]


class StopFlag:
    """The signal that asked to stop, or 0. A call returns True after a signal."""

    def __init__(self) -> None:
        self.signal = 0

    def __call__(self) -> bool:
        return bool(self.signal)


def stop_now(number: int, frame: Any = None) -> NoReturn:
    """Raise the exception of a signal: KeyboardInterrupt, or SystemExit with status 128 + its number."""
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)


@contextmanager
def stop_flag(
    unsaved: Callable[[], bool], terminate: bool = True, several: bool = False, speak: bool = True
) -> Iterator[StopFlag]:
    """Turn the first signal into a flag while something is unsaved; the second ends at once, by :func:`stop_now`.

    The first ends at once too if nothing is unsaved. A further SIGHUP is ignored: a terminal that closes sends several.
    Outside the main thread, the only one that gets signals, nothing is changed.

    Parameters
    ----------
    unsaved : callable
        True while there is something to save.
    terminate : bool
        Handle SIGTERM, SIGHUP and SIGBREAK too.
    several : bool
        One of several ranks, which may get the same Ctrl-C twice.
    speak : bool
        Write a line to standard error.
    """
    flag, last = StopFlag(), -float("inf")

    def note(number: int, frame: Any) -> None:
        nonlocal last
        now = time.monotonic()
        same, last = several and now - last < SAME_CTRL_C, now
        if flag.signal and (same or number == getattr(signal, "SIGHUP", None)):
            return
        if flag.signal or not unsaved():
            stop_now(number)
        flag.signal = number
        if speak:
            _say(number)

    with handlers(note, ("SIGINT", *(TERMINATING if terminate else ()))):
        yield flag


TERMINATING = ("SIGTERM", "SIGHUP", "SIGBREAK")


@contextmanager
def handlers(handler: Handler, names: tuple[str, ...] = TERMINATING) -> Iterator[None]:
    """Handle the signals of these names that this system has; restore the former handlers at the end.

    A signal that is ignored stays ignored (``nohup``), except Ctrl-C.
    """
    before: dict[int, Any] = {}
    try:
        if threading.current_thread() is threading.main_thread():
            for number in (getattr(signal, name) for name in names if hasattr(signal, name)):
                old = signal.getsignal(number)  # None: set by another library, and could not be put back
                if old is not None and (old is not signal.SIG_IGN or number == signal.SIGINT):
                    before[number] = old
                    signal.signal(number, handler)
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _say(number: int) -> None:
    """Write a line, without the locks of ``print``, which the interrupted code may hold."""
    if sys.stderr is None:
        return
    name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
    again = "press it again" if number == signal.SIGINT else "send it again"
    with suppress(OSError):  # the terminal is gone
        os.write(2, f"\n{name}: finishing this step, then saving; {again} to stop at once\n".encode())
