"""Versions of buffers: every write that tinycnn makes to an array is counted (as PyTorch does for its tensors).

Views of a buffer share its version. A version is the moment of the last write, and no moment occurs twice: a buffer was
written to since a moment if its version is larger.
"""

from __future__ import annotations

import itertools
import weakref
from typing import Any

import numpy as np

from tinycnn.kernels import for_device, is_on_gpu
from tinycnn.kernels.cpu.machine.allocator import storage_of

_clock = itertools.count(1)
_versions: dict[int, tuple[weakref.ref, int]] = {}  # of the buffers that were written to, by id


class changing:
    """A ``with`` block that writes to arrays: afterwards their buffers have a new version, even if it raised."""

    def __init__(self, *arrays: Any) -> None:
        self._arrays = arrays

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        try:
            self._count()
        except BaseException:  # of a signal handler: the writes were made, so all of them count
            self._count()
            raise

    def _count(self) -> None:
        for array in self._arrays:
            if array is not None:
                _set_version(buffer_of(array))


def now() -> int:
    """Return a new moment, later than all writes so far."""
    return next(_clock)


def version_of(array: Any) -> int:
    """Return the version of an array's buffer, 0 if nothing was written to it.

    >>> x = np.zeros((2, 3))
    >>> before = version_of(x[0])
    >>> with changing(x.T):
    ...     x[1, 2] = 5
    >>> version_of(x[0]) > before
    True
    """
    if not hasattr(array, "shape"):
        return 0
    entry = _versions.get(id(buffer_of(array)))
    return 0 if entry is None else entry[1]


def buffer_of(array: Any) -> Any:
    """Return the object that owns an array's memory; arrays that share memory have the same.

    >>> x = np.zeros(4)
    >>> buffer_of(x[::2]) is x
    True
    """
    if is_on_gpu(array):
        return for_device("cuda").storage_of(array)
    while array.base is not None:
        array = storage_of(array)
        viewed = getattr(array.base, "obj", None)  # a memoryview's
        if viewed is None:
            viewed = getattr(array.base, "base", None)  # of a view by strides (np.lib.stride_tricks)
        if isinstance(array.base, np.ndarray) or not isinstance(viewed, np.ndarray):
            break
        array = viewed
    return array


def _set_version(buffer: Any) -> None:
    key = id(buffer)
    entry = _versions.get(key)
    reference = weakref.ref(buffer, lambda _: _versions.pop(key, None)) if entry is None else entry[0]
    _versions[key] = reference, now()
