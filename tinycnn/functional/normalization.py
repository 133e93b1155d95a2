"""Normalisation over the batch, and over neighbouring channels."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinycnn import arguments
from tinycnn.functional.checks import float_tensor, is_number, running
from tinycnn.kernels.geometry import is_int
from tinycnn.ops import normalization
from tinycnn.tensor import Tensor

__all__ = ["batch_norm", "local_response_norm"]


def batch_norm(
    input: Tensor,
    running_mean: np.ndarray | None,
    running_var: np.ndarray | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    communicator: Any = None,
) -> Tensor:
    """Normalise each channel: (x - mean) / sqrt(var + eps) * weight + bias (Ioffe and Szegedy 2015).

    Parameters
    ----------
    input : Tensor, shape (N, C, ...)
    running_mean, running_var : ndarray, shape (C,), or None
        Used in evaluation; in training updated in place: running += momentum * (batch - running), with the unbiased
        variance.
    weight, bias : Tensor, shape (C,), optional
    training : bool
        Normalise by the batch's own statistics. Without running statistics this is always so.
    momentum, eps : float
    communicator : Communicator, optional
        In training, take mean and variance over the inputs of all its ranks
        (:func:`tinycnn.distributed.synchronize_batch_norm`).

    Raises
    ------
    ValueError
        If shapes do not fit, or a training batch has one value for each channel.
    TypeError
        If weight or bias has another dtype than the input.
    """
    x = float_tensor("batch_norm", input)
    running_mean, running_var = running("running_mean", running_mean), running("running_var", running_var)
    if (running_mean is None) != (running_var is None):
        given, missing = ("running_var", "running_mean") if running_mean is None else ("running_mean", "running_var")
        raise ValueError(f"batch_norm: {given} came without {missing}, expected both or neither")
    eps = arguments.number("batch_norm", "eps", eps, 0)
    if not is_number(momentum):
        raise ValueError(
            f"batch_norm: momentum is {momentum!r}, expected a number; nn.BatchNorm2d takes None for a cumulative mean"
        )
    if communicator is not None and not hasattr(communicator, "allreduce"):
        raise TypeError(f"batch_norm: communicator is a {type(communicator).__name__}, expected a Communicator")
    weight, bias = (
        None if value is None else float_tensor("batch_norm", value, name)
        for name, value in (("weight", weight), ("bias", bias))
    )
    if x.ndim < 2:
        raise ValueError(f"batch_norm: input has shape {x.shape}, expected (N, C, ...)")
    channels = x.shape[1]
    arrays = {"running_mean": running_mean, "running_var": running_var, "weight": weight, "bias": bias}
    for name, array in arrays.items():
        if array is not None and array.shape != (channels,):
            raise ValueError(f"batch_norm: {name} has shape {array.shape} but input {x.shape} expects ({channels},)")
    for name, tensor in (("weight", weight), ("bias", bias)):
        if tensor is not None and tensor.dtype != x.dtype:
            raise TypeError(f"batch_norm: input has dtype {x.dtype} but {name} has {tensor.dtype}; convert one of them")
    training = arguments.flag("batch_norm", "training", training) or running_mean is None
    if training and x.size == channels and communicator is None:
        raise ValueError(f"batch_norm: training needs more than one value for each channel, input has shape {x.shape}")
    return normalization.BatchNorm.apply(
        x,
        weight,
        bias,
        running_mean=running_mean,
        running_var=running_var,
        training=training,
        momentum=momentum,
        eps=eps,
        communicator=communicator,
    )


def local_response_norm(input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """Divide by (k + alpha / size * sum of x**2 over ``size`` neighbouring channels) ** beta.

    Krizhevsky et al. 2012, section 3.3, have alpha without the division by size: pass their alpha times size.
    """
    x = float_tensor("local_response_norm", input)
    if x.ndim < 3:
        raise ValueError(f"local_response_norm: input has shape {x.shape}, expected (N, C, ...)")
    if not is_int(size) or size < 1:
        raise ValueError(f"local_response_norm: size is {size}, expected at least 1")
    given = {"alpha": alpha, "beta": beta, "k": k}
    numbers = {name: arguments.number("local_response_norm", name, value) for name, value in given.items()}
    return normalization.LocalResponseNorm.apply(x, size=int(size), **numbers)
