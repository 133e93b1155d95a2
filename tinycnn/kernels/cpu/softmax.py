"""Softmax, its logarithm and cross-entropy: stable, because the largest element is subtracted first.

Loops see rows: the axis is moved last and all axes before it are flattened. Sums are computed in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tinycnn.kernels.cpu.activation import exp_of_negative
from tinycnn.kernels.cpu.machine.parallel import as_contiguous, helper, parallel_for


def softmax(x: np.ndarray, axis: int) -> np.ndarray:
    """Subtract the largest element of a row, and normalise.

    >>> softmax(np.array([[1000.0, 1000.0]]), 1).tolist()
    [[0.5, 0.5]]
    """
    return _along(axis, softmax_loop, x)


def softmax_backward(grad: np.ndarray, out: np.ndarray, axis: int) -> np.ndarray:
    return _along(axis, softmax_backward_loop, grad, out)


def log_softmax(x: np.ndarray, axis: int) -> np.ndarray:
    return _along(axis, log_softmax_loop, x)


def log_softmax_backward(grad: np.ndarray, out: np.ndarray, axis: int) -> np.ndarray:
    return _along(axis, log_softmax_backward_loop, grad, out)


def cross_entropy(
    logits: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray | None,
    ignore_index: int,
    label_smoothing: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute the log-probabilities, then each loss from them."""
    rows, classes = _rows(logits, 1), logits.shape[1]
    log_probabilities, losses = np.empty_like(rows), np.empty(target.shape, logits.dtype)
    sample_weights = np.empty_like(losses)
    log_softmax_loop(len(rows), rows, log_probabilities)
    cross_entropy_loop(
        len(rows),
        log_probabilities,
        as_contiguous(target).reshape(-1),
        _class_weights(weight, classes, logits.dtype),
        ignore_index,
        label_smoothing,
        losses.reshape(-1),
        sample_weights.reshape(-1),
    )
    return losses, sample_weights, _unrows(log_probabilities, logits.shape, 1)


def cross_entropy_backward(
    grad: np.ndarray,
    log_probabilities: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray | None,
    ignore_index: int,
    label_smoothing: float,
) -> np.ndarray:
    rows = _rows(log_probabilities, 1)
    out = np.empty_like(rows)
    cross_entropy_backward_loop(
        len(rows),
        as_contiguous(grad).reshape(-1),
        rows,
        as_contiguous(target).reshape(-1),
        _class_weights(weight, rows.shape[1], rows.dtype),
        ignore_index,
        label_smoothing,
        out,
    )
    return _unrows(out, log_probabilities.shape, 1)


def _along(axis: int, loop: Callable, *arrays: np.ndarray) -> np.ndarray:
    """Run a loop over rows along an axis."""
    rows = [_rows(a, axis) for a in arrays]
    out = np.empty_like(rows[0])
    loop(len(out), *rows, out)
    return _unrows(out, arrays[0].shape, axis)


def _rows(x: np.ndarray, axis: int) -> np.ndarray:
    moved = np.moveaxis(np.atleast_1d(x), axis, -1)
    return as_contiguous(moved).reshape(math.prod(moved.shape[:-1]), moved.shape[-1])


def _unrows(rows: np.ndarray, shape: tuple[int, ...], axis: int) -> np.ndarray:
    """Undo :func:`_rows`."""
    if not shape:
        return rows.reshape(shape)
    others = list(shape)
    length = others.pop(axis)
    return as_contiguous(np.moveaxis(rows.reshape(*others, length), -1, axis))


def _class_weights(weight: np.ndarray | None, classes: int, dtype: np.dtype) -> np.ndarray:
    return np.ones(classes, dtype) if weight is None else as_contiguous(weight.astype(dtype, copy=False))


# -- loops ---------------------------------------------------------------------------------------------------


