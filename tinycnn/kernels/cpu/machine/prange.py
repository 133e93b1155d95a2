"""Loops on the threads of ``numba.prange``.

Each thread gets one part of the loop. Numba's threading layers have limits: some end the process if two threads start
parallel loops at the same time, or if a forked child starts one. So a lock lets one parallel loop run at a time; a loop
that finds it taken, and each loop of a forked child, runs serially in the thread that called it. Results have the same
bits. An exception of a signal handler that comes between two instructions here may leave the lock taken: later loops
are then serial.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
from numba import prange

from tinycnn.kernels.cpu.machine.compile import compiled_and_kept, compiled_with_prange, helper
from tinycnn.kernels.cpu.machine.settings import get_num_threads
from tinycnn.kernels.cpu.machine.tasks import KERNEL_FAILED, are_small, cut
from tinycnn.kernels.cpu.machine.tuning import MIN_PARALLEL_ELEMENTS

with suppress(ImportError):  # a fork then waits for no compilation
    from tinycnn.kernels.cpu.machine import fork as fork


class _Loop(NamedTuple):
    """The two compiled forms of a loop. Both return how many of their parts failed."""

    parallel: Callable
    serial: Callable


class _OneAtATime:
    """The lock of parallel loops. In a forked child it is taken for good."""

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def close(self) -> None:
        """Let no loop be parallel any more."""
        self.lock = threading.Lock()
        self.lock.acquire()


parallel_loop = _OneAtATime()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=parallel_loop.close)


def launcher(kernel: Callable, fastmath: frozenset[str], with_thread_id: bool) -> _Loop:
    """Compile the two forms of a loop of a kernel, on first use."""
    compiled = helper(kernel, fastmath)
    if with_thread_id:

        def _call(thread_id, begin, end, arguments):
            compiled(thread_id, begin, end, *arguments)

    else:

        def _call(thread_id, begin, end, arguments):
            compiled(begin, end, *arguments)

    call = helper(_call)

    def _part(thread_id, begin, end, arguments):
        try:
            call(np.uint32(thread_id), np.uint32(begin), np.uint32(end), arguments)
        except Exception:
            return 1
        return 0

    part = compiled_and_kept(_named(_part, kernel, "serial"), kernel=kernel)

    def _parts(parts, count, *arguments):
        failed = 0
        for i in prange(parts):
            failed += part(np.int64(i), cut(count, np.int64(i), parts), cut(count, np.int64(i + 1), parts), arguments)
        return failed

    return _Loop(compiled_with_prange(_named(_parts, kernel, "parallel"), kernel), part)


def _named(function: Callable, kernel: Callable, kind: str) -> Callable:
    function.__name__ = function.__qualname__ = f"{kernel.__qualname__}_{kind}"
    return function


def run(loop: Any, count: int, arguments: tuple, rows: int | None = None) -> None:
    """Run a loop over 0 to ``count``, in at most ``rows`` threads.

    A kernel sees a tuple of numbers as an array: prange takes no tuple inside a tuple.
    """
    arguments = tuple(np.array(a) if isinstance(a, tuple) else a for a in arguments)
    parts = min(get_num_threads(), count) if rows is None else min(get_num_threads(), count, rows)
    lock = parallel_loop.lock
    if parts > 1 and not are_small(arguments, MIN_PARALLEL_ELEMENTS) and lock.acquire(blocking=False):
        try:
            failed = loop.parallel(parts, count, *arguments)
        finally:
            lock.release()
    else:
        failed = loop.serial(0, 0, count, arguments)
    if failed:
        raise RuntimeError(KERNEL_FAILED)
