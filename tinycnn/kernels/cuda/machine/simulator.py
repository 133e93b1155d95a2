"""Kernels and streams in Numba's simulator. On a GPU this file is not imported."""

from __future__ import annotations

import sys
import threading
import warnings
from collections import deque
from collections.abc import Callable
from functools import cache, wraps
from types import FunctionType, SimpleNamespace
from typing import Any

import numpy as np
from numba.core.types import Type
from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray
from numba.cuda.simulator.kernel import _get_kernel_context
from numba.cuda.simulator.kernelapi import FakeCUDAShared
from numba.np.numpy_support import as_dtype

from tinycnn.kernels.cuda.machine.device_array import DeviceArray


def run(kernel: Any, grid: int | tuple[int, ...], block: int | tuple[int, ...], arguments: tuple[Any, ...]) -> None:
    """Run a kernel on a grid of blocks of threads, block by block."""
    _share_arrays_between_threads()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)  # at a barrier all threads wait for each other's turn: several times faster
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            kernel[grid, block](*map(_simulated, arguments))
    finally:
        sys.setswitchinterval(interval)


def _simulated(argument: Any) -> Any:
    if not isinstance(argument, DeviceArray):
        return argument
    return FakeCUDAArray(argument.raw.view(np.uint8) if argument.dtype == np.bool_ else argument.raw)


@cache
def _share_arrays_between_threads() -> None:
    """Correct ``cuda.shared.array`` in Numba's simulator, before the first kernel runs.

    All threads that come to a line must get one array. Numba's own function gives two threads that come at the same
    time an array each. It makes the object with this method anew for each launch, so only its class can be changed.
    """
    lock = threading.Lock()

    def shared_array(self: Any, shape: Any, dtype: Any) -> np.ndarray:
        frame = sys._getframe(1)
        line = frame.f_code.co_filename, frame.f_lineno
        with lock:
            if line not in self._allocations:
                self._allocations[line] = np.empty(shape, as_dtype(dtype) if isinstance(dtype, Type) else dtype)
            return self._allocations[line]

    FakeCUDAShared.array = shared_array  # type: ignore[method-assign]


def device_function(function: Callable) -> Callable:
    """Return a function that sees the running kernel's threads under the name ``cuda``, if it uses it.

    Numba's simulator puts them into the function's file, for all threads at once, and takes them out when the first
    thread returns; another file than the kernel's is then left without them.
    """
    if "cuda" not in function.__code__.co_names:
        return function

    @wraps(function)
    def call(*arguments: Any) -> Any:
        names = {**function.__globals__, "cuda": _get_kernel_context()}
        return FunctionType(function.__code__, names, closure=function.__closure__)(*arguments)

    return call


class SimulatedStream:
    """Copies that are made when somebody waits for them: as late as on a GPU at worst. Kernels run at once."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[np.ndarray, np.ndarray]] = deque()
        self._done = 0

    def copy(self, target: np.ndarray, source: np.ndarray) -> None:
        """Copy later what the source holds then."""
        self._waiting.append((target, source))

    def record(self) -> SimpleNamespace:
        """Return an event that happens when all copies that were given until now are made."""
        until = self._done + len(self._waiting)

        def synchronize() -> None:
            while self._done < until:
                np.copyto(*self._waiting.popleft())
                self._done += 1

        return SimpleNamespace(synchronize=synchronize)

    def wait_event(self, event: Any) -> None:
        """Order the copies that are given from now on after the event."""
        event.synchronize()
