"""Optimiser steps, in place, in PyTorch's order of arithmetic: one pass over memory a step."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tinycnn.kernels import contracts
from tinycnn.kernels.arrays import are_plain
from tinycnn.kernels.cpu.machine.parallel import as_contiguous, parallel_for


def sgd_update(
    parameter: np.ndarray,
    grad: np.ndarray,
    momentum_buffer: np.ndarray | None,
    first_step: bool,
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
) -> None:
    """Change the parameter and the buffer in one loop.

    >>> weight = np.array([1.0])
    >>> sgd_update(weight, np.array([2.0]), None, True, 0.25, 0.0, 0.0, 0.0, False)
    >>> weight.item()
    0.5
    """
    changed = (parameter,) if momentum_buffer is None else (parameter, momentum_buffer)
    plain = are_plain(changed, grad)
    if not plain:
        contracts.sgd_update(
            *(parameter, grad, momentum_buffer, first_step, lr, momentum, dampening, weight_decay, nesterov)
        )
    if momentum_buffer is None:
        _in_place(sgd_loop, plain, changed, grad, -lr, weight_decay)
        return
    if first_step:
        momentum_buffer[...] = 0  # it may hold anything, and 0 * NaN is not 0
    take = 1 if first_step else 1 - dampening
    # The step is along take_grad * g + take_velocity * v.
    take_grad, take_velocity = (1, momentum) if nesterov else (0, 1)
    _in_place(
        sgd_momentum_loop,
        plain,
        changed,
        grad,
        *(-lr, momentum, take, weight_decay, take_grad, take_velocity),
    )


def adam_update(
    parameter: np.ndarray,
    grad: np.ndarray,
    exp_avg: np.ndarray,
    exp_avg_sq: np.ndarray,
    step: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    decoupled: bool,
) -> None:
    """Change the parameter and both averages in one loop."""
    changed = (parameter, exp_avg, exp_avg_sq)
    plain = are_plain(changed, grad)
    if not plain or type(step) is not int or step < 1:
        contracts.adam_update(
            *(parameter, grad, exp_avg, exp_avg_sq, step, lr, beta1, beta2, eps, weight_decay, decoupled)
        )
    keep, decay = (1 - lr * weight_decay, 0.0) if decoupled else (1.0, weight_decay)
    step_size, root = lr / (1 - beta1**step), (1 - beta2**step) ** 0.5
    _in_place(
        adam_loop,
        plain,
        changed,
        grad,
        *(keep, decay, 1 - beta1, beta2, 1 - beta2, root, eps, -step_size),
    )


sgd_update.checks_itself = adam_update.checks_itself = True  # type: ignore[attr-defined]


def _in_place(
    loop: Callable, plain: bool, changed: tuple[np.ndarray, ...], grad: np.ndarray, *constants: float
) -> None:
    """Run a loop over flattened arrays. Arrays that are not contiguous are changed in a copy, then written back."""
    dtype = grad.dtype
    if plain:
        loop(grad.size, *[array.reshape(-1) for array in (*changed, grad)], *map(dtype.type, constants))
        return
    work = [as_contiguous(np.asarray(array)) for array in changed]
    flat = [array.reshape(-1) for array in (*work, as_contiguous(np.asarray(grad)))]
    loop(changed[0].size, *flat, *(dtype.type(c) for c in constants))
    for array, result in zip(changed, work):
        if result is not array:
            array[...] = result


# -- loops ---------------------------------------------------------------------------------------------------


def _sgd_loop(begin, end, parameter, grad, minus_lr, weight_decay):
    for i in range(begin, end):
        parameter[i] += minus_lr * (grad[i] + weight_decay * parameter[i])


def _sgd_momentum_loop(
    begin, end, parameter, velocity, grad, minus_lr, momentum, take, weight_decay, take_grad, take_velocity
):
    for i in range(begin, end):
        g = grad[i] + weight_decay * parameter[i]
        v = momentum * velocity[i] + take * g
        velocity[i] = v
        parameter[i] += minus_lr * (take_grad * g + take_velocity * v)


def _adam_loop(begin, end, parameter, m, v, grad, keep, decay, take1, keep2, take2, root, eps, minus_step):
    for i in range(begin, end):
        p = keep * parameter[i]
        g = grad[i] + decay * p
        m[i] += take1 * (g - m[i])
        v[i] = keep2 * v[i] + take2 * g * g
        parameter[i] = p + minus_step * m[i] / (np.sqrt(v[i]) / root + eps)


sgd_loop = parallel_for(_sgd_loop)
sgd_momentum_loop = parallel_for(_sgd_momentum_loop)
adam_loop = parallel_for(_adam_loop)
