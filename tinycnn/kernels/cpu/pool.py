"""The one thread pool: a compiled loop is cut into as many ranges as there are threads, and each runs one.

Kernels are compiled to run without Python's global lock, so ordinary Python threads do. Compared with Numba's own
parallel loops this compiles a kernel once instead of four times, may be used from any thread and after a fork, and
needs no threading library. Between two loops a worker spins for a moment (:mod:`.spin`), then sleeps; arrays of fewer
than ``SMALL`` elements stay with the caller.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import numpy as np

SMALL = 2**14
_FIRST = np.uint32(0)  # unsigned: the compiler then knows that no index is negative, and makes vectors


class _Worker(threading.Thread):
    """A thread that runs one range at a time: ``asked`` counts the ranges given to it, ``done`` those that ended."""

    def __init__(self, spin: Callable) -> None:
        super().__init__(name="tinycnn", daemon=True)
        self.spin = spin
        self.asked, self.done = np.zeros(1, np.int64), np.zeros(1, np.int64)
        self.task: tuple = ()
        self.error: BaseException | None = None
        self.asleep, self.bell = False, SimpleQueue()  # type: ignore[var-annotated]
        self.start()

    def give(self, *task: Any) -> None:
        """Let it run ``kernel(begin, end, *arguments)``."""
        self.task = task
        self.asked[0] += 1
        if self.asleep:
            self.bell.put(None)

    def wait(self) -> BaseException | None:
        """Wait until what was given has ended; the error that ended it."""
        before = int(self.asked[0]) - 1
        while not self.spin(self.done, 0, before):
            time.sleep(0)
        return self.error

    def run(self) -> None:
        count = 0
        while True:
            if not self.spin(self.asked, 0, count):
                self.asleep = True
                while self.asked[0] == count:
                    self.bell.get()
                self.asleep = False
            count += 1
            kernel, begin, end, arguments = self.task
            self.error, self.task = None, ()
            try:
                kernel(begin, end, *arguments)
            except BaseException as error:
                self.error = error
            del kernel, arguments
            self.done[0] = count


class _Pool:
    """Workers beside the calling thread, made when they are first needed."""

    def __init__(self) -> None:
        self.threads = _default_threads()
        self.reset()

    def reset(self) -> None:
        """Forget the workers: a forked child has none."""
        self.workers: list[_Worker] = []
        self.busy = threading.Lock()

    def run(self, kernel: Callable, count: int, arguments: tuple) -> None:
        """``kernel(begin, end, *arguments)`` over ranges that together are 0 to count."""
        parts = min(self.threads, count)
        if parts < 2 or _elements(arguments) < SMALL or not self.busy.acquire(blocking=False):
            kernel(_FIRST, np.uint32(count), *arguments)
            return
        try:
            self._hire(parts - 1)
            self._share(kernel, [np.uint32(count * part // parts) for part in range(parts + 1)], arguments)
        finally:
            self.busy.release()

    def _hire(self, count: int) -> None:
        while len(self.workers) < count:
            from tinycnn.kernels.cpu.spin import spin

            self.workers.append(_Worker(spin))

    def _share(self, kernel: Callable, borders: list, arguments: tuple) -> None:
        workers = self.workers[: len(borders) - 2]
        for worker, begin, end in zip(workers, borders[1:], borders[2:]):
            worker.give(kernel, begin, end, arguments)
        try:
            kernel(borders[0], borders[1], *arguments)
        finally:  # workers write into the arrays: never leave before them
            errors = [worker.wait() for worker in workers]
        for error in errors:
            if error is not None:
                raise error


def _default_threads() -> int:
    """NUMBA_NUM_THREADS where it is a number, else the processors that this process may use."""
    asked = os.environ.get("NUMBA_NUM_THREADS", "")
    if asked.isdecimal() and int(asked):
        return int(asked)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _elements(arguments: tuple) -> int:
    return max((a.size for a in arguments if isinstance(a, np.ndarray)), default=0)


_pool = _Pool()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.reset)

run = _pool.run


def set_num_threads(count: int) -> None:
    """Compute with so many threads from now on; results have the same bits for any number.

    The default is the number of processors, or the environment variable ``NUMBA_NUM_THREADS``.

    Raises
    ------
    ValueError
        If ``count`` is no whole number of at least 1.
    """
    if not isinstance(count, (int, np.integer)) or isinstance(count, bool) or count < 1:
        raise ValueError(f"set_num_threads: count is {count!r}, expected a whole number of at least 1")
    _pool.threads = int(count)


def get_num_threads() -> int:
    """How many threads compute."""
    return _pool.threads
