"""Device arrays without a device, as strict as CuPy's: for Numba's simulator.

A mistake that would copy a device array to the host on a GPU, and wait for it, raises TypeError here as it does in
CuPy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from types import FunctionType
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin


def device_function(function: Callable) -> Callable:
    """A function that sees the running kernel's threads under the name ``cuda``.

    Numba's simulator puts them into the function's file, for all threads at once, and takes them out when the first
    thread returns; another file than the kernel's is then left without them.
    """
    from numba.cuda.simulator.kernel import _get_kernel_context

    @wraps(function)
    def call(*arguments: Any) -> Any:
        names = {**function.__globals__, "cuda": _get_kernel_context()}
        return FunctionType(function.__code__, names)(*arguments)

    return call


class _Transfers:
    """How many arrays and numbers were copied from the device to the host."""

    count = 0


transfers = _Transfers()

# What both NumPy and CuPy have, of all that NumPy lets other arrays take over.
_FUNCTIONS = frozenset(
    (
        np.argmax, np.argsort, np.array_equal, np.broadcast_to, np.clip, np.concatenate, np.empty_like, np.full_like,
        np.max, np.mean, np.moveaxis, np.ndim, np.ones_like, np.result_type, np.shape, np.split, np.squeeze, np.stack,
        np.sum, np.swapaxes, np.take_along_axis, np.transpose, np.where, np.zeros_like,
    )
)  # fmt: skip


class DeviceArray(NDArrayOperatorsMixin):
    """An array on the device that is played by a NumPy array."""

    __slots__ = ("_host",)
    __array_priority__ = 100

    def __init__(self, host: np.ndarray) -> None:
        self._host = host

    shape = property(lambda self: self._host.shape)
    dtype = property(lambda self: self._host.dtype)
    strides = property(lambda self: self._host.strides)
    ndim = property(lambda self: self._host.ndim)
    size = property(lambda self: self._host.size)
    nbytes = property(lambda self: self._host.nbytes)
    itemsize = property(lambda self: self._host.itemsize)
    flags = property(lambda self: self._host.flags)
    T = property(lambda self: DeviceArray(self._host.T))

    def __getattr__(self, name: str) -> Any:
        if name not in _METHODS:
            raise AttributeError(f"a device array has no attribute {name!r}")
        method = getattr(self._host, name)
        return lambda *arguments, **options: _wrap(method(*unwrap(arguments), **unwrap(options)))

    def copy(self, order: str = "C") -> DeviceArray:
        """A copy on the device."""
        return DeviceArray(self._host.copy(order=order))  # type: ignore[arg-type]

    def fill(self, value: float) -> None:
        """Set all elements to one number."""
        self._host.fill(value)

    def __getitem__(self, index: Any) -> DeviceArray:
        return _wrap(self._host[_index(index)])

    def __setitem__(self, index: Any, value: Any) -> None:
        _refuse_host_arrays((value,))
        self._host[_index(index)] = unwrap(value)

    def __len__(self) -> int:
        return len(self._host)

    def __iter__(self) -> Iterator[DeviceArray]:
        return (self[i] for i in range(len(self)))

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        if method != "__call__":
            raise TypeError(f"{ufunc.__name__}.{method} is not for device arrays")
        _refuse_host_arrays(inputs)
        results = getattr(ufunc, method)(*unwrap(inputs), **unwrap(options))
        return options["out"][0] if "out" in options else _wrap(results)

    def __array_function__(self, function: Callable, types: Any, arguments: Any, options: Any) -> Any:
        if function not in _FUNCTIONS:
            raise TypeError(f"numpy.{function.__name__} is not for device arrays")
        _refuse_host_arrays(arguments)
        return _wrap(function(*unwrap(arguments), **unwrap(options)))

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise TypeError("a device array does not turn into a NumPy array by itself; use tensor.numpy()")

    def item(self) -> Any:
        """The only element, copied to the host."""
        transfers.count += 1
        return self._host.item()

    def __bool__(self) -> bool:
        return bool(self._only())

    def __float__(self) -> float:
        return float(self._only())

    def __int__(self) -> int:
        return int(self._only())

    def _only(self) -> Any:
        if self.size != 1:
            raise TypeError(f"only a device array of one element is a number, this has shape {self.shape}")
        return self.item()

    def __repr__(self) -> str:
        return f"DeviceArray(shape={self.shape}, dtype={self.dtype})"


_METHODS = frozenset(
    ("argmax", "astype", "max", "mean", "min", "ravel", "reshape", "squeeze", "sum", "swapaxes", "transpose", "view")
)


def unwrap(value: Any) -> Any:
    """The NumPy array behind a device array; lists, tuples and dicts of them likewise."""
    if isinstance(value, DeviceArray):
        return value._host
    if isinstance(value, (list, tuple)):
        return type(value)(map(unwrap, value))
    return {name: unwrap(v) for name, v in value.items()} if isinstance(value, dict) else value


def _wrap(value: Any) -> Any:
    if isinstance(value, (np.ndarray, np.generic)):
        return DeviceArray(np.asarray(value))
    return type(value)(map(_wrap, value)) if isinstance(value, list) else value


def _index(index: Any) -> Any:
    _refuse_host_arrays(index if isinstance(index, tuple) else (index,))
    return unwrap(index)


def _refuse_host_arrays(values: Any) -> None:
    for value in values:
        if isinstance(value, (list, tuple)):
            _refuse_host_arrays(value)
        elif isinstance(value, np.ndarray) and value.ndim:
            raise TypeError(f"a NumPy array of shape {value.shape} met a device array; move it with to('cuda')")


def empty(shape: tuple[int, ...], dtype: Any) -> DeviceArray:
    """As ``np.empty``; filled with what shows that it was read before it was written."""
    host = np.empty(shape, dtype)
    host.fill(np.nan if host.dtype.kind == "f" else 0)
    return DeviceArray(host)


def from_host(array: np.ndarray) -> DeviceArray:
    """A copy of a NumPy array on the device."""
    return DeviceArray(np.array(array, order="C"))


def to_host(array: DeviceArray) -> np.ndarray:
    """A copy of a device array as a NumPy array."""
    transfers.count += 1
    return array._host.copy()


def owner(array: DeviceArray) -> np.ndarray:
    """The array that owns the memory."""
    host = array._host
    while isinstance(host.base, np.ndarray):
        host = host.base
    return host
