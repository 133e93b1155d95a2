"""Arrays in a GPU's memory, made from CuPy's on hardware and NumPy's in the simulator.

:class:`DeviceArray` is the same on both, and strict: only :func:`to_host` and ``item`` copy numbers back to the host,
which must then wait for the GPU, and :data:`transfers` counts how often they did.

An array's operators and methods run kernels, and kernels take arrays. So that imports point one way, the files that
hold the kernels register them here: :func:`operation`, :func:`implements`. Other files import
:mod:`tinycnn.kernels.cuda.array`, which makes sure that all are registered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from tinycnn.kernels.cuda.machine import target
from tinycnn.kernels.cuda.machine.target import SIMULATED

AnyFunction = TypeVar("AnyFunction", bound=Callable[..., Any])

OPERATIONS: dict[str, Callable[..., Any]] = {}  # what an array's methods run, by name
HANDLED_FUNCTIONS: dict[Callable, Callable[..., Any]] = {}  # NumPy's functions, and what they run on device arrays


def operation(function: AnyFunction) -> AnyFunction:
    """Register a function that a method of :class:`DeviceArray` runs under the function's name."""
    OPERATIONS[function.__name__] = function
    return function


def implements(numpy_function: Callable) -> Callable[[AnyFunction], AnyFunction]:
    """Register what a function of NumPy's runs on device arrays, as NumPy's protocol ``__array_function__`` has it."""

    def register(function: AnyFunction) -> AnyFunction:
        HANDLED_FUNCTIONS[numpy_function] = function
        return function

    return register


