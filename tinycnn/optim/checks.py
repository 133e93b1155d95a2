"""Checks of an optimiser's options, and of the arrays of a step before anything is changed."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinycnn.kernels import is_on_gpu
from tinycnn.kernels.arrays import FLOAT_TYPES, are_plain, overlaps_itself
from tinycnn.tensor import Tensor

NUMBERS = (int, float, np.integer, np.floating)
LARGEST = sys.float_info.max


def check_range(owner: str, name: str, value: Any, low: float = 0.0, high: float = float("inf")) -> None:
    """Raise ValueError unless low <= value < high, and value is a number that a float can hold."""
    if not isinstance(value, NUMBERS) or not low <= value < high or value > LARGEST:
        if low == -float("inf"):
            limit = "a finite number"
        elif high == float("inf"):
            limit = f"at least {low:g}"
        else:
            limit = f"from {low:g} to below {high:g}"
        raise ValueError(f"{owner}: {name} is {value!r}, expected {limit}")


def check_numbers(owner: str, names: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    """Raise ValueError unless these options, which may have been changed by hand, are still finite numbers."""
    for name in names:
        value = options.get(name)
        if not isinstance(value, NUMBERS) or not -LARGEST <= value <= LARGEST:
            raise ValueError(f"{owner}: {name} of a parameter group is {repr(value)[:40]}, expected a finite number")


def describe(groups: Sequence[Mapping[str, Any]], number: int) -> str:
    """Return the words that messages use for a parameter: its number, group, shape and, where it was given, name."""
    first = 0
    for place, group in enumerate(groups):
        members = group["params"]
        if number < first + len(members):
            facts = [f"group {place}", f"shape {np.shape(getattr(members[number - first], 'data', ()))}"]
            names = group.get("param_names", ())
            if number - first < len(names):
                facts.append(f"name {names[number - first]!r}")
            return f"parameter {number} ({', '.join(facts)})"
        first += len(members)
    return f"parameter {number}"


def check_update(parameter: Tensor, state: dict[str, Any], names: tuple[str, ...] | None) -> None:
    """Check that the gradient and the state's arrays fit the parameter, and that it and they can be written.

    A gradient or a state array that overlaps an array which the step changes is replaced by a copy.

    Parameters
    ----------
    parameter : Tensor
        It has a gradient.
    state : dict
    names : tuple of str, or None
        Entries of ``state`` that are arrays of the parameter's shape; None if the optimiser does not declare them.

    Raises
    ------
    ValueError
        With what differs.
    """
    data, grad = parameter.data, parameter.grad
    assert grad is not None
    arrays = (data, *[state[name] for name in names or () if name in state])
    if are_plain(arrays, grad) and not _overlap(*arrays, grad):
        return
    if not _is_array(data):
        raise ValueError(f"its data is a {type(data).__name__}, expected an array")
    if data.dtype not in FLOAT_TYPES:
        raise ValueError(f"its data has dtype {data.dtype}, expected float32 or float64")
    _check_writable("data", data)
    _check_fits("gradient", parameter.grad, data)
    if _device_of(parameter.grad) != _device_of(data):
        raise ValueError(f"its gradient is on {_device_of(parameter.grad)}, expected {_device_of(data)}")
    changed = [data]
    for name in names or ():
        if name in state:
            value = state[name]
            _check_fits(f"state {name!r}", value, data)
            _check_writable(f"state {name!r}", value)
            if any(_may_overlap(value, other) for other in changed):
                value = state[name] = value.copy()
            changed.append(value)
    if any(_may_overlap(parameter.grad, other) for other in changed):
        parameter.grad = parameter.grad.copy()  # type: ignore[union-attr]


def _check_fits(what: str, value: Any, data: Any) -> None:
    if not _is_array(value):
        raise ValueError(f"its {what} is a {type(value).__name__}, expected an array")
    if value.shape != data.shape:
        raise ValueError(f"its {what} has shape {value.shape}, expected {data.shape}")
    if value.dtype != data.dtype:
        raise ValueError(f"its {what} has dtype {value.dtype}, expected {data.dtype}")


def _check_writable(what: str, array: Any) -> None:
    if not isinstance(array, np.ndarray):
        return
    if not array.flags.writeable:
        raise ValueError(f"its {what} is read-only; assign a copy: parameter.data = parameter.data.copy()")
    if overlaps_itself(array):
        raise ValueError(f"its {what} has elements that share memory (strides {array.strides}); assign a copy")


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray) or (is_on_gpu(value) and not isinstance(value, Tensor))


def _device_of(array: Any) -> str:
    return getattr(array, "device", "cpu")


def _overlap(*arrays: np.ndarray) -> bool:
    """True if two of the arrays may share memory. Arrays that own theirs cannot, unless one is listed twice."""
    for array in arrays:
        if not array.flags.owndata:
            return any(np.may_share_memory(a, b) for a, b in itertools.combinations(arrays, 2))
    return len(set(map(id, arrays))) < len(arrays)


def _may_overlap(a: Any, b: Any) -> bool:
    return isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and np.may_share_memory(a, b)
