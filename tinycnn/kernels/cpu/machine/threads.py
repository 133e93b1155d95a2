"""The thread pool: a compiled loop is cut into a part for each thread, and a part into chunks.

Kernels are compiled to run without Python's global lock, so ordinary Python threads run them. Compared with Numba's own
parallel loops this compiles a kernel once instead of four times, works in any thread and after a fork, and needs no
threading library. Between two loops a worker watches its mailbox for a moment (:mod:`.mailbox`), then sleeps. Loops
over arrays of fewer than ``MIN_PARALLEL_ELEMENTS`` elements stay in the calling thread.

Interrupts, forks and changes of the number of threads may come at any point, because no state outlives a statement: a
job lives inside one compiled call, workers live as long as their team, and a team that is complete replaces the last
one by one assignment. Nothing here takes a lock.
"""

from __future__ import annotations

import _thread
import os
import threading
import weakref
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import numpy as np

from tinycnn.kernels.cpu.machine.mailbox import ARGUMENT_BUFFER_SIZE, MAILBOX_SIZE, serve
from tinycnn.kernels.cpu.machine.settings import get_num_threads
from tinycnn.kernels.cpu.machine.tasks import KERNEL_FAILED, are_small
from tinycnn.kernels.cpu.machine.tuning import MIN_PARALLEL_ELEMENTS


class _Worker:
    """A thread that serves a mailbox as long as its team exists.

    Attributes
    ----------
    asleep : bool
        True if it waits to be woken, or is about to.
    expected : bool
        True if a job may have been sent. A worker that is about to sleep then serves its mailbox once more.
    """

    __slots__ = ("asleep", "expected", "wakeups")

    def __init__(self) -> None:
        self.asleep = self.expected = False
        self.wakeups: SimpleQueue[Any] = SimpleQueue()

    def run(self, team: Callable[[], _Team | None], mailboxes: np.ndarray, thread_id: int) -> None:
        """Serve the mailbox of ``thread_id`` until ``team()`` is None."""
        while team() is not None:
            serve(mailboxes, thread_id)
            self.asleep = True
            if self.expected:
                self.expected = False
            else:
                self.wakeups.get()
            self.asleep = False

    def wake(self) -> None:
        """Announce a job."""
        self.expected = True  # before the worker is looked at: it sets `asleep` before it looks at this
        if self.asleep and self.wakeups.empty():
            self.wakeups.put(None)


class _Team:
    """The workers beside the calling thread, and their mailboxes. The workers end when the team is collected."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.mailboxes = np.zeros((threads, MAILBOX_SIZE), np.int64)
        serve(self.mailboxes, 0)  # compiled here, where an error is seen
        self.workers: list[_Worker] = []
        for thread_id in range(1, threads):
            worker = _Worker()
            team = weakref.ref(self, worker.wakeups.put)
            try:
                _thread.start_new_thread(worker.run, (team, self.mailboxes, thread_id))
            except RuntimeError:  # no more threads are allowed: the others take over the parts of those missing
                break
            self.workers.append(worker)


class _Pool:
    """The present team, which is made when it is first needed."""

    def __init__(self) -> None:
        self.alone = np.zeros((1, MAILBOX_SIZE), np.int64)
        self.team: _Team | None = None
        self.of_parents: list[_Team | None] = []

    def reset(self) -> None:
        """Start without a team: a forked child has no workers.

        The parent's team is kept, since its end would wake threads by queues that a fork leaves in any state.
        """
        self.of_parents.append(self.team)
        self.team = None

    def run(self, kernel: Callable, count: int, arguments: tuple, rows: int | None = None) -> None:
        """Launch a kernel over 0 to ``count``, in at most ``rows`` threads."""
        threads, team = get_num_threads(), self.team
        if team is not None and team.threads != threads:
            team = self.team = None  # it ends when the loops that it computes have ended
        parts = min(threads, count) if rows is None else min(threads, count, rows)
        mailboxes = self.alone
        if parts > 1 and not are_small(arguments, MIN_PARALLEL_ELEMENTS):
            if team is None:
                team = self.team = _Team(threads)
            for worker in team.workers[: parts - 1]:
                worker.wake()
            mailboxes = team.mailboxes[:parts]
        if kernel(mailboxes, _argument_buffer(), count, *arguments):
            raise RuntimeError(KERNEL_FAILED)


_kept = threading.local()


def _argument_buffer() -> np.ndarray:
    """Return the argument buffer of this thread."""
    if not hasattr(_kept, "buffer"):
        _kept.buffer = np.empty(ARGUMENT_BUFFER_SIZE, np.int64)
    return _kept.buffer


_pool = _Pool()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.reset)

run = _pool.run