def _softmax_loop(begin, end, x, out):
    length = x.shape[1]
    for r in range(begin, end):
        largest = -np.inf
        for i in range(length):
            largest = max(largest, x[r, i])
        total = 0.0
        for i in range(length):
            e = exp_of_negative(np.float64(x[r, i]) - largest)
            out[r, i] = e
            total += e
        scale = out.dtype.type(1 / total)
        for i in range(length):
            out[r, i] *= scale


def _softmax_backward_loop(begin, end, grad, s, out):
    length = s.shape[1]
    for r in range(begin, end):
        total = 0.0
        for i in range(length):
            total += np.float64(grad[r, i]) * s[r, i]
        for i in range(length):
            out[r, i] = s[r, i] * (grad[r, i] - out.dtype.type(total))


def _log_probability(x, largest, log_total):
    """Return x - largest - log_total; a helper without "reassoc": a huge ``largest`` would absorb ``log_total``."""
    return (x - largest) - log_total


log_probability = helper(_log_probability)


def _log_softmax_loop(begin, end, x, out):
    length = x.shape[1]
    for r in range(begin, end):
        largest = -np.inf
        for i in range(length):
            largest = max(largest, x[r, i])
        total = 0.0
        for i in range(length):
            total += exp_of_negative(np.float64(x[r, i]) - largest)
        log_total = np.log(total)
        for i in range(length):
            out[r, i] = log_probability(x[r, i], largest, log_total)


def _log_softmax_backward_loop(begin, end, grad, log_p, out):
    length = log_p.shape[1]
    for r in range(begin, end):
        total = 0.0
        for i in range(length):
            total += grad[r, i]
        for i in range(length):
            out[r, i] = grad[r, i] - exp_of_negative(np.float64(log_p[r, i])) * total


def _cross_entropy_loop(begin, end, log_p, target, weight, ignore_index, smoothing, losses, sample_weights):
    classes = log_p.shape[1]
    for r in range(begin, end):
        t = target[r]
        if t == ignore_index:
            losses[r] = 0
            sample_weights[r] = 0
        elif t < 0 or t >= classes:  # outside the array: the functional API refuses it, a kernel alone returns NaN
            losses[r] = np.nan
            sample_weights[r] = np.nan
        else:
            loss = -(1 - smoothing) * weight[t] * log_p[r, t]
            if smoothing > 0:  # else 0 * -inf would be NaN for an impossible class
                total = 0.0
                for c in range(classes):
                    total += np.float64(weight[c]) * log_p[r, c]
                loss -= smoothing / classes * total
            losses[r] = loss
            sample_weights[r] = weight[t]


def _cross_entropy_backward_loop(begin, end, grad, log_p, target, weight, ignore_index, smoothing, out):
    """With loss -sum(a_c l_c), a = (1 - e) w_t one_hot(t) + e / C w, the gradient is sum(a) e**l_c - a_c."""
    classes = log_p.shape[1]
    share = smoothing / classes
    total_weight = 0.0
    for c in range(classes):
        total_weight += weight[c]
    for r in range(begin, end):
        t = target[r]
        if t == ignore_index:
            for c in range(classes):
                out[r, c] = 0
        elif t < 0 or t >= classes:
            for c in range(classes):
                out[r, c] = np.nan
        else:
            g = np.float64(grad[r])
            on_target = (1 - smoothing) * weight[t]
            total = on_target + share * total_weight
            for c in range(classes):
                out[r, c] = g * (total * exp_of_negative(np.float64(log_p[r, c])) - share * weight[c])
            out[r, t] -= g * on_target


softmax_loop = parallel_for(_softmax_loop, reassociate=True)
softmax_backward_loop = parallel_for(_softmax_backward_loop, reassociate=True)
log_softmax_loop = parallel_for(_log_softmax_loop, reassociate=True)
log_softmax_backward_loop = parallel_for(_log_softmax_backward_loop, reassociate=True)
cross_entropy_loop = parallel_for(_cross_entropy_loop, reassociate=True)
cross_entropy_backward_loop = parallel_for(_cross_entropy_backward_loop, reassociate=True)
