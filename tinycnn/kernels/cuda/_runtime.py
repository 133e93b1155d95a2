"""The only file that knows what a device array is: CuPy's on a GPU, a stand-in on NumPy in Numba's simulator.

With ``NUMBA_ENABLE_CUDASIM=1`` Numba runs CUDA kernels as Python threads, so that they can be tested anywhere, and read
with a debugger. The stand-in is as strict as CuPy: only :func:`to_host` and ``item`` turn it into NumPy's, and
:data:`transfers` counts how often they did.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

if not hasattr(np, "row_stack"):  # numba-cuda 0.30 uses it in every compilation, NumPy 2.5 no longer has it
    np.row_stack = np.vstack  # type: ignore[attr-defined]  # noqa: NPY201

from numba import config, cuda

from tinycnn.kernels.cuda import _simulated

SIMULATED = bool(config.ENABLE_CUDASIM)  # type: ignore[attr-defined]

cupy: Any = None
if not SIMULATED:
    try:
        import cupy  # type: ignore[no-redef]
    except ImportError:
        cupy = None

# The simulator starts a Python thread for each CUDA thread, one block at a time.
THREADS = 8 if SIMULATED else 256
BLOCKS_PER_PROCESSOR = 2 if SIMULATED else 32

Array: type = _simulated.DeviceArray if cupy is None else cupy.ndarray

transfers = _simulated.transfers


# -- kernels -----------------------------------------------------------------------------------------------------------


def kernel(function: Callable) -> Any:
    """A kernel, compiled for the types it is first launched with (:func:`launch`)."""
    return cuda.jit(function)


def device_function(function: Callable) -> Any:
    """A function that kernels call, of their own file or of another."""
    return _simulated.device_function(function) if SIMULATED else cuda.jit(device=True)(function)


@cache
def processors() -> int:
    """How many streaming multiprocessors the GPU has; 1 in the simulator."""
    return 1 if SIMULATED else int(cuda.get_current_device().MULTIPROCESSOR_COUNT)


def launch(function: Any, size: int, *arguments: Any) -> None:
    """Run a kernel of one dimension over ``size`` elements. The kernel loops with the stride of the grid::

    for i in range(cuda.grid(1), size, cuda.gridsize(1)):
    """
    if size:
        blocks = min(-(-size // THREADS), BLOCKS_PER_PROCESSOR * processors())
        launch_grid(function, blocks, THREADS, *arguments)


def launch_grid(function: Any, grid: int | tuple[int, ...], block: int | tuple[int, ...], *arguments: Any) -> None:
    """Run a kernel on a grid of blocks of threads. Arguments are contiguous arrays, and numbers of NumPy's or int."""
    function[grid, block](*map(_simulated.unwrap, arguments) if SIMULATED else arguments)


def synchronize() -> None:
    """Wait until the GPU has done what it was given."""
    if not SIMULATED:
        cuda.synchronize()


# -- arrays ------------------------------------------------------------------------------------------------------------


def empty(shape: tuple[int, ...], dtype: Any) -> Any:
    """A new array whose elements are not set."""
    return _simulated.empty(shape, dtype) if SIMULATED else cupy.empty(shape, dtype)


def zeros(shape: tuple[int, ...], dtype: Any) -> Any:
    """A new array of zeros."""
    out = empty(shape, dtype)
    out.fill(0)
    return out


def contiguous(array: Any) -> Any:
    """The array itself if its elements lie in memory as its shape says, else a copy whose elements do."""
    return array if array.flags.c_contiguous else array.copy()


def from_host(array: np.ndarray) -> Any:
    """A copy of a NumPy array on the device."""
    return _simulated.from_host(array) if SIMULATED else cupy.array(array, order="C")


def to_host(array: Any) -> np.ndarray:
    """A copy of a device array as a NumPy array."""
    return _simulated.to_host(array) if SIMULATED else cupy.asnumpy(array)


def owner(array: Any) -> Any:
    """What owns an array's memory: two arrays that share memory have the same owner."""
    return _simulated.owner(array) if SIMULATED else array.data.mem


def matmul(a: Any, b: Any) -> Any:
    """The matrix product by cuBLAS; in the simulator by NumPy."""
    return np.matmul(a, b) if SIMULATED else cupy.matmul(a, b)
