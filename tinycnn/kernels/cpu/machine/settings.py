"""The number of threads that compute."""

from __future__ import annotations

import os

import numpy as np

MAX_THREADS = 1024  # more than any machine profits from; each takes a mailbox, and scratch memory in many kernels


class _Settings:
    """The settings of the whole process."""

    def __init__(self) -> None:
        self.num_threads = default_num_threads()


def default_num_threads() -> int:
    """Return NUMBA_NUM_THREADS if it is a number, at most MAX_THREADS, else the processors of this process."""
    text = os.environ.get("NUMBA_NUM_THREADS", "")
    if text.isascii() and text.isdecimal() and text.strip("0"):
        return int(text) if len(text) < 5 and int(text) <= MAX_THREADS else MAX_THREADS
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_settings = _Settings()


def set_num_threads(count: int) -> None:
    """Compute with this many threads from now on; results have the same bits for any number.

    The default is the number of processors, or the environment variable ``NUMBA_NUM_THREADS``. A loop that another
    thread is computing is finished by the threads that began it. Threads that are no longer needed end at the next
    loop.

    Raises
    ------
    ValueError
        If ``count`` is not a whole number of at least 1 and at most :data:`MAX_THREADS`.
    """
    if not isinstance(count, (int, np.integer)) or isinstance(count, bool) or count < 1:
        raise ValueError(f"set_num_threads: count is {count!r}, expected a whole number of at least 1")
    if count > MAX_THREADS:
        raise ValueError(f"set_num_threads: count is {count}, expected at most {MAX_THREADS}")
    _settings.num_threads = int(count)


def get_num_threads() -> int:
    """Return the number of threads that compute."""
    return _settings.num_threads
