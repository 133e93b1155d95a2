"""A fork waits until no other thread compiles: otherwise the child would wait for the compiler's locks for ever.

The rest of the package needs no such care: the thread pool and the allocator have no locks, and a fork finds their
state whole (:mod:`.threads`, :mod:`.allocator`).
"""

from __future__ import annotations

import os
import threading
from typing import Any

import llvmlite.binding.ffi
from numba.core.compiler_lock import global_compiler_lock

PATIENCE = 60  # seconds: a kernel compiles in a few

_held = threading.local()


def _locks() -> list[Any]:
    """Return Numba's lock and LLVM's, in the order in which a thread that compiles takes them."""
    wrapper = getattr(llvmlite.binding.ffi.lib, "_lock", None)
    locks = getattr(global_compiler_lock, "_lock", None), getattr(wrapper, "_lock", None)
    return [lock for lock in locks if lock is not None]


def _acquire() -> None:
    _held.locks = []
    for lock in _locks():
        if lock.acquire(timeout=PATIENCE):
            _held.locks.append(lock)


def _release() -> None:
    while _held.locks:
        _held.locks.pop().release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_acquire, after_in_parent=_release, after_in_child=_release)
