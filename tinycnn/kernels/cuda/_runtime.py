"""The only file that knows what a GPU's memory is: CuPy's arrays on hardware, NumPy's in Numba's simulator.

With ``NUMBA_ENABLE_CUDASIM=1`` Numba runs CUDA kernels as Python threads, so that they can be tested anywhere, and read
with a debugger. :class:`DeviceArray` is the same on both, and strict: only :func:`to_host` and ``item`` copy numbers
back to the host, which must then wait for the GPU, and :data:`transfers` counts how often they did.
"""

from __future__ import annotations

import math as python_math
import sys
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache, partial, wraps
from itertools import chain
from types import FunctionType, SimpleNamespace
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

if not hasattr(np, "row_stack"):  # numba-cuda 0.30 uses it in every compilation, NumPy 2.5 no longer has it
    np.row_stack = np.vstack  # type: ignore[attr-defined]  # noqa: NPY201

import numba.cuda
from numba import config
from numba.core.types import Type
from numba.np.numpy_support import as_dtype

cuda: Any = numba.cuda
SIMULATED = bool(config.ENABLE_CUDASIM)  # type: ignore[attr-defined]

xp: Any = np
math: Any = python_math
if SIMULATED:
    from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray
    from numba.cuda.simulator.kernel import _get_kernel_context
    from numba.cuda.simulator.kernelapi import FakeCUDAShared

    # As on a GPU, inf and NaN in place of errors, and float32 stays float32.
    math = SimpleNamespace(exp=np.exp, log=np.log, log1p=np.log1p, sqrt=np.sqrt, tanh=np.tanh, pow=np.power)

    _making_shared = threading.Lock()

    def _shared_array(self: Any, shape: Any, dtype: Any) -> np.ndarray:
        """One array for all threads that come to a line; Numba's gives two that come at once an array each."""
        frame = sys._getframe(1)
        place = frame.f_code.co_filename, frame.f_lineno
        with _making_shared:
            if place not in self._allocations:
                self._allocations[place] = np.empty(shape, as_dtype(dtype) if isinstance(dtype, Type) else dtype)
            return self._allocations[place]

    FakeCUDAShared.array = _shared_array  # type: ignore[method-assign]

else:
    cuda.dispatcher.config.CUDA_LOW_OCCUPANCY_WARNINGS = 0  # a small network has small grids
    try:
        import cupy as xp  # type: ignore[no-redef]
    except ImportError:
        xp = None
    with suppress(ImportError):  # it comes with numba-cuda
        from cuda import core

# The simulator starts a Python thread for each CUDA thread, one block at a time.
THREADS = 8 if SIMULATED else 256
BLOCKS_PER_PROCESSOR = 2 if SIMULATED else 32


# -- kernels -----------------------------------------------------------------------------------------------------------


def kernel(function: Callable) -> Any:
    """A kernel, compiled for the types it is first launched with (:func:`launch`)."""
    return cuda.jit(function)


def device_function(function: Callable) -> Any:
    """A function that kernels call, of their own file or of another."""
    return _simulated_device_function(function) if SIMULATED else cuda.jit(device=True)(function)


def _simulated_device_function(function: Callable) -> Callable:
    """A function that sees the running kernel's threads under the name ``cuda``, where it uses it.

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


@cache
def processors() -> int:
    """How many streaming multiprocessors the GPU has; 1 in the simulator."""
    return 1 if SIMULATED else int(cuda.get_current_device().MULTIPROCESSOR_COUNT)


def launch(function: Any, size: int, *arguments: Any) -> None:
    """Run a kernel of one dimension over ``size`` elements.

    There may be fewer threads than elements, so a kernel is a loop with the stride of the grid:
    ``for i in range(cuda.grid(1), size, cuda.gridsize(1))``.
    """
    if size:
        blocks = min(-(-size // THREADS), BLOCKS_PER_PROCESSOR * processors())
        launch_grid(function, blocks, THREADS, *arguments)


def launch_grid(function: Any, grid: int | tuple[int, ...], block: int | tuple[int, ...], *arguments: Any) -> None:
    """Run a kernel on a grid of blocks of threads. Arguments are contiguous arrays, and numbers of NumPy's or int."""
    kinds = tuple(map(_kind, arguments))
    if SIMULATED:
        _simulate(function, grid, block, arguments)
        return
    key = function, grid, block, kinds
    run = _thread.launchers.get(key)
    if run is None:
        run = _thread.launchers[key] = _launcher(*key)
    run(*chain.from_iterable(map(_words, arguments)))


