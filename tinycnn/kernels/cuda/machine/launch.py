"""Launches: compile a kernel for its arguments' types, and run it on a grid of blocks of threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from itertools import chain
from typing import Any

import numpy as np

from tinycnn.kernels.cuda.machine import target
from tinycnn.kernels.cuda.machine.device_array import DeviceArray
from tinycnn.kernels.cuda.machine.target import BLOCKS_PER_SM, SIMULATED, THREADS, core, cuda

if SIMULATED:
    from tinycnn.kernels.cuda.machine import simulator


def kernel(function: Callable) -> Any:
    """Return a kernel, compiled for the types with which it is first launched (:func:`launch`)."""
    return cuda.jit(function)


def device_function(function: Callable) -> Any:
    """Return a function that kernels call, of their own file or of another."""
    return simulator.device_function(function) if SIMULATED else cuda.jit(device=True)(function)


def launch(function: Any, size: int, *arguments: Any) -> None:
    """Run a kernel of one dimension over ``size`` elements.

    There may be fewer threads than elements, so a kernel is a loop with the stride of the grid:
    ``for i in range(cuda.grid(1), size, cuda.gridsize(1))``.
    """
    if size:
        blocks = min(-(-size // THREADS), BLOCKS_PER_SM * target.num_sms())
        launch_grid(function, blocks, THREADS, *arguments)


def launch_grid(function: Any, grid: int | tuple[int, ...], block: int | tuple[int, ...], *arguments: Any) -> None:
    """Run a kernel on a grid of blocks of threads. Arguments are contiguous arrays, and numbers of NumPy's or int."""
    types = tuple(map(_argument_type, arguments))
    if SIMULATED:
        simulator.run(function, grid, block, arguments)
        return
    key = function, grid, block, types
    run = launchers.made.get(key)
    if run is None:
        run = launchers.made[key] = make_launcher(*key)
    run(*chain.from_iterable(map(_packed, arguments)))


def _argument_type(argument: Any) -> Any:
    """Return what a kernel is compiled for: an array's dtype and number of dimensions, a number's type."""
    if isinstance(argument, DeviceArray):
        if not argument.flags.c_contiguous:
            raise ValueError(f"an array of shape {argument.shape} is not contiguous: pass contiguous(array)")
        return argument.dtype, argument.ndim
    kind = type(argument)
    if kind in (float, np.ndarray):  # float would make float64 arithmetic
        raise TypeError(f"a kernel got a {kind.__name__}, expected device arrays, int, dtype.type(number)")
    return kind


class Launchers(threading.local):
    """A thread's launchers: making the first makes the GPU's context the thread's."""

    def __init__(self) -> None:
        self.made: dict[tuple, Callable[..., None]] = {}


launchers = Launchers()


def make_launcher(function: Any, grid: Any, block: Any, types: tuple) -> Callable[..., None]:
    """Return a function that runs a kernel, compiled for some types of arguments, on a grid with packed arguments.

    It does what Numba's own launch does in the end. That asks each array anew for its type and for an interface to its
    memory, which takes longer than a small kernel runs.
    """
    target.import_compiler()
    compiled = function.compile(signature(types)).library.get_cufunc().kernel
    return partial(core.launch, core.Stream.from_handle(0), core.LaunchConfig(grid=grid, block=block), compiled)


def signature(types: tuple) -> tuple[Any, ...]:
    """Return Numba's types of arguments. Booleans in memory are bytes."""
    from numba.cuda.np.numpy_support import from_dtype

    def numba_type(kind: Any) -> Any:
        if isinstance(kind, tuple):
            dtype, ndim = kind
            return cuda.types.Array(from_dtype(np.dtype(np.uint8) if dtype == np.bool_ else dtype), ndim, "C")
        return {int: cuda.types.intp, bool: cuda.types.boolean}.get(kind) or from_dtype(np.dtype(kind))

    return tuple(map(numba_type, types))


def _packed(argument: Any) -> tuple[Any, ...]:
    """Return an argument as compiled code takes it.

    An array is two unused pointers, its size, item size, address, shape and strides.
    """
    if not isinstance(argument, DeviceArray):
        return (argument,)
    raw = argument.raw
    return 0, 0, raw.size, raw.itemsize, address(raw), *raw.shape, *raw.strides


def address(raw: Any) -> int:
    """Return the address of an array's first element on the GPU."""
    return raw.data.ptr
