"""Losses: cross-entropy, negative log-likelihood, mean squared error."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinycnn import arguments
from tinycnn.functional.checks import constant, float_tensor
from tinycnn.kernels.arrays import converted
from tinycnn.kernels.geometry import is_int
from tinycnn.ops import loss
from tinycnn.tensor import Tensor
from tinycnn.tensor_functions import where

__all__ = ["cross_entropy", "mse_loss", "nll_loss"]


def cross_entropy(
    input: Tensor,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Return -log softmax(input)[target].

    Parameters
    ----------
    input : Tensor, shape (N, C), (C,) or (N, C, ...)
        Logits: scores before softmax.
    target : integers, shape (N,), () or (N, ...)
        Class indices, as an array, list or tensor.
    weight : array_like, shape (C,), optional
        Factor for each class; "mean" then divides by the sum of the targets' weights.
    ignore_index : int
        Samples with this target are left out of the loss.
    reduction : "mean", "sum" or "none"
    label_smoothing : float
        From 0 to 1: this share of the target is spread evenly over all classes.

    Raises
    ------
    ValueError
        If shapes do not fit or a target is outside the classes.
    """
    x = float_tensor("cross_entropy", input)
    smoothing = arguments.number("cross_entropy", "label_smoothing", label_smoothing, 0, 1)
    labels, weights = _targets("cross_entropy", x, target, weight, ignore_index)
    single = x.ndim == 1
    batch, classes = (1, x.shape[0]) if single else x.shape[:2]
    inner = labels.reshape(batch, int(np.prod(x.shape[2:])))
    logits = x.reshape(batch, classes, inner.shape[1])
    losses = loss.CrossEntropy.apply(
        logits, inner, weight=weights, ignore_index=int(ignore_index), label_smoothing=smoothing
    )
    return _reduce_weighted("cross_entropy", losses, labels, weights, ignore_index, reduction)


def nll_loss(
    input: Tensor, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean"
) -> Tensor:
    """Return -input[target] for log-probabilities ``input`` (N, C), (C,) or (N, C, ...); see :func:`cross_entropy`."""
    x = float_tensor("nll_loss", input)
    labels, weights = _targets("nll_loss", x, target, weight, ignore_index)
    taken = np.where(labels == ignore_index, 0, labels)
    if x.ndim == 1:
        chosen = x[int(taken)]
    else:
        places = np.ogrid[tuple(slice(n) for n in labels.shape)]
        chosen = x[(places[0], taken, *places[1:])]
    losses = -chosen * _sample_weights(labels, weights, ignore_index, x.dtype)
    losses = where(labels != ignore_index, losses, 0.0)  # also where an ignored log-probability is -inf
    return _reduce_weighted("nll_loss", losses, labels, weights, ignore_index, reduction)


def mse_loss(input: Tensor, target: Any, reduction: str = "mean") -> Tensor:
    """Return (input - target)**2; the shapes must be equal."""
    x = float_tensor("mse_loss", input)
    target = target if isinstance(target, Tensor) else constant("mse_loss", "target", target, x)
    if target.dtype != x.dtype:
        raise TypeError(f"mse_loss: input has dtype {x.dtype} but target has {target.dtype}; convert one of them")
    if x.shape != target.shape:
        raise ValueError(f"mse_loss: input has shape {x.shape} but target has shape {target.shape}")
    difference = x - target
    return _reduce("mse_loss", difference * difference, reduction)


def _reduce(name: str, losses: Tensor, reduction: str) -> Tensor:
    if arguments.choice(name, "reduction", reduction, ("mean", "sum", "none")) == "none":
        return losses
    return losses.mean() if reduction == "mean" else losses.sum()


def _reduce_weighted(
    name: str,
    losses: Tensor,
    labels: np.ndarray,
    weights: np.ndarray | None,
    ignore_index: int,
    reduction: str,
) -> Tensor:
    """Reduce; the mean divides by the weights of the targets that count."""
    if arguments.choice(name, "reduction", reduction, ("mean", "sum", "none")) != "mean":
        return _reduce(name, losses.reshape(labels.shape), reduction)
    total = _sample_weights(labels, weights, ignore_index, losses.dtype).sum(dtype=np.float64)
    return losses.sum() / float(total)


def _sample_weights(labels: np.ndarray, weights: np.ndarray | None, ignore_index: int, dtype: Any) -> np.ndarray:
    counts = labels != ignore_index
    if weights is None:
        return counts.astype(dtype)
    return np.where(counts, weights[np.where(counts, labels, 0)], 0).astype(dtype)


def _targets(name: str, x: Tensor, target: Any, weight: Any, ignore_index: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Return targets as int64 and weights as an array of the input's dtype; raise an error if they do not fit."""
    if not is_int(ignore_index):
        raise TypeError(f"{name}: ignore_index is {ignore_index!r}, expected an integer")
    if not -(2**63) <= ignore_index < 2**63:  # targets become int64, where it would be another number
        raise ValueError(f"{name}: ignore_index is {ignore_index}, expected an integer of 64 bits")
    labels = np.asarray(target.numpy() if isinstance(target, Tensor) else target)
    if labels.dtype.kind not in "iu" and labels.size:
        raise TypeError(f"{name}: target has dtype {labels.dtype}, expected integers (class indices)")
    if x.ndim < 1:
        raise ValueError(f"{name}: input has shape (), expected (N, C), (C,) or (N, C, ...)")
    expected = () if x.ndim == 1 else (x.shape[0], *x.shape[2:])
    if labels.shape != expected:
        raise ValueError(f"{name}: target has shape {labels.shape} but input {x.shape} expects {expected}")
    classes = x.shape[0 if x.ndim == 1 else 1]
    wrong = np.argwhere(((labels < 0) | (labels >= classes)) & (labels != ignore_index))
    if len(wrong):
        at = tuple(int(i) for i in wrong[0])
        raise ValueError(
            f"{name}: target is {labels[at]} at index {at[0] if len(at) == 1 else at}, expected 0 to {classes - 1} for "
            f"{classes} classes"
        )
    labels = labels.astype(np.int64)
    if weight is None:
        return labels, None
    weights = np.asarray(weight.numpy() if isinstance(weight, Tensor) else weight)
    if weights.dtype.kind not in "fiub":
        raise TypeError(f"{name}: weight has dtype {weights.dtype}, expected numbers")
    weights = weights if weights.dtype == x.dtype else converted(weights, x.dtype)
    if weights.shape != (classes,):
        raise ValueError(f"{name}: weight has shape {weights.shape}, expected ({classes},)")
    return labels, weights