def _kind(argument: Any) -> Any:
    """What a kernel is compiled for: an array's dtype and dimensions, a number's type."""
    if isinstance(argument, DeviceArray):
        if not argument.flags.c_contiguous:
            raise ValueError(f"an array of shape {argument.shape} is not contiguous: pass contiguous(array)")
        return argument.dtype, argument.ndim
    kind = type(argument)
    if kind in (float, np.ndarray):  # float would make float64 arithmetic
        raise TypeError(f"a kernel got a {kind.__name__}, expected device arrays, int, dtype.type(number)")
    return kind


class _Thread(threading.local):
    """A thread's launchers: to make the first makes the GPU's context the thread's."""

    def __init__(self) -> None:
        self.launchers: dict[tuple, Callable[..., None]] = {}


_thread = _Thread()


def _launcher(function: Any, grid: Any, block: Any, kinds: tuple) -> Callable[..., None]:
    """What runs a kernel, compiled for some kinds of arguments, on a grid, when it is given their words.

    It does what Numba's own launch does in the end. That asks each array anew for its type and for an interface to its
    memory, which takes longer than a small kernel runs.
    """
    compiled = function.compile(signature(kinds)).library.get_cufunc().kernel
    return partial(core.launch, core.Stream.from_handle(0), core.LaunchConfig(grid=grid, block=block), compiled)


def signature(kinds: tuple) -> tuple[Any, ...]:
    """Numba's types of arguments. Booleans in memory are bytes."""
    from numba.cuda.np.numpy_support import from_dtype

    def numba_type(kind: Any) -> Any:
        if isinstance(kind, tuple):
            dtype, ndim = kind
            return cuda.types.Array(from_dtype(np.dtype(np.uint8) if dtype == np.bool_ else dtype), ndim, "C")
        return {int: cuda.types.intp, bool: cuda.types.boolean}.get(kind) or from_dtype(np.dtype(kind))

    return tuple(map(numba_type, kinds))


def _words(argument: Any) -> tuple[Any, ...]:
    """An argument as compiled code takes it: of an array two unused pointers, its size, item size, address, shape and
    strides.
    """
    if not isinstance(argument, DeviceArray):
        return (argument,)
    raw = argument.raw
    return 0, 0, raw.size, raw.itemsize, address(raw), *raw.shape, *raw.strides


def address(raw: Any) -> int:
    """Where on the GPU an array's first element lies."""
    return raw.data.ptr


def _simulate(function: Any, grid: Any, block: Any, arguments: tuple) -> None:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)  # at a barrier all threads wait for each other's turn: several times faster
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            function[grid, block](*map(_simulated_argument, arguments))
    finally:
        sys.setswitchinterval(interval)


def _simulated_argument(value: Any) -> Any:
    if not isinstance(value, DeviceArray):
        return value
    return FakeCUDAArray(value.raw.view(np.uint8) if value.dtype == np.bool_ else value.raw)


def synchronize() -> None:
    """Wait until the GPU has done what it was given."""
    if not SIMULATED:
        cuda.synchronize()


# -- arrays ------------------------------------------------------------------------------------------------------------


class Transfers:
    """How many arrays and numbers were copied back to the host."""

    count = 0


transfers = Transfers()


