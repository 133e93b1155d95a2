"""How a kernel becomes a loop over its work on all threads."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature

import numpy as np

from tinycnn.kernels.cpu.machine.compile import JIT_DISABLED, SAFE_MATH, inline
from tinycnn.kernels.cpu.machine.mailbox import launcher
from tinycnn.kernels.cpu.machine.threads import run

__all__ = ["JIT_DISABLED", "carray", "inline", "jit"]


def jit(kernel: Callable, *, reassociate: bool = False, per_thread: str | None = None) -> Callable:
    """Compile ``kernel(begin, end, ...)`` on first use, and run it as ``loop(count, ...)`` on all threads.

    The kernel does the independent pieces of work ``begin`` to ``end``; the loop all of them, 0 to ``count``. What is
    compiled is cached on disk where a writable place is found.

    Parameters
    ----------
    kernel : function of two integers, and of arrays and numbers; it writes into arrays it was given.
    reassociate : allow sums to be reordered so that they vectorise (still independent of the thread count).
    per_thread : name of an argument with one row for each thread, a workspace. The kernel is then
        ``kernel(thread_id, begin, end, ...)``, the number of a row, and at most so many threads run it as there are
        rows, whatever :func:`~tinycnn.kernels.cpu.machine.settings.set_num_threads` does in the meantime.

    Notes
    -----
    With ``NUMBA_DISABLE_JIT=1`` the function is called as it is, to be stepped through in a debugger.
    """
    if JIT_DISABLED:
        numbers = (0,) if per_thread is None else (0, 0)
        return lambda count, *arguments: kernel(*numbers, count, *arguments)
    launch = launcher(kernel, SAFE_MATH | {"reassoc"} if reassociate else SAFE_MATH, per_thread is not None)
    if per_thread is None:
        return lambda count, *arguments: run(launch, count, arguments)
    number = list(signature(kernel).parameters).index(per_thread) - 3
    return lambda count, *arguments: run(launch, count, arguments, len(arguments[number]))


def carray(array: np.ndarray) -> np.ndarray:
    """The array itself if it is C-contiguous, aligned and writable, else a copy that is.

    Kernels see this one layout only, so each compiles once per dtype.
    """
    return array if array.flags.carray else np.array(array, order="C")
