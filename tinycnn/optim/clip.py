"""Gradient clipping."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from tinycnn import arguments
from tinycnn.kernels.arrays import overlaps_itself, quiet_for
from tinycnn.kernels.versions import changing
from tinycnn.tensor import Tensor


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> float:
    """Scale all gradients by one factor so that their joint norm is at most ``max_norm``; return the norm before.

    Parameters
    ----------
    parameters : Parameter or iterable of Parameter
        Those without a gradient are left out; one that is listed twice counts once.
    max_norm : float
        At least 0. With ``inf`` nothing is changed.
    norm_type : float
        2, or any p above 0, or ``inf`` for the largest element. (PyTorch also takes 0 and below, which give no norm.)
    error_if_nonfinite : bool
        Raise RuntimeError, and change nothing, if the norm is NaN or infinite. Otherwise, as in PyTorch, the gradients
        become NaN, or 0 where only others are infinite.
    """
    max_norm = _as_limit("clip_grad_norm_: max_norm", max_norm)
    order = _as_limit("clip_grad_norm_: norm_type", norm_type)
    if order == 0:
        raise ValueError(f"clip_grad_norm_: norm_type is {norm_type}, expected above 0")
    holders = _with_gradients("clip_grad_norm_", parameters)
    total = _joint_norm([p.grad for p in holders if p.grad is not None and p.grad.size], order)
    if arguments.flag("clip_grad_norm_", "error_if_nonfinite", error_if_nonfinite) and not math.isfinite(total):
        raise RuntimeError(f"clip_grad_norm_: the norm of the gradients is {total}")
    factor = max_norm / (total + 1e-6)
    if max_norm < math.inf and not factor >= 1:  # also for NaN
        with np.errstate(invalid="ignore"):
            _change(holders, lambda grad: _scale(grad, factor))
    return total


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Limit every element of every gradient to -``clip_value`` ... ``clip_value``."""
    limit = _as_limit("clip_grad_value_: clip_value", clip_value)
    holders = _with_gradients("clip_grad_value_", parameters)
    _change(holders, lambda grad: _clip(grad, limit))


def _as_limit(what: str, value: Any) -> float:
    """Return the number, checked to be at least 0."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(f"{what} is {value!r}, expected a number that fits into a float") from None
    if not number >= 0:
        raise ValueError(f"{what} is {value}, expected at least 0")
    return number


def _with_gradients(function: str, parameters: Any) -> list[Tensor]:
    """Return each tensor that has a gradient, once."""
    if isinstance(parameters, Tensor):
        parameters = [parameters]
    if hasattr(parameters, "parameters"):
        raise TypeError(f"{function}: a {type(parameters).__name__} came, expected its .parameters()")
    if isinstance(parameters, (str, bytes)) or not isinstance(parameters, Iterable):
        raise TypeError(f"{function}: parameters is a {type(parameters).__name__}, expected tensors")
    members = list(parameters)
    for member in members:
        if not isinstance(member, Tensor):
            raise TypeError(f"{function}: parameters must be tensors, one is a {type(member).__name__}")
    if not members:
        warnings.warn(f"{function}: no parameters came, so nothing is clipped; was a generator used up?", stacklevel=3)
    return [p for p in {id(p): p for p in members}.values() if p.grad is not None]


def _joint_norm(gradients: list[Any], order: float) -> float:
    arrays = [g.reshape(-1).astype(np.float64) for g in gradients]
    if not arrays:
        return 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        total = _norm_of_norms(arrays, order)
        largest = _norm_of_norms(arrays, math.inf) if math.isinf(total) else 0.0
        if 0 < largest < math.inf:  # the powers overflowed, the norm need not
            total = largest * _norm_of_norms([array / largest for array in arrays], order)
    return total


def _norm_of_norms(arrays: list[Any], order: float) -> float:
    return float(np.linalg.norm([float(np.linalg.norm(array, order)) for array in arrays], order))


def _change(holders: list[Tensor], change: Callable[[Any], None]) -> None:
    """Change each gradient once, in place; one that cannot be written is replaced."""
    changed: dict[int, tuple[Any, Any]] = {}
    for holder in holders:
        grad: Any = holder.grad
        if id(grad) not in changed:
            result = grad if _is_writable(grad) else grad.copy()
            with changing(result):
                change(result)
            changed[id(grad)] = grad, result
        if changed[id(grad)][1] is not grad:
            holder.grad = changed[id(grad)][1]


def _is_writable(grad: Any) -> bool:
    if not isinstance(grad, np.ndarray):
        return True
    return grad.flags.writeable and not overlaps_itself(grad)


def _clip(grad: Any, limit: float) -> None:
    with quiet_for(limit, grad.dtype):
        np.clip(grad, -limit, limit, out=grad)


def _scale(grad: Any, factor: float) -> None:
    grad *= factor