class Transfers:
    """The number of arrays and numbers that were copied back to the host."""

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
        """Return the same elements in another shape: a view, or a copy if they are not stored in its order."""
        return DeviceArray(contiguous(self).raw.reshape(*shape))

    def ravel(self) -> DeviceArray:
        """Return all elements in one dimension."""
        return self.reshape(-1)

    def transpose(self, *axes: Any) -> DeviceArray:
        """Return a view with the dimensions in another order."""
        order = axes if all(isinstance(axis, (int, np.integer)) for axis in axes) else axes[0]
        return DeviceArray(self.raw.transpose(*map(int, order)) if len(order) else self.raw.T)

    def swapaxes(self, first: int, second: int) -> DeviceArray:
        """Return a view with two dimensions exchanged."""
        return DeviceArray(self.raw.swapaxes(first, second))

    def squeeze(self, axis: Any = None) -> DeviceArray:
        """Return a view without dimensions of size 1."""
        return DeviceArray(self.raw.squeeze(axis))

    def astype(self, dtype: Any, copy: bool = True) -> DeviceArray:
        """Return the elements converted to a dtype."""
        if not copy and self.dtype == dtype:
            return self
        return _copied(self, dtype)

    def copy(self, order: str = "C") -> DeviceArray:
        """Return a contiguous copy on the device."""
        return _copied(self, self.dtype)

    def fill(self, value: float) -> None:
        """Set all elements to one number."""
        self.raw.fill(value)

    def __getitem__(self, index: Any) -> DeviceArray:
        if is_basic(index):
            parts = index if isinstance(index, tuple) else (index,)
            rest = () if any(part is Ellipsis for part in parts) else (...,)  # a view, also of one element
            return DeviceArray(self.raw[(*parts, *rest)])
        return OPERATIONS["take"](self, index)

    def __setitem__(self, index: Any, value: Any) -> None:
        if is_basic(index):
            OPERATIONS["assign"](self[index], value)
        else:
            OPERATIONS["put"](self, index, value)

    # -- reductions ----------------------------------------------------------------------------------------------------

    def sum(self, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> DeviceArray:
        """Return the sum over some dimensions."""
        return OPERATIONS["reduce"](np.add, self if dtype is None else self.astype(dtype, copy=False), axis, keepdims)

    def mean(self, axis: Any = None, keepdims: bool = False) -> DeviceArray:
        """Return the mean over some dimensions."""
        total = self.sum(axis, keepdims=keepdims)
        return total / (self.size // total.size if total.size else 1)

    def max(self, axis: Any = None, keepdims: bool = False) -> DeviceArray:
        """Return the largest along some dimensions; NaN if one is."""
        return OPERATIONS["reduce"](np.maximum, self, axis, keepdims)

    def min(self, axis: Any = None, keepdims: bool = False) -> DeviceArray:
        """Return the smallest along some dimensions; NaN if one is."""
        return OPERATIONS["reduce"](np.minimum, self, axis, keepdims)

    def argmax(self, axis: int | None = None, keepdims: bool = False) -> DeviceArray:
        """Return the index of the first of the largest."""
        return OPERATIONS["argmax"](self, axis, keepdims)

    # -- NumPy's functions ---------------------------------------------------------------------------------------------

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = (None,), **options: Any) -> Any:
        if method == "at" and ufunc is np.add:
            return OPERATIONS["add_at"](*inputs)
        if method != "__call__" or set(options) - {"dtype"}:
            raise TypeError(f"{ufunc.__name__}.{method} with {sorted(options)} is not for device arrays")
        result = OPERATIONS["evaluate"](ufunc, *map(number_or_array, inputs), out=out[0])
        return result.astype(options["dtype"], copy=False) if options.get("dtype") is not None else result

    def __array_function__(self, function: Callable, types: Any, arguments: Any, options: Any) -> Any:
        own = HANDLED_FUNCTIONS.get(function)
        if own is None:
            raise TypeError(f"numpy.{function.__name__} is not for device arrays")
        return own(*arguments, **options)

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise TypeError("an array on the GPU does not turn into a NumPy array by itself; use tensor.numpy()")

    # -- numbers on the host -------------------------------------------------------------------------------------------

    def item(self) -> Any:
        """Return the only element, copied to the host."""
        if self.size != 1:
            raise ValueError(f"item: the array has {self.size} elements, shape {self.shape}; expected one")
        return to_host(self).item()

    def to_host(self) -> np.ndarray:
        """Return a copy as a NumPy array."""
        return to_host(self)

    def tolist(self) -> Any:
        """Return all elements as nested lists, copied to the host."""
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


def is_basic(index: Any) -> bool:
    """True if an index makes a view: if it consists of numbers, slices, None and Ellipsis."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(
        part is None or part is Ellipsis or (isinstance(part, (int, np.integer, slice)) and not isinstance(part, bool))
        for part in parts
    )


def number_or_array(value: Any) -> Any:
    """Return a device array, or a number as Python's; a NumPy array raises TypeError."""
    if isinstance(value, np.ndarray) and value.ndim:
        raise TypeError(f"a NumPy array of shape {value.shape} met an array on the GPU; move it with to('cuda')")
    return value.item() if isinstance(value, (np.ndarray, np.generic)) else value


def _copied(array: DeviceArray, dtype: Any) -> DeviceArray:
    out = empty(array.shape, dtype)
    OPERATIONS["assign"](out, array)
    return out


def empty(shape: Any, dtype: Any) -> DeviceArray:
    """Return a new array whose elements are not set. CuPy keeps freed memory and hands it out again.

    Raises
    ------
    MemoryError
        If the GPU has no room for it.
    """
    raw = target.xp.empty(shape, dtype)
    if SIMULATED and raw.dtype.kind == "f":
        raw.fill(np.nan)  # shows what is read before it was written
    return DeviceArray(raw)


def zeros(shape: Any, dtype: Any) -> DeviceArray:
    """Return a new array of zeros."""
    return DeviceArray(target.xp.zeros(shape, dtype))


def contiguous(array: DeviceArray) -> DeviceArray:
    """Return the array itself if it is C-contiguous, else a copy that is."""
    return array if array.flags.c_contiguous else array.copy()


def from_host(array: np.ndarray) -> DeviceArray:
    """Return a copy of a NumPy array on the device. CuPy sends it from pinned memory, and the host does not wait."""
    return DeviceArray(target.xp.array(array, order="C"))


def to_host(array: DeviceArray) -> np.ndarray:
    """Return a copy of a device array as a NumPy array."""
    transfers.count += 1
    return array.raw.copy() if SIMULATED else target.xp.asnumpy(array.raw)
