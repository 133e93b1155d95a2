"""Keep gradients from exploding."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tinycnn.tensor import Tensor


def clip_grad_norm_(parameters: Iterable[Tensor], max_norm: float, norm_type: float = 2.0) -> float:
    """Scale all gradients by one factor so that their joint norm is at most ``max_norm``; the norm before is returned.

    Parameters
    ----------
    parameters : iterable of Parameter
        Those without a gradient are left out.
    max_norm : float
    norm_type : float
        2, or any p, or ``inf`` for the largest element.
    """
    if not max_norm >= 0:
        raise ValueError(f"clip_grad_norm_: max_norm is {max_norm}, expected at least 0")
    gradients = [p.grad for p in parameters if p.grad is not None]
    norms = [float(np.linalg.norm(g.reshape(-1).astype(np.float64), norm_type)) for g in gradients]
    total = float(np.linalg.norm(norms, norm_type)) if norms else 0.0
    if total > max_norm:
        for gradient in gradients:
            gradient *= max_norm / (total + 1e-6)
    return total


def clip_grad_value_(parameters: Iterable[Tensor], clip_value: float) -> None:
    """Hold every element of every gradient between -``clip_value`` and ``clip_value``."""
    if not clip_value >= 0:
        raise ValueError(f"clip_grad_value_: clip_value is {clip_value}, expected at least 0")
    for parameter in parameters:
        if parameter.grad is not None:
            np.clip(parameter.grad, -clip_value, clip_value, out=parameter.grad)
