"""Small helpers on plain arrays of either device."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, NoReturn

import numpy as np

from tinycnn.kernels import for_device, is_on_gpu

FLOAT_TYPES = (np.dtype(np.float32), np.dtype(np.float64))
LARGEST_FLOAT32 = float(np.finfo(np.float32).max)

_NOTHING = nullcontext()


def as_array(value: Any) -> Any:
    """Return the array itself, on whichever device; a number becomes an array of no dimensions.

    Of an array of a subclass return the plain array: ``*`` of two matrices is another operation.

    Raises
    ------
    TypeError
        If elements are masked: operations would compute with the masked values.
    """
    if type(value) is np.ndarray or is_on_gpu(value):
        return value
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise TypeError(f"an array of shape {value.shape} has masked elements; fill them first: array.filled(0)")
    return np.asarray(value)


def operands(name: str, inputs: tuple[Any, ...], tensor_type: Any) -> tuple[str, list[Any]]:
    """Return the device of all tensors among the inputs of an operation, and the inputs' arrays and numbers there.

    Raises
    ------
    ValueError
        If the tensors are on different devices.
    """
    arrays = [x.data if isinstance(x, tensor_type) else _as_constant(x) for x in inputs]
    if _PLAIN.issuperset(map(type, arrays)):
        return "cpu", arrays
    devices = {x.device for x in inputs if isinstance(x, tensor_type)}
    if len(devices) > 1:
        raise ValueError(f"{name}: inputs are on different devices: {', '.join(sorted(devices))}")
    device = devices.pop() if devices else "cpu"
    if device == "cpu":
        return device, arrays
    to_device = for_device(device).as_array
    return device, [to_device(x) if isinstance(x, np.ndarray) else x for x in arrays]


_PLAIN = frozenset({np.ndarray, float, int, bool, type(None)})


def _as_constant(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return as_array(value)
    return value.item() if isinstance(value, np.generic) else value  # a NumPy scalar would upcast float32


def raise_with_operands(name: str, inputs: tuple[Any, ...], arrays: list[Any], error: Exception) -> NoReturn:
    """Raise an error of an operation again, with its inputs' shapes or types in the message."""
    if isinstance(error, ValueError):
        shapes = ", ".join(str(np.shape(a)) for a in arrays if a is not None)
        raise ValueError(f"{name}: inputs of shape {shapes}: {error}") from error
    kinds = ", ".join(type(x).__name__ for x in inputs)
    raise TypeError(f"{name}: inputs are {kinds}: {error}") from error


def converted(array: Any, dtype: Any) -> Any:
    """Return an array, or a list, as a new array of a dtype; without a warning numbers beyond it become infinite."""
    with np.errstate(all="ignore"):
        return array.astype(dtype) if hasattr(array, "astype") else np.array(array, dtype)


def quiet_for(value: Any, dtype: Any) -> AbstractContextManager:
    """Return a ``with`` block without NumPy's warnings if a value may not fit into a dtype, else one that does nothing.

    Numbers beyond a dtype become infinite, as in PyTorch; the usual case does not pay for it.
    """
    kind = type(value)
    usual = abs(value) <= LARGEST_FLOAT32 if kind is float or kind is int else getattr(value, "dtype", None) == dtype
    return _NOTHING if usual else np.errstate(all="ignore")


def without_upcast(output: Any, inputs: list[Any]) -> Any:
    """Return float32 unless an input was float64 (integers divide and average to float32)."""
    if output.dtype == np.float64 and not any(getattr(x, "dtype", None) == np.float64 for x in inputs):
        return output.astype(np.float32)
    return output


def unbroadcast(grad: Any, shape: tuple[int, ...]) -> Any:
    """Sum a gradient over the dimensions along which an array of ``shape`` was broadcast.

    Raises
    ------
    ValueError
        If an array of ``shape`` does not broadcast to the gradient's shape.
    """
    extra = grad.ndim - len(shape)
    repeated = tuple(i for i in range(grad.ndim) if i < extra or (shape[i - extra] == 1 and grad.shape[i] != 1))
    summed = grad.sum(axis=repeated, keepdims=True) if extra >= 0 else grad
    if extra < 0 or summed.shape[extra:] != shape:
        raise ValueError(f"shape {grad.shape} is not a broadcast of {shape}")
    return summed.reshape(shape)


def describe(array: np.ndarray) -> str:
    """Return all values of a small array; range, mean and number of non-finite values of a large one."""
    if array.size <= 64:
        return np.array2string(array, separator=", ", precision=4, prefix="Tensor(")
    if array.dtype not in FLOAT_TYPES:
        return f"{array.min()} to {array.max()}"
    finite = array[np.isfinite(array)]
    if not finite.size:
        return f"no finite value, {array.size} not finite"
    mean = finite.mean(dtype=np.float64)
    text = f"{finite.min():.4g} to {finite.max():.4g}, mean {mean:.4g}"
    return text + (f", {array.size - finite.size} not finite" if finite.size < array.size else "")


def are_plain(changed: tuple[Any, ...], grad: Any) -> bool:
    """True if all are C-contiguous NumPy arrays of one shape and float type, and those to be changed are writable.

    Takes less than a microsecond for three arrays: the usual case of a step, which needs no further check.
    """
    if type(grad) is not np.ndarray or not grad.flags.c_contiguous:
        return False
    shape, dtype = grad.shape, grad.dtype
    for array in changed:
        if (
            type(array) is not np.ndarray
            or not array.flags.carray  # C-contiguous, aligned and writable
            or array.shape != shape
            or array.dtype is not dtype  # NumPy has one object for each native dtype
        ):
            return False
    return dtype in FLOAT_TYPES


def overlaps_itself(array: np.ndarray) -> bool:
    """True if elements of an array share memory, as those of ``np.broadcast_to`` do.

    Some exotic strides of separate elements count as shared too; slices, transposes and reshapes do not.
    """
    if array.flags.c_contiguous:
        return False
    reach = array.itemsize
    for stride, size in sorted((abs(stride), size) for stride, size in zip(array.strides, array.shape) if size > 1):
        if stride < reach:
            return array.size > 0
        reach += stride * (size - 1)
    return False
