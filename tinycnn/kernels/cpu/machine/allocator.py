"""Memory for arrays, used again: pages that come fresh from the system cost as much as a pass over them.

The system hands memory out in pages that it first fills with zeros, and takes large blocks back as soon as they are
free. A network needs arrays of the same sizes in each step. So here arrays are stored in slabs; when the last array of
a block is gone, the block joins its free neighbours. Each array gets the first free block that is large enough: a
forward pass fills the slabs from below, and the backward pass empties them from above. Blocks begin at a multiple of
64 bytes: a vector then never crosses the border of a cache line.

Nothing here takes a lock, so that an exception of a signal handler, a handler that computes, or a fork may come at any
point: a slab's state is replaced as a whole, by a few statements without a call or a loop. CPython runs signal
handlers, and lets other threads run, only at calls, loops and function entries. An interpreter without its global lock
has no such rule: there all arrays come from NumPy.
"""

from __future__ import annotations

import sys
import threading
import weakref
from bisect import bisect
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

MIN_BLOCK = 2**15  # bytes: smaller arrays come from NumPy
SLAB = 2**25  # bytes
ALIGNMENT = 64  # bytes

_has_global_lock: bool = getattr(sys, "_is_gil_enabled", lambda: True)()


class _Memory(np.ndarray):
    """Bytes of a slab. It is a class of its own so that NumPy keeps it as the base of arrays stored there."""


class _Allocation(_Memory):
    """A block of a slab in use, owned by the arrays stored there."""


class _Block(weakref.ref):
    """The place of an allocation. The weak reference moves itself into the slab's list when the allocation is gone."""

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
        memory = _Memory(size + ALIGNMENT, np.uint8)  # no page of it exists before it is written to
        start = -memory.ctypes.data % ALIGNMENT
        self.memory = memory[start : start + size]
        self.free = [(0, size)]
        self.used: dict[int, _Block] = {}
        self.returned: deque[_Block] = deque()

    def take(self, size: int) -> _Allocation | None:
        """Return the beginning of the first free block that is large enough, None if there is none."""
        while True:
            free = self.free
            for i, (start, stop) in enumerate(free):  # noqa: B007 (the place of the block, used below)
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


def _allocate(size: int) -> np.ndarray:
    """Return ``size`` bytes of a slab, a new one if no other has room."""
    for slab in _slabs:
        slab.collect()
        allocation = slab.take(size)
        if allocation is not None:
            return allocation
    held = sum(slab.memory.nbytes for slab in _slabs)
    slab = _Slab(max(size, SLAB, held // 2))
    allocation = slab.take(size)
    assert allocation is not None
    _slabs.append(slab)
    return allocation


def empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return an array as ``np.empty`` does, in memory that was used before where there is some."""
    dtype = np.dtype(dtype)
    size = dtype.itemsize
    for length in shape:
        size *= int(length)
    if size < MIN_BLOCK or not _has_global_lock:
        return np.empty(shape, dtype)
    return np.ndarray(shape, dtype, _allocate(size))


def zeros(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return an array as ``np.zeros`` does, in memory that was used before where there is some."""
    out = empty(shape, dtype)
    out.fill(0)
    return out


def is_array(value: Any) -> bool:
    """Whether a value is an array of this device."""
    return isinstance(value, np.ndarray)


def as_array(value: Any) -> np.ndarray:
    """The value itself if it is an array of this device, else a copy of it as one."""
    return value.to_host() if getattr(value, "device", None) == "cuda" else np.asanyarray(value)


def memory_of(array: np.ndarray) -> np.ndarray:
    """What owns the memory of an array: the array itself, or that of which it is a view. Two that share it are equal.

    >>> x = np.zeros(4)
    >>> memory_of(x[::2]) is x
    True
    """
    while isinstance(array.base, np.ndarray) and not isinstance(array, _Allocation):
        array = array.base
    return array


def is_alone(array: np.ndarray) -> bool:
    """Whether an array is all that lies in its memory, so that whoever holds the only one may write to it.

    >>> x = empty((100, 200), np.float32)
    >>> is_alone(x), is_alone(x.T), is_alone(x[1:])
    (True, True, False)
    """
    owner = memory_of(array)
    if owner is array:
        return array.base is None
    return isinstance(owner, _Allocation) and array.nbytes == owner.nbytes and array.flags.writeable


def sent_ahead(batches: Iterable[tuple[np.ndarray, Any]]) -> Iterable[tuple[np.ndarray, Any]]:
    """The same batches (images, labels): they are where they are needed."""
    return batches


def read_later(*arrays: np.ndarray) -> Callable[[], Sequence[np.ndarray]]:
    """A function that gives the arrays: their numbers are known at once."""
    return lambda: arrays


_kept = threading.local()


def workspace(name: str, threads: int, size: int, dtype: np.dtype) -> np.ndarray:
    """Return scratch memory (threads, size) that is kept between calls. Rows begin at a border of a cache line.

    The memory belongs to the calling thread and to the array returned: while anything holds that array, a view of it,
    or a kernel that was called with it, the next call of that name gets other memory. So an operation that a signal
    handler runs in the middle of another one does not write into its numbers.
    """
    kept: dict = _kept.__dict__
    per_line = ALIGNMENT // dtype.itemsize
    size = -(-size // per_line) * per_line
    total = threads * size
    memory, user = kept.get((name, dtype), (None, None))
    if memory is None or memory.nbytes < total * dtype.itemsize or user() is not None:
        memory = _memory(total * dtype.itemsize)
    whole = np.ndarray((total,), dtype, memory)
    kept[name, dtype] = memory, weakref.ref(whole)
    return whole.reshape(threads, size)


def _memory(size: int) -> np.ndarray:
    if size < MIN_BLOCK or not _has_global_lock:
        return _Memory(size, np.uint8)
    return _allocate(size)
