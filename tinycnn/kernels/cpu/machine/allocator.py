"""Memory for arrays, which is used again: fresh pages from the system cost as much as a pass over them.

The system fills pages with zeros before it hands them out, and takes large blocks back as soon as they are free. A
network needs arrays of the same sizes in each step. So here arrays are stored in slabs; when the last array of a block
is gone, the block joins its free neighbours. Each array gets the first free block that is large enough: a forward pass
fills the slabs from below, and the backward pass empties them from above. Blocks begin at a multiple of 64 bytes, so
that no vector crosses the border of a cache line.

Nothing here takes a lock, so that an exception of a signal handler, a handler that computes, or a fork may come at any
point: a slab's state is replaced as a whole, by a few statements without a call or a loop. CPython runs signal
handlers, and lets other threads run, only at calls, loops and function entries. An interpreter without its global lock
has no such rule: there all arrays come from NumPy.
"""

from __future__ import annotations

import sys
import weakref
from bisect import bisect
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from tinycnn.kernels.cpu.machine.tuning import MIN_BLOCK_BYTES, SLAB_BYTES

ALIGNMENT = 64  # bytes of a cache line

HAS_GLOBAL_LOCK: bool = getattr(sys, "_is_gil_enabled", lambda: True)()


class Memory(np.ndarray):
    """Bytes of a slab. NumPy keeps an array of a subclass as the base of the arrays stored in it."""


class _Allocation(Memory):
    """A block of a slab in use, owned by the arrays stored there."""


class _Block(weakref.ref):
    """The bounds of an allocation. The weak reference adds itself to the slab's list when the allocation is gone."""

    __slots__ = ("start", "stop")
    start: int
    stop: int


class _Slab:
    """A large block of memory.

    Attributes
    ----------
    free : list of (start, stop)
        Free blocks in order of address. A list is never changed, only replaced.
    used : dict of int to _Block
        The blocks in use, by their identity.
    returned : deque of _Block
        Blocks in use whose allocation is gone, or that are free again.
    """

    def __init__(self, size: int) -> None:
        memory = Memory(size + ALIGNMENT, np.uint8)  # no page of it exists before it is written to
        start = -memory.ctypes.data % ALIGNMENT
        self.memory = memory[start : start + size]
        self.free = [(0, size)]
        self.used: dict[int, _Block] = {}
        self.returned: deque[_Block] = deque()

    def take(self, size: int) -> _Allocation | None:
        """Return the beginning of the first free block that is large enough, None if there is none."""
        while True:
            free = self.free
            for i, (start, stop) in enumerate(free):  # noqa: B007 (the position of the block, used below)
                if stop - start >= size:
                    break
            else:
                return None
            border = min(stop, -(-(start + size) // ALIGNMENT) * ALIGNMENT)
            rest = free.copy()
            rest[i : i + 1] = [(border, stop)] if border < stop else []
            allocation = self.memory[start : start + size].view(_Allocation)
            block = _Block(allocation, self.returned.append)
            block.start, block.stop = start, border
            key = id(block)
            if self.free is free:  # no call from here to the return
                self.free = rest
                self.used[key] = block
                return allocation

    def collect(self) -> None:
        """Make the returned blocks free again, each joined with the free blocks beside it."""
        while self.returned:
            try:
                block = self.returned[0]
                self._release(block)
                self.returned.remove(block)
            except (IndexError, ValueError):  # another thread has removed it
                continue

    def _release(self, block: _Block) -> None:
        key = id(block)
        while key in self.used:
            free = self.free
            joined = _insert(free, block.start, block.stop)
            if self.free is free and key in self.used:  # no call from here on
                self.free = joined
                del self.used[key]


def _insert(free: list[tuple[int, int]], start: int, stop: int) -> list[tuple[int, int]]:
    """Return the free blocks with one more, joined with its neighbours.

    >>> _insert([(0, 10), (20, 30)], 10, 15)
    [(0, 15), (20, 30)]
    """
    first = last = bisect(free, (start, stop))
    if first and free[first - 1][1] == start:
        first -= 1
        start = free[first][0]
    if last < len(free) and free[last][0] == stop:
        stop = free[last][1]
        last += 1
    return [*free[:first], (start, stop), *free[last:]]


_slabs: list[_Slab] = []  # the oldest first


def allocate(size: int) -> np.ndarray:
    """Return ``size`` bytes of a slab, a new one if no other has room."""
    for slab in _slabs:
        slab.collect()
        allocation = slab.take(size)
        if allocation is not None:
            return allocation
    held = sum(slab.memory.nbytes for slab in _slabs)
    slab = _Slab(max(size, SLAB_BYTES, held // 2))
    allocation = slab.take(size)
    assert allocation is not None
    _slabs.append(slab)
    return allocation


def empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return an array as ``np.empty`` does, if possible in memory that was used before."""
    dtype = np.dtype(dtype)
    size = dtype.itemsize
    for length in shape:
        size *= int(length)
    if size < MIN_BLOCK_BYTES or not HAS_GLOBAL_LOCK:
        return np.empty(shape, dtype)
    return np.ndarray(shape, dtype, allocate(size))


def zeros(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return an array as ``np.zeros`` does, if possible in memory that was used before."""
    out = empty(shape, dtype)
    out.fill(0)
    return out


def as_array(value: Any) -> np.ndarray:
    """Return the value itself if it is an array of this device, else a copy as one."""
    return value.to_host() if getattr(value, "device", None) == "cuda" else np.asanyarray(value)


def storage_of(array: np.ndarray) -> np.ndarray:
    """Return the storage of an array: the array itself, or the one whose memory it views. It is one for all its views.

    >>> x = np.zeros(4)
    >>> storage_of(x[::2]) is x
    True
    """
    while isinstance(array.base, np.ndarray) and not isinstance(array, _Allocation):
        array = array.base
    return array


def prefetch_to_device(batches: Iterable[tuple[np.ndarray, Any]]) -> Iterable[tuple[np.ndarray, Any]]:
    """Return the batches (images, labels) as they are: this device needs no copy ahead of time."""
    return batches


def copy_to_host_async(*arrays: np.ndarray) -> Callable[[], Sequence[np.ndarray]]:
    """Return a function that returns the arrays: on this device their values are known at once."""
    return lambda: arrays
