"""How a kernel becomes a loop over its work on all threads."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tinycnn.kernels.cpu._compile import JIT_DISABLED, SAFE_MATH, inline
from tinycnn.kernels.cpu.launch import launcher
from tinycnn.kernels.cpu.pool import run

__all__ = ["JIT_DISABLED", "carray", "inline", "jit"]


def jit(kernel: Callable, *, reassociate: bool = False, with_lane: bool = False) -> Callable:
    """Compile ``kernel(begin, end, ...)`` on first use, and run it as ``loop(count, ...)`` on all threads.

    The kernel does the independent pieces of work ``begin`` to ``end``; the loop all of them, 0 to ``count``. What is
    compiled is cached on disk where a writable place is found.

    Parameters
    ----------
    kernel : function of two integers, and of arrays and numbers; it writes into arrays it was given.
    reassociate : allow sums to be reordered so that they vectorise (still independent of the thread count).
    with_lane : the kernel is ``kernel(lane, begin, end, ...)``, the lane being the number of the thread that runs it,
        less than :func:`~tinycnn.kernels.cpu.pool.get_num_threads`: its place in a workspace.

    Notes
    -----
    With ``NUMBA_DISABLE_JIT=1`` the function is called as it is, to be stepped through in a debugger.
    """
    if JIT_DISABLED:
        numbers = (0, 0) if with_lane else (0,)
        return lambda count, *arguments: kernel(*numbers, count, *arguments)
    launch = launcher(kernel, SAFE_MATH | {"reassoc"} if reassociate else SAFE_MATH, with_lane)
    return lambda count, *arguments: run(launch, count, arguments)


def carray(array: np.ndarray) -> np.ndarray:
    """The array itself if it is C-contiguous, aligned and writable, else a copy that is.

    Kernels see this one layout only, so each compiles once per dtype.
    """
    return array if array.flags.carray else np.array(array, order="C")