class DeviceArray(NDArrayOperatorsMixin):
    """An array on the device. NumPy's operators and functions on it run the kernels of this package.

    Slices, transposes and reshapes are views where they are in NumPy. What it cannot do raises TypeError.

    Attributes
    ----------
    raw : array
        The memory: CuPy's array, in the simulator NumPy's.
    """

    __slots__ = ("raw",)
    __array_priority__ = 100
    device = "cuda"

    def __init__(self, raw: Any) -> None:
        self.raw = raw

    shape = property(lambda self: self.raw.shape)
    dtype = property(lambda self: self.raw.dtype)
    strides = property(lambda self: self.raw.strides)
    ndim = property(lambda self: self.raw.ndim)
    size = property(lambda self: self.raw.size)
    nbytes = property(lambda self: self.raw.nbytes)
    itemsize = property(lambda self: self.raw.itemsize)
    flags = property(lambda self: self.raw.flags)
    T = property(lambda self: DeviceArray(self.raw.T))

    def __len__(self) -> int:
        return len(self.raw)

    def __iter__(self) -> Iterator[DeviceArray]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return f"DeviceArray(shape={self.shape}, dtype={self.dtype})"

    # -- views and copies ----------------------------------------------------------------------------------------------

    def reshape(self, *shape: Any) -> DeviceArray:
        """The same elements in another shape; a copy if they do not lie in its order."""
        return DeviceArray(contiguous(self).raw.reshape(*shape))

    def ravel(self) -> DeviceArray:
        """All elements in one dimension."""
        return self.reshape(-1)

    def transpose(self, *axes: Any) -> DeviceArray:
        """A view with the dimensions in another order."""
        order = axes if all(isinstance(axis, (int, np.integer)) for axis in axes) else axes[0]
        return DeviceArray(self.raw.transpose(*map(int, order)) if len(order) else self.raw.T)

    def swapaxes(self, first: int, second: int) -> DeviceArray:
        """A view with two dimensions exchanged."""
        return DeviceArray(self.raw.swapaxes(first, second))

    def squeeze(self, axis: Any = None) -> DeviceArray:
        """A view without dimensions of size 1."""
        return DeviceArray(self.raw.squeeze(axis))

    def astype(self, dtype: Any, copy: bool = True) -> DeviceArray:
        """The elements converted to a dtype."""
        if not copy and self.dtype == dtype:
            return self
        return _copied(self, dtype)

    def copy(self, order: str = "C") -> DeviceArray:
        """A contiguous copy on the device."""
        return _copied(self, self.dtype)

    def fill(self, value: float) -> None:
        """Set all elements to one number."""
        self.raw.fill(value)

    def __getitem__(self, index: Any) -> DeviceArray:
        if is_basic(index):
            parts = index if isinstance(index, tuple) else (index,)
            rest = () if any(part is Ellipsis for part in parts) else (...,)  # a view, also of one element
            return DeviceArray(self.raw[(*parts, *rest)])
        from tinycnn.kernels.cuda import indexing

        return indexing.take(self, index)

    def __setitem__(self, index: Any, value: Any) -> None:
        from tinycnn.kernels.cuda import indexing, layout

        if is_basic(index):
            layout.assign(self[index], value)
        else:
            indexing.put(self, index, value)

    # -- reductions ----------------------------------------------------------------------------------------------------

    def sum(self, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> DeviceArray:
        """The sum over some dimensions."""
        from tinycnn.kernels.cuda import reduction

        return reduction.reduce(np.add, self if dtype is None else self.astype(dtype, copy=False), axis, keepdims)

    def mean(self, axis: Any = None, keepdims: bool = False) -> DeviceArray:
        """The mean over some dimensions."""
        total = self.sum(axis, keepdims=keepdims)
        return total / (self.size // total.size if total.size else 1)

    def max(self, axis: Any = None, keepdims: bool = False) -> DeviceArray:
        """The largest along some dimensions; NaN if one is."""
        from tinycnn.kernels.cuda import reduction

        return reduction.reduce(np.maximum, self, axis, keepdims)

    def min(self, axis: Any = None, keepdims: bool = False) -> DeviceArray:
        """The smallest along some dimensions; NaN if one is."""
        from tinycnn.kernels.cuda import reduction

        return reduction.reduce(np.minimum, self, axis, keepdims)

    def argmax(self, axis: int | None = None, keepdims: bool = False) -> DeviceArray:
        """Where the first of the largest is."""
        from tinycnn.kernels.cuda import reduction

        return reduction.argmax(self, axis, keepdims)

    # -- NumPy's functions ---------------------------------------------------------------------------------------------

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = (None,), **options: Any) -> Any:
        from tinycnn.kernels.cuda import elementwise, indexing

        if method == "at" and ufunc is np.add:
            return indexing.add_at(*inputs)
        if method != "__call__" or set(options) - {"dtype"}:
            raise TypeError(f"{ufunc.__name__}.{method} with {sorted(options)} is not for device arrays")
        result = elementwise.evaluate(ufunc, *map(number_or_array, inputs), out=out[0])
        return result.astype(options["dtype"], copy=False) if options.get("dtype") is not None else result

    def __array_function__(self, function: Callable, types: Any, arguments: Any, options: Any) -> Any:
        from tinycnn.kernels.cuda import numpy_functions

        own = getattr(numpy_functions, function.__name__, None)
        if own is None:
            raise TypeError(f"numpy.{function.__name__} is not for device arrays")
        return own(*arguments, **options)

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise TypeError("an array on the GPU does not turn into a NumPy array by itself; use tensor.numpy()")

    # -- numbers on the host -------------------------------------------------------------------------------------------

    def item(self) -> Any:
        """The only element, copied to the host."""
        if self.size != 1:
            raise ValueError(f"item: the array has {self.size} elements, shape {self.shape}; expected one")
        return to_host(self).item()

    def to_host(self) -> np.ndarray:
        """A copy as a NumPy array."""
        return to_host(self)

    def tolist(self) -> Any:
        """All elements, copied to the host."""
        return to_host(self).tolist()

    def __bool__(self) -> bool:
        return bool(self._number())

    def __float__(self) -> float:
        return float(self._number())

    def __int__(self) -> int:
        return int(self._number())

    def _number(self) -> Any:
        if self.size != 1:
            raise TypeError(f"only an array of one element is a number, this has shape {self.shape}")
        return self.item()


Array = DeviceArray


def is_basic(index: Any) -> bool:
    """Whether an index makes a view: of numbers, slices, None and Ellipsis."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(
        part is None or part is Ellipsis or (isinstance(part, (int, np.integer, slice)) and not isinstance(part, bool))
        for part in parts
    )


def number_or_array(value: Any) -> Any:
    """A device array, or a number as Python's; a NumPy array raises TypeError."""
    if isinstance(value, np.ndarray) and value.ndim:
        raise TypeError(f"a NumPy array of shape {value.shape} met an array on the GPU; move it with to('cuda')")
    return value.item() if isinstance(value, (np.ndarray, np.generic)) else value


def _copied(array: DeviceArray, dtype: Any) -> DeviceArray:
    from tinycnn.kernels.cuda import layout

    out = empty(array.shape, dtype)
    layout.assign(out, array)
    return out


def empty(shape: Any, dtype: Any) -> DeviceArray:
    """A new array whose elements are not set. CuPy keeps freed memory and hands it out again.

    Raises
    ------
    MemoryError
        If the GPU has no room for it.
    """
    raw = xp.empty(shape, dtype)
    if SIMULATED and raw.dtype.kind == "f":
        raw.fill(np.nan)  # shows what is read before it was written
    return DeviceArray(raw)


def zeros(shape: Any, dtype: Any) -> DeviceArray:
    """A new array of zeros."""
    return DeviceArray(xp.zeros(shape, dtype))


def contiguous(array: DeviceArray) -> DeviceArray:
    """The array itself if its elements lie in memory as its shape says, else a copy whose elements do."""
    return array if array.flags.c_contiguous else array.copy()


def from_host(array: np.ndarray) -> DeviceArray:
    """A copy of a NumPy array on the device. CuPy sends it from pinned memory, and the host does not wait."""
    return DeviceArray(xp.array(array, order="C"))


def to_host(array: DeviceArray) -> np.ndarray:
    """A copy of a device array as a NumPy array."""
    transfers.count += 1
    return array.raw.copy() if SIMULATED else xp.asnumpy(array.raw)


# -- copies while the GPU computes -------------------------------------------------------------------------------------


class SimulatedStream:
    """Copies in the simulator, made when somebody waits for them: as late as a GPU may. Kernels run at once."""

    def __init__(self) -> None:
        self._given: deque[tuple[np.ndarray, np.ndarray]] = deque()
        self._done = 0

    def copy(self, target: np.ndarray, source: np.ndarray) -> None:
        """Copy later what the source holds then."""
        self._given.append((target, source))

    def record(self) -> SimpleNamespace:
        """An event: it has happened when all is done that was given until now."""
        until = self._done + len(self._given)

        def synchronize() -> None:
            while self._done < until:
                np.copyto(*self._given.popleft())
                self._done += 1

        return SimpleNamespace(synchronize=synchronize)

    def wait_event(self, event: Any) -> None:
        """What is given from now on comes after the event."""
        event.synchronize()


@cache
def kernel_stream() -> Any:
    """CUDA's default stream, on which kernels run and CuPy works."""
    return SimulatedStream() if SIMULATED else xp.cuda.Stream.null


def pinned(size: int) -> np.ndarray:
    """Bytes of the host's memory that stay where they are, so that a GPU can copy them by itself."""
    return np.empty(size, np.uint8) if SIMULATED else np.frombuffer(xp.cuda.alloc_pinned_memory(size), np.uint8)


def in_memory(memory: np.ndarray, like: Any) -> np.ndarray:
    """An array in the first bytes of a memory, of the shape and dtype of another."""
    return memory[: like.nbytes].view(like.dtype).reshape(like.shape)


class Sender:
    """Copies arrays to the device on a stream of their own, beside the kernels.

    An array passes through pinned memory, two pieces in turn; a piece is not written to again before it was copied.
    """

    def __init__(self) -> None:
        self._stream = SimulatedStream() if SIMULATED else xp.cuda.Stream(non_blocking=True)
        self._pinned: deque[tuple[np.ndarray, Any]] = deque()

    def send(self, array: np.ndarray) -> Callable[[], DeviceArray]:
        """Begin to copy an array.

        Returns
        -------
        callable
            Gives the array on the device: kernels that are launched afterwards wait for it, the host does not. It must
            be called, since memory that is let go may be another array's at once.
        """
        memory = np.empty(0, np.uint8)
        if len(self._pinned) == 2:
            memory, copied = self._pinned.popleft()
            copied.synchronize()
        if memory.nbytes < array.nbytes:
            memory = pinned(array.nbytes)
        source = in_memory(memory, array)
        source[...] = array
        target = empty(array.shape, array.dtype)
        self._stream.wait_event(kernel_stream().record())  # the memory may be of an array that kernels still read
        if SIMULATED:
            self._stream.copy(target.raw, source)
        else:
            target.raw.set(source, stream=self._stream)
        arrived = self._stream.record()
        self._pinned.append((memory, arrived))

        def receive() -> DeviceArray:
            kernel_stream().wait_event(arrived)
            return target

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


# -- memory ------------------------------------------------------------------------------------------------------------


def window(array: DeviceArray) -> tuple[DeviceArray, int]:
    """A view's memory from its lowest to its highest element, in one dimension, and where in it element 0 lies."""
    raw = array.raw
    if raw.flags.c_contiguous:
        return DeviceArray(raw.reshape(-1)), 0
    downward = [stride < 0 for stride in raw.strides]
    raw = raw[tuple(slice(None, None, -1) if down else slice(None) for down in downward)]
    reach = [(n - 1) * (stride // raw.itemsize) for n, stride in zip(raw.shape, raw.strides)]
    flat = xp.lib.stride_tricks.as_strided(raw, (sum(reach) + 1 if raw.size else 0,), (raw.itemsize,))
    return DeviceArray(flat), sum(n for n, down in zip(reach, downward) if down)


def repeated(array: DeviceArray, shape: tuple[int, ...]) -> DeviceArray:
    """A view of a larger shape, as NumPy broadcasts."""
    return DeviceArray(xp.broadcast_to(array.raw, shape))


def cut(array: DeviceArray, axis: int, pieces: int) -> DeviceArray:
    """A view with a dimension cut into equal pieces: (..., n, ...) as (..., pieces, n / pieces, ...)."""
    raw, length = array.raw, array.shape[axis] // pieces
    shape = (*raw.shape[:axis], pieces, length, *raw.shape[axis + 1 :])
    strides = (*raw.strides[:axis], raw.strides[axis] * length, *raw.strides[axis:])
    return DeviceArray(xp.lib.stride_tricks.as_strided(raw, shape, strides))


def owner(array: DeviceArray) -> Any:
    """What owns an array's memory: two arrays that share memory have the same owner."""
    if not SIMULATED:
        return array.raw.data.mem
    raw = array.raw
    while isinstance(raw.base, np.ndarray):
        raw = raw.base
    return raw


def is_whole(array: DeviceArray) -> bool:
    """Whether an array's elements are all of its memory, each once."""
    raw = array.raw
    if raw.base is None:
        return True
    return raw.base.nbytes == raw.nbytes and all(stride or n < 2 for n, stride in zip(raw.shape, raw.strides))


def library_matmul(a: DeviceArray, b: DeviceArray, out: DeviceArray | None = None) -> DeviceArray:
    """Matrix products by cuBLAS; in the simulator by NumPy.

    CuPy copies what does not lie as cuBLAS wants it. So a matrix that is repeated is handed over once, and a single
    product as one of two matrices, which may be transposed.
    """
    steps = a.strides[:-2], b.strides[:-2]
    factors = [
        x.raw[tuple(slice(0, 1) if step == 0 != other else slice(None) for step, other in zip(own, others))]
        for x, own, others in ((a, *steps), (b, *steps[::-1]))
    ]
    target = None if out is None else out.raw
    many = tuple(map(max, *(x.shape[:-2] for x in factors)))
    if target is not None and set(many) <= {1}:
        first = (0,) * len(many)
        xp.matmul(*(x[first] for x in factors), out=target[first])
    else:
        target = xp.matmul(*factors, out=target)
    return DeviceArray(target)
