"""Optimiser steps, in place, in PyTorch's order of arithmetic: each thread moves one parameter after another."""

from __future__ import annotations

from typing import Any

from tinycnn.kernels.cuda.array import DeviceArray, contiguous
from tinycnn.kernels.cuda.machine.launch import kernel, launch
from tinycnn.kernels.cuda.machine.target import cuda, math


def sgd_update(
    parameter: DeviceArray,
    grad: DeviceArray,
    momentum_buffer: DeviceArray | None,
    first_step: bool,
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
) -> None:
    if momentum_buffer is None:
        _in_place(sgd_kernel, (parameter,), grad, -lr, weight_decay)
        return
    if first_step:
        momentum_buffer.fill(0)  # it may hold anything, and 0 * NaN is not 0
    take = 1 if first_step else 1 - dampening
    # The step is along take_grad * g + take_velocity * v.
    take_grad, take_velocity = (1, momentum) if nesterov else (0, 1)
    _in_place(
        sgd_momentum_kernel,
        (parameter, momentum_buffer),
        grad,
        *(-lr, momentum, take, weight_decay, take_grad, take_velocity),
    )


def adam_update(
    parameter: DeviceArray,
    grad: DeviceArray,
    exp_avg: DeviceArray,
    exp_avg_sq: DeviceArray,
    step: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    decoupled: bool,
) -> None:
    keep, decay = (1 - lr * weight_decay, 0.0) if decoupled else (1.0, weight_decay)
    step_size, root = lr / (1 - beta1**step), (1 - beta2**step) ** 0.5
    _in_place(
        adam_kernel,
        (parameter, exp_avg, exp_avg_sq),
        grad,
        *(keep, decay, 1 - beta1, beta2, 1 - beta2, root, eps, -step_size),
    )


def _in_place(function: Any, changed: tuple[DeviceArray, ...], grad: DeviceArray, *constants: float) -> None:
    """Launch a kernel on flat arrays; what is not contiguous is changed in a copy, then written back.

    Raises
    ------
    ValueError
        If the arrays differ in shape or dtype.
    """
    shape, dtype = changed[0].shape, changed[0].dtype
    for array in (*changed[1:], grad):
        if array.shape != shape or array.dtype != dtype:
            raise ValueError(f"optimizer: an array of {array.shape}, {array.dtype} came for one of {shape}, {dtype}")
    real = dtype.type
    work = [contiguous(array) for array in changed]
    flat = (array.reshape(-1) for array in (*work, contiguous(grad)))
    launch(function, changed[0].size, *flat, *(real(c) for c in constants))
    for array, result in zip(changed, work):
        if result is not array:
            array[...] = result


# -- kernels -----------------------------------------------------------------------------------------------------------


@kernel
def sgd_kernel(parameter, grad, minus_lr, weight_decay):
    """Thread = parameter."""
    for i in range(cuda.grid(1), parameter.size, cuda.gridsize(1)):
        parameter[i] += minus_lr * (grad[i] + weight_decay * parameter[i])


@kernel
def sgd_momentum_kernel(parameter, velocity, grad, minus_lr, momentum, take, weight_decay, take_grad, take_velocity):
    """Thread = parameter."""
    for i in range(cuda.grid(1), parameter.size, cuda.gridsize(1)):
        g = grad[i] + weight_decay * parameter[i]
        v = momentum * velocity[i] + take * g
        velocity[i] = v
        parameter[i] += minus_lr * (take_grad * g + take_velocity * v)


@kernel
def adam_kernel(parameter, m, v, grad, keep, decay, take1, keep2, take2, root, eps, minus_step):
    """Thread = parameter."""
    for i in range(cuda.grid(1), parameter.size, cuda.gridsize(1)):
        p = keep * parameter[i]
        g = grad[i] + decay * p
        m[i] += take1 * (g - m[i])
        v[i] = keep2 * v[i] + take2 * g * g
        parameter[i] = p + minus_step * m[i] / (math.sqrt(v[i]) / root + eps)
