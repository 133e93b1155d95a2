"""Checks of the arguments of functions and layers: each returns the value, or raises an error that names it."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from tinycnn.kernels.arrays import FLOAT_TYPES
from tinycnn.kernels.geometry import is_int
from tinycnn.tensor import Tensor

LARGEST_FLOAT = sys.float_info.max


def float_tensor(name: str, value: Any, argument: str = "input") -> Tensor:
    """Return a tensor of floats; arrays, lists and numbers are constants."""
    tensor = as_tensor(name, value, argument)
    if tensor.dtype not in FLOAT_TYPES:
        raise TypeError(f"{name}: {argument} has dtype {tensor.dtype}, expected float32 or float64")
    return tensor


def as_tensor(name: str, value: Any, argument: str) -> Tensor:
    if isinstance(value, Tensor):
        return value
    try:
        return Tensor(value)
    except TypeError as error:
        raise TypeError(
            f"{name}: {argument} is a {type(value).__name__}, expected a Tensor or an array of floats"
        ) from error


def layer_inputs(name: str, x: Any, weight: Any, bias: Any) -> tuple[Tensor, Tensor, Tensor | None]:
    return (
        float_tensor(name, x),
        float_tensor(name, weight, "weight"),
        None if bias is None else float_tensor(name, bias, "bias"),
    )


def constant(name: str, argument: str, value: Any, x: Tensor) -> Tensor:
    """Return numbers as a tensor of the input's dtype and device."""
    try:
        return Tensor(value, dtype=x.dtype).to(x.device)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name}: {argument} is a {type(value).__name__}, expected numbers") from error


def running(argument: str, value: Any) -> Any:
    """Return running statistics as the array that training changes in place."""
    array = value.data if isinstance(value, Tensor) else value
    if array is not None and not hasattr(array, "dtype"):
        raise TypeError(f"batch_norm: {argument} is a {type(value).__name__}, expected an array")
    if array is not None and array.dtype.kind not in "fiu":
        raise TypeError(f"batch_norm: {argument} has dtype {array.dtype}, expected real numbers")
    return array


def is_number(value: Any) -> bool:
    """True for a number that a float can hold."""
    if isinstance(value, int):
        return not isinstance(value, bool) and abs(value) <= LARGEST_FLOAT
    return isinstance(value, (float, np.integer, np.floating))


def probability(name: str, value: Any) -> float:
    if not is_number(value) or not 0 <= value <= 1:
        raise ValueError(f"{name}: p is {value!r}, expected a probability from 0 to 1")
    return float(value)


def images(name: str, value: Any) -> Tensor:
    tensor = float_tensor(name, value)
    if tensor.ndim != 4:
        raise ValueError(f"{name}: input has shape {tensor.shape}, expected (N, C, H, W)")
    return tensor


def same_dtype(name: str, x: Tensor, weight: Tensor) -> None:
    if x.dtype != weight.dtype:
        raise TypeError(f"{name}: input has dtype {x.dtype} but weight has {weight.dtype}; convert one of them")


def check_bias(name: str, bias: Tensor | None, weight: Tensor) -> None:
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"{name}: bias has shape {bias.shape} but weight {weight.shape} expects ({weight.shape[0]},)")
    if bias is not None and bias.dtype != weight.dtype:
        raise TypeError(f"{name}: bias has dtype {bias.dtype} but weight has {weight.dtype}; convert one of them")


def dimension(name: str, x: Tensor, dim: int) -> int:
    if not is_int(dim):
        raise TypeError(f"{name}: dim is {dim!r}, expected an integer")
    count = max(x.ndim, 1)
    if not -count <= dim < count:
        raise ValueError(f"{name}: dim is {dim}, expected {-count} to {count - 1} for shape {x.shape}")
    return int(dim) % count
