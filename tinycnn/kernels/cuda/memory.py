"""Arrays on the GPU: creation, the object that owns their memory, and copies to and from the host."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from tinycnn.kernels.cuda import array as device_arrays
from tinycnn.kernels.cuda.array import DeviceArray, from_host
from tinycnn.kernels.cuda.machine.streams import Sender, to_host_later
from tinycnn.kernels.cuda.machine.views import owner


def empty(shape: Any, dtype: Any) -> DeviceArray:
    """Return an array in CuPy's pool of memory that was used before."""
    return device_arrays.empty(shape, dtype)


def as_array(value: Any) -> DeviceArray:
    return value if isinstance(value, DeviceArray) else from_host(np.asanyarray(value))


def storage_of(array: DeviceArray) -> Any:
    return owner(array)


def prefetch_to_device(batches: Iterable[tuple[np.ndarray, Any]]) -> Iterator[tuple[DeviceArray, Any]]:
    """Copy the next batch to the GPU while one is in use."""
    sender = Sender()
    waiting: deque[tuple[Callable[[], DeviceArray], Any]] = deque()
    try:
        for images, labels in batches:
            waiting.append((sender.send(images), labels))
            if len(waiting) == 2:
                receive, labels = waiting.popleft()
                yield receive(), labels
        while waiting:
            receive, labels = waiting.popleft()
            yield receive(), labels
    finally:
        for receive, _ in waiting:
            receive()


def copy_to_host_async(*arrays: DeviceArray) -> Callable[[], Sequence[np.ndarray]]:
    return to_host_later(*arrays)
