"""Copies between host and GPU, on a stream of their own while kernels run."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from tinycnn.kernels.cuda.machine import target
from tinycnn.kernels.cuda.machine.device_array import DeviceArray, empty, transfers
from tinycnn.kernels.cuda.machine.target import SIMULATED

if SIMULATED:
    from tinycnn.kernels.cuda.machine.simulator import SimulatedStream


@cache
def kernel_stream() -> Any:
    """Return CUDA's default stream, on which kernels and CuPy run."""
    return SimulatedStream() if SIMULATED else target.xp.cuda.Stream.null


def pinned(size: int) -> np.ndarray:
    """Return bytes of the host's memory that stay where they are, so that a GPU can copy them by itself."""
    return np.empty(size, np.uint8) if SIMULATED else np.frombuffer(target.xp.cuda.alloc_pinned_memory(size), np.uint8)


def in_memory(memory: np.ndarray, like: Any) -> np.ndarray:
    """Return an array in the first bytes of a memory, of the shape and dtype of another."""
    return memory[: like.nbytes].view(like.dtype).reshape(like.shape)


class Sender:
    """Copies arrays to the device on a stream of their own, beside the kernels.

    An array passes through one of two blocks of pinned memory, used in turn; a block is written to again only after it
    was copied.
    """

    def __init__(self) -> None:
        self._stream = SimulatedStream() if SIMULATED else target.xp.cuda.Stream(non_blocking=True)
        self._pinned: deque[tuple[np.ndarray, Any]] = deque()

    def send(self, array: np.ndarray) -> Callable[[], DeviceArray]:
        """Begin to copy an array.

        Returns
        -------
        callable
            Returns the array on the device: kernels that are launched afterwards wait for it, the host does not. It
            must be called, since memory that is freed may be another array's at once.
        """
        memory = np.empty(0, np.uint8)
        if len(self._pinned) == 2:
            memory, copied = self._pinned.popleft()
            copied.synchronize()
        if memory.nbytes < array.nbytes:
            memory = pinned(array.nbytes)
        source = in_memory(memory, array)
        source[...] = array
        copy = empty(array.shape, array.dtype)
        self._stream.wait_event(kernel_stream().record())  # the memory may be of an array that kernels still read
        if SIMULATED:
            self._stream.copy(copy.raw, source)
        else:
            copy.raw.set(source, stream=self._stream)
        arrived = self._stream.record()
        self._pinned.append((memory, arrived))

        def receive() -> DeviceArray:
            kernel_stream().wait_event(arrived)
            return copy

        return receive


def to_host_later(*arrays: DeviceArray) -> Callable[[], list[np.ndarray]]:
    """Begin to copy arrays to the host as they are now; the function returned waits for that, not for later kernels."""
    transfers.count += len(arrays)
    copies = [in_memory(pinned(array.nbytes), array) for array in arrays]
    for array, copy in zip(arrays, copies):
        if SIMULATED:
            np.copyto(copy, array.raw)
        else:
            array.raw.get(stream=kernel_stream(), out=copy, blocking=False)
    copied = kernel_stream().record()

    def read() -> list[np.ndarray]:
        copied.synchronize()
        return copies

    return read
