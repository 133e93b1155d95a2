"""The one thread pool: a compiled loop is cut into a share for each thread, and a share into pieces.

Kernels are compiled to run without Python's global lock, so ordinary Python threads do. Compared with Numba's own
parallel loops this compiles a kernel once instead of four times, may be used from any thread and after a fork, and
needs no threading library. Between two loops a worker watches its letter box for a moment (:mod:`.launch`), then
sleeps; arrays of fewer than ``SMALL`` elements stay with the caller.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue

import numpy as np

SMALL = 2**14
BOX = 16  # integers of a letter box, two cache lines: workers do not disturb each other
ARENA = 1024  # integers for the packed arguments of one kernel


class _Worker(threading.Thread):
    """A thread that serves a letter box, and sleeps when nothing has come for a while."""

    def __init__(self, boxes: np.ndarray, own: int) -> None:
        super().__init__(name="tinycnn", daemon=True)
        self.boxes, self.own, self.asleep = boxes, own, False
        self.bell: SimpleQueue[None] = SimpleQueue()
        self.start()

    def run(self) -> None:
        from tinycnn.kernels.cpu.launch import ASKED, TAKEN, serve

        box = self.boxes[self.own]
        while True:
            serve(self.boxes, self.own)
            self.asleep = True
            if box[ASKED] == box[TAKEN]:
                self.bell.get()
            self.asleep = False

    def wake(self) -> None:
        """Ring the bell if it sleeps."""
        if self.asleep and self.bell.empty():
            self.bell.put(None)


class _Pool:
    """Workers beside the calling thread, made when they are first needed."""

    def __init__(self) -> None:
        self.threads = _default_threads()
        self.alone = np.zeros((1, BOX), np.int64)
        self.reset()

    def reset(self) -> None:
        """Forget the workers: a forked child has none."""
        self.workers: list[_Worker] = []
        self.boxes = self.alone
        self.busy = threading.Lock()

    def run(self, kernel: Callable, count: int, arguments: tuple) -> None:
        """Launch a kernel over ranges that together are 0 to count."""
        parts = min(self.threads, count)
        if parts < 2 or _are_small(arguments) or not self.busy.acquire(blocking=False):
            _raise_if(kernel(self.alone, _arena(), count, *arguments))
            return
        try:
            if len(self.workers) < parts - 1:
                self._hire(self.threads - 1)
            for worker in self.workers[: parts - 1]:
                worker.wake()
            outcome = kernel(self.boxes[:parts], _arena(), count, *arguments)
            _raise_if(outcome if outcome[0] >= 0 else self._finish(outcome[1], parts))
        finally:
            self.busy.release()

    def _hire(self, count: int) -> None:
        """Have ``count`` workers, each with a box; the old ones, whose boxes are forgotten, sleep for ever."""
        from tinycnn.kernels.cpu.launch import serve

        self.boxes = np.zeros((1 + count, BOX), np.int64)
        serve(self.boxes, 1)  # compiled here, where an error is seen
        self.workers = [_Worker(self.boxes, own) for own in range(1, 1 + count)]

    def _finish(self, here: int, parts: int) -> tuple[int, int]:
        """Wait for the workers, whatever happens: they write into the caller's arrays."""
        from tinycnn.kernels.cpu.launch import wait

        interrupt: BaseException | None = None
        elsewhere = -1
        while elsewhere < 0:
            try:
                for worker in self.workers[: parts - 1]:
                    worker.wake()
                time.sleep(0)
                elsewhere = wait(self.boxes[:parts])
            except KeyboardInterrupt as error:
                interrupt = error
        if interrupt:
            raise interrupt
        return elsewhere, here


def _raise_if(failures: tuple[int, int]) -> None:
    if any(failures):
        raise RuntimeError("a kernel failed: it ran out of memory, or a compiled function raised an error")


_kept = threading.local()


def _arena() -> np.ndarray:
    """Where this thread packs arguments."""
    if not hasattr(_kept, "arena"):
        _kept.arena = np.empty(ARENA, np.int64)
    return _kept.arena


def _default_threads() -> int:
    """NUMBA_NUM_THREADS where it is a number, else the processors that this process may use."""
    asked = os.environ.get("NUMBA_NUM_THREADS", "")
    if asked.isdecimal() and int(asked):
        return int(asked)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _are_small(arguments: tuple) -> bool:
    return not any(isinstance(a, np.ndarray) and a.size >= SMALL for a in arguments)


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
