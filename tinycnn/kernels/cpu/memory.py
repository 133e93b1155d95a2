"""Memory for arrays, used again: pages that come fresh from the system cost as much as a pass over them.

The system hands memory out in pages that it first fills with zeros, and takes large pieces back as soon as they are
free. A network asks for arrays of the same sizes in each step. So here arrays lie in slabs; when the last array that
lies in a piece of a slab is gone, the piece joins its free neighbours. Each array gets the first gap that is wide
enough: a forward pass fills the slabs from below, and the backward pass empties them from above.

Pieces begin at a multiple of 64 bytes: a vector then never crosses the border of a cache line.
"""

from __future__ import annotations

import threading
from bisect import insort
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

LEAST = 2**15  # bytes: smaller arrays come from NumPy
SLAB = 2**25
ALIGNMENT = 64

_returned: deque[tuple[_Slab, int, int]] = deque()


class _Memory(np.ndarray):
    """Bytes of a slab. It is a class of its own so that NumPy keeps it as the base of what lies in it."""


class _Lease(_Memory):
    """A piece of a slab in use; it is given back when the last array that lies in it is gone."""

    piece: tuple[_Slab, int, int]

    def __del__(self, give_back: Any = _returned.append) -> None:
        give_back(self.piece)


class _Slab:
    """A block of memory and its gaps, (start, stop) in order of address."""

    def __init__(self, size: int) -> None:
        memory = _Memory(size + ALIGNMENT, np.uint8)  # no page of it exists before it is written to
        start = -memory.ctypes.data % ALIGNMENT
        self.memory = memory[start : start + size]
        self.gaps = [(0, size)]

    def take(self, size: int) -> _Lease | None:
        """The beginning of the first gap that is wide enough, None if there is none."""
        for i, (start, stop) in enumerate(self.gaps):
            if stop - start >= size:
                border = min(stop, -(-(start + size) // ALIGNMENT) * ALIGNMENT)
                self.gaps[i : i + 1] = [(border, stop)] if border < stop else []
                lease = self.memory[start : start + size].view(_Lease)
                lease.piece = self, start, border
                return lease
        return None

    def give(self, start: int, stop: int) -> None:
        """Make a piece a gap again, together with the gaps beside it."""
        insort(self.gaps, (start, stop))
        i = self.gaps.index((start, stop))
        first, last = max(i - 1, 0), i + 2
        joined: list[tuple[int, int]] = []
        for gap in self.gaps[first:last]:
            if joined and joined[-1][1] == gap[0]:
                joined[-1] = joined[-1][0], gap[1]
            else:
                joined.append(gap)
        self.gaps[first:last] = joined


class _Store:
    """Slabs, the oldest first."""

    def __init__(self) -> None:
        self.slabs: list[_Slab] = []
        self.lock = threading.Lock()

    def lease(self, size: int) -> _Lease:
        """A piece of ``size`` bytes."""
        with self.lock:
            while _returned:
                slab, start, stop = _returned.popleft()
                slab.give(start, stop)
            for slab in self.slabs:
                lease = slab.take(size)
                if lease is not None:
                    return lease
            held = sum(slab.memory.nbytes for slab in self.slabs)
            self.slabs.append(_Slab(max(size, SLAB, held // 2)))
            lease = self.slabs[-1].take(size)
            assert lease is not None
            return lease


_store = _Store()


def empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """As ``np.empty``, from memory that was used before where there is some."""
    dtype = np.dtype(dtype)
    size = dtype.itemsize
    for length in shape:
        size *= int(length)
    if size < LEAST:
        return np.empty(shape, dtype)
    return np.ndarray(shape, dtype, _store.lease(size))


def zeros(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """As ``np.zeros``, from memory that was used before where there is some."""
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
    while isinstance(array.base, np.ndarray) and not isinstance(array, _Lease):
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
    return isinstance(owner, _Lease) and array.nbytes == owner.nbytes and array.flags.writeable


def sent_ahead(batches: Iterable[tuple[np.ndarray, Any]]) -> Iterable[tuple[np.ndarray, Any]]:
    """The same batches (images, labels): they are where they are needed."""
    return batches


def read_later(*arrays: np.ndarray) -> Callable[[], Sequence[np.ndarray]]:
    """A function that gives the arrays: their numbers are known at once."""
    return lambda: arrays


_kept = threading.local()


def workspace(name: str, lanes: int, size: int, dtype: np.dtype) -> np.ndarray:
    """Scratch memory (lanes, size) that is kept between calls. Lanes begin at a border of a cache line."""
    kept: dict = _kept.__dict__
    per_line = ALIGNMENT // dtype.itemsize
    size = -(-size // per_line) * per_line
    array = kept.get((name, dtype))
    if array is None or array.size < lanes * size:
        array = kept[name, dtype] = empty((lanes * size,), dtype)
    return array[: lanes * size].reshape(lanes, size)
