"""Workspaces of kernels, which are kept between calls."""

from __future__ import annotations

import threading
import weakref

import numpy as np

from tinycnn.kernels.cpu.machine.allocator import ALIGNMENT, HAS_GLOBAL_LOCK, Memory, allocate
from tinycnn.kernels.cpu.machine.record import current_record
from tinycnn.kernels.cpu.machine.tuning import MIN_BLOCK_BYTES

_kept = threading.local()


def workspace(name: str, threads: int, size: int, dtype: np.dtype) -> np.ndarray:
    """Return scratch memory (threads, size) that is kept between calls. Each row begins with a cache line.

    The memory belongs to the calling thread and to the array returned: while that array, a view of it, or a kernel that
    was called with it exists, the next call of that name gets other memory. So an operation that a signal handler runs
    in the middle of another one does not overwrite its numbers.
    """
    kept: dict = _kept.__dict__
    per_line = ALIGNMENT // dtype.itemsize
    size = -(-size // per_line) * per_line
    total = threads * size
    record = current_record.get()
    if record is not None:
        record.add_workspace(name, total * dtype.itemsize)
    memory, user = kept.get((name, dtype), (None, None))
    if memory is None or memory.nbytes < total * dtype.itemsize or user() is not None:
        memory = _block(total * dtype.itemsize)
    whole = np.ndarray((total,), dtype, memory)
    kept[name, dtype] = memory, weakref.ref(whole)
    return whole.reshape(threads, size)


def _block(size: int) -> np.ndarray:
    """Return ``size`` bytes."""
    if size < MIN_BLOCK_BYTES or not HAS_GLOBAL_LOCK:
        return Memory(size, np.uint8)
    return allocate(size)
