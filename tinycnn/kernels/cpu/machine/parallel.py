"""The door to the machine: how a kernel becomes a loop over its tasks on all threads.

The environment variable ``TINYCNN_THREADS_BACKEND`` chooses what is behind it:

=========  ==========================================================================================================
mailbox    The default: a pool of threads of our own (:mod:`.threads`, :mod:`.mailbox`) and a micro-kernel in LLVM's
           vector code (:mod:`.simd_llvm`). It compiles each kernel once, starts a loop in a few microseconds, and may
           be called from any thread and after a fork. It is made of parts of Numba that no document promises.
prange     ``numba.prange`` and the plain loops of the micro-kernel (:mod:`.prange`, :mod:`.simd_python`): a few lines
           to read, and what remains where Numba's parts have moved. Several times slower; loops that cannot be
           parallel (from a second thread at the same time, after a fork) run in the calling thread.
=========  ==========================================================================================================

Both compute the same bits on processors with fused multiply-add instructions.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from inspect import signature
from typing import Any

import numpy as np

from tinycnn.kernels.cpu.machine.compile import JIT_DISABLED, SAFE_MATH, helper
from tinycnn.kernels.cpu.machine.record import current_record

__all__ = ["BACKEND", "JIT_DISABLED", "as_contiguous", "helper", "parallel_for"]

BACKENDS = ("mailbox", "prange")


def _backend() -> tuple[str, Callable, Callable]:
    """Return the name of the backend, the function that makes launchers, and the function that runs them."""
    name = os.environ.get("TINYCNN_THREADS_BACKEND") or BACKENDS[0]
    if name not in BACKENDS:
        raise ValueError(f"TINYCNN_THREADS_BACKEND is {name!r}, expected one of: {', '.join(BACKENDS)}")
    if name == "mailbox":
        try:
            from tinycnn.kernels.cpu.machine import simd_llvm, simd_magnitude  # noqa: F401 (are they there?)
            from tinycnn.kernels.cpu.machine.mailbox import launcher
            from tinycnn.kernels.cpu.machine.threads import run

            return name, launcher, run
        except (ImportError, AttributeError) as moved:
            logging.getLogger("tinycnn").warning(
                "tinycnn: kernels run on numba.prange, several times slower, because a part of Numba has moved (%s)",
                moved,
            )
    from tinycnn.kernels.cpu.machine import prange

    return "prange", prange.launcher, prange.run


BACKEND, launcher, run = _backend()


def parallel_for(kernel: Callable, *, reassociate: bool = False, per_thread: str | None = None) -> Callable:
    """Return ``loop(count, ...)``, which runs ``kernel(begin, end, ...)`` over the tasks 0 to ``count`` on all threads.

    The kernel does the independent tasks ``begin`` to ``end``. It is compiled on first use, and kept on disk where a
    writable folder is found.

    Parameters
    ----------
    kernel : function of two integers, and of arrays and numbers
        It writes into arrays that it was given.
    reassociate : bool
        Allow sums to be reordered so that they vectorise. Results still have the same bits for any number of threads.
    per_thread : str or None
        The name of an argument that holds one row for each thread, a workspace. The kernel is then
        ``kernel(thread_id, begin, end, ...)``, ``thread_id`` being the number of a row, and at most as many threads
        run it as there are rows, also if :func:`~tinycnn.kernels.cpu.machine.settings.set_num_threads` is called in
        the meantime.

    Notes
    -----
    With ``NUMBA_DISABLE_JIT=1`` the kernel is called as it is, for a debugger.
    """
    numbers = (0,) if per_thread is None else (0, 0)
    if not JIT_DISABLED:
        launch = launcher(kernel, SAFE_MATH | {"reassoc"} if reassociate else SAFE_MATH, per_thread is not None)
    position = None if per_thread is None else list(signature(kernel).parameters).index(per_thread) - 3

    def loop(count: int, *arguments: Any) -> None:
        record = current_record.get()
        if record is not None:
            record.add_loop(kernel, count)
        if JIT_DISABLED:
            kernel(*numbers, count, *arguments)
        else:
            run(launch, count, arguments, None if position is None else len(arguments[position]))

    return loop


def as_contiguous(array: np.ndarray) -> np.ndarray:
    """Return the array itself if it is C-contiguous, aligned and writable, else a copy that is.

    Kernels get arrays of this one layout only, so each is compiled once per dtype.
    """
    return array if array.flags.carray else np.array(array, order="C")
