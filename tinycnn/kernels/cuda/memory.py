"""What the engine asks about an array's memory, so that it adds gradients in place where nobody else looks."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinycnn.kernels.cuda import _runtime
from tinycnn.kernels.cuda._runtime import DeviceArray, from_host, is_whole, owner


def empty(shape: Any, dtype: Any) -> DeviceArray:
    """A new array whose elements are not set, from CuPy's pool of memory that was used before."""
    return _runtime.empty(shape, dtype)


def is_array(value: Any) -> bool:
    """Whether a value is an array of this device."""
    return isinstance(value, DeviceArray)


def as_array(value: Any) -> DeviceArray:
    """The value itself if it is an array of this device, else a copy of it as one."""
    return value if isinstance(value, DeviceArray) else from_host(np.asanyarray(value))


def memory_of(array: DeviceArray) -> Any:
    """What owns the memory of an array: two that share it have the same owner."""
    return owner(array)


def is_alone(array: DeviceArray) -> bool:
    """Whether an array is all of its memory, so that whoever holds the only one may write to it."""
    return is_whole(array)
