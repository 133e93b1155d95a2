"""Softmax, its logarithm and cross-entropy: stable, because the largest element is subtracted first.

An array is seen as (outer, length, inner), the axis in the middle; a row is the ``length`` elements of one outer and
one inner index. One block of threads does one row: its threads take turns at the elements, and a sum over the row is a
tree over the threads.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from tinycnn.kernels.cuda.array import DeviceArray, contiguous, empty
from tinycnn.kernels.cuda.machine.launch import device_function, kernel, launch_grid
from tinycnn.kernels.cuda.machine.reduce import block_max, block_sum, threads_for
from tinycnn.kernels.cuda.machine.target import THREADS, cuda, math


def softmax(x: DeviceArray, axis: int) -> DeviceArray:
    return _along(axis, softmax_kernel, x)


def softmax_backward(grad: DeviceArray, out: DeviceArray, axis: int) -> DeviceArray:
    return _along(axis, softmax_backward_kernel, grad, out)


def log_softmax(x: DeviceArray, axis: int) -> DeviceArray:
    return _along(axis, log_softmax_kernel, x)


def log_softmax_backward(grad: DeviceArray, out: DeviceArray, axis: int) -> DeviceArray:
    return _along(axis, log_softmax_backward_kernel, grad, out)


def cross_entropy(
    logits: DeviceArray,
    target: DeviceArray,
    weight: DeviceArray | None,
    ignore_index: int,
    label_smoothing: float,
) -> tuple[DeviceArray, DeviceArray, DeviceArray]:
    log_probabilities = log_softmax(logits, 1)
    losses, sample_weights = empty(target.shape, logits.dtype), empty(target.shape, logits.dtype)
    options = _class_weights(weight, logits), ignore_index, *_shares(label_smoothing, logits)
    _launch_rows(cross_entropy_kernel, log_probabilities, contiguous(target), *options, losses, sample_weights)
    return losses, sample_weights, log_probabilities


def cross_entropy_backward(
    grad: DeviceArray,
    log_probabilities: DeviceArray,
    target: DeviceArray,
    weight: DeviceArray | None,
    ignore_index: int,
    label_smoothing: float,
) -> DeviceArray:
    out, log_probabilities = empty(log_probabilities.shape, log_probabilities.dtype), contiguous(log_probabilities)
    options = _class_weights(weight, out), ignore_index, *_shares(label_smoothing, out)
    _launch_rows(cross_entropy_backward_kernel, log_probabilities, contiguous(target), *options, contiguous(grad), out)
    return out


def _along(axis: int, function: Any, *arrays: DeviceArray) -> DeviceArray:
    """Launch a kernel over the rows along an axis."""
    shape = arrays[0].shape
    sizes = shape or (1,)
    axis %= len(sizes)
    split = prod(sizes[:axis]), sizes[axis], prod(sizes[axis + 1 :])
    out = empty(shape, arrays[0].dtype)
    _launch_rows(function, *(contiguous(a).reshape(split) for a in (*arrays, out)))
    return out


def _launch_rows(function: Any, rows: DeviceArray, *others: Any) -> None:
    """One block for each row of (outer, length, inner)."""
    outer, length, inner = rows.shape
    if rows.size:
        launch_grid(function, outer * inner, threads_for(length), rows, *others)


def _class_weights(weight: DeviceArray | None, like: DeviceArray) -> DeviceArray:
    if weight is not None:
        return contiguous(weight.astype(like.dtype, copy=False))
    ones = empty(like.shape[1:2], like.dtype)
    ones.fill(1)
    return ones


def _shares(label_smoothing: float, like: DeviceArray) -> tuple[DeviceArray, DeviceArray]:
    """Return the weights in the loss of the target's class, and of each class (label smoothing)."""
    real = like.dtype.type
    return real(1 - label_smoothing), real(label_smoothing / max(like.shape[1], 1))


# -- kernels -----------------------------------------------------------------------------------------------------------


@device_function
def exp_sum(x, outer, inner, largest, shared):
    """The sum of e**(x - largest) over a row."""
    total = x.dtype.type(0)
    for c in range(cuda.threadIdx.x, x.shape[1], cuda.blockDim.x):
        total += math.exp(x[outer, c, inner] - largest)
    return block_sum(total, shared)


@device_function
def row_max(x, outer, inner, shared):
    """The largest element of a row."""
    largest = x.dtype.type(-np.inf)
    for c in range(cuda.threadIdx.x, x.shape[1], cuda.blockDim.x):
        largest = max(largest, x[outer, c, inner])
    return block_max(largest, shared)


@kernel
def softmax_kernel(x, out):
    """Block = row."""
    shared = cuda.shared.array(THREADS, x.dtype)
    outer, inner = cuda.blockIdx.x // x.shape[2], cuda.blockIdx.x % x.shape[2]
    largest = row_max(x, outer, inner, shared)
    total = exp_sum(x, outer, inner, largest, shared)
    for c in range(cuda.threadIdx.x, x.shape[1], cuda.blockDim.x):
        out[outer, c, inner] = math.exp(x[outer, c, inner] - largest) / total


@kernel
def softmax_backward_kernel(grad, s, out):
    """Block = row."""
    shared = cuda.shared.array(THREADS, s.dtype)
    outer, inner = cuda.blockIdx.x // s.shape[2], cuda.blockIdx.x % s.shape[2]
    total = s.dtype.type(0)
    for c in range(cuda.threadIdx.x, s.shape[1], cuda.blockDim.x):
        total += grad[outer, c, inner] * s[outer, c, inner]
    total = block_sum(total, shared)
    for c in range(cuda.threadIdx.x, s.shape[1], cuda.blockDim.x):
        out[outer, c, inner] = s[outer, c, inner] * (grad[outer, c, inner] - total)


@kernel
def log_softmax_kernel(x, out):
    """Block = row."""
    shared = cuda.shared.array(THREADS, x.dtype)
    outer, inner = cuda.blockIdx.x // x.shape[2], cuda.blockIdx.x % x.shape[2]
    largest = row_max(x, outer, inner, shared)
    log_total = math.log(exp_sum(x, outer, inner, largest, shared))
    for c in range(cuda.threadIdx.x, x.shape[1], cuda.blockDim.x):
        out[outer, c, inner] = (x[outer, c, inner] - largest) - log_total


@kernel
def log_softmax_backward_kernel(grad, log_p, out):
    """Block = row."""
    shared = cuda.shared.array(THREADS, log_p.dtype)
    outer, inner = cuda.blockIdx.x // log_p.shape[2], cuda.blockIdx.x % log_p.shape[2]
    total = log_p.dtype.type(0)
    for c in range(cuda.threadIdx.x, log_p.shape[1], cuda.blockDim.x):
        total += grad[outer, c, inner]
    total = block_sum(total, shared)
    for c in range(cuda.threadIdx.x, log_p.shape[1], cuda.blockDim.x):
        out[outer, c, inner] = grad[outer, c, inner] - math.exp(log_p[outer, c, inner]) * total


@kernel
def cross_entropy_kernel(log_p, target, weight, ignore_index, on_target, on_each, losses, sample_weights):
    """Block = row."""
    shared = cuda.shared.array(THREADS, log_p.dtype)
    outer, inner = cuda.blockIdx.x // log_p.shape[2], cuda.blockIdx.x % log_p.shape[2]
    smooth = log_p.dtype.type(0)
    if on_each > 0:  # else 0 * -inf would make NaN of an impossible class
        for c in range(cuda.threadIdx.x, log_p.shape[1], cuda.blockDim.x):
            smooth += weight[c] * log_p[outer, c, inner]
    smooth = block_sum(smooth, shared)
    if cuda.threadIdx.x == 0:
        t = target[outer, inner]
        if t == ignore_index:
            losses[outer, inner] = 0
            sample_weights[outer, inner] = 0
        elif t < 0 or t >= log_p.shape[1]:  # outside the array
            losses[outer, inner] = log_p.dtype.type(np.nan)
            sample_weights[outer, inner] = log_p.dtype.type(np.nan)
        else:
            losses[outer, inner] = -on_target * weight[t] * log_p[outer, t, inner] - on_each * smooth
            sample_weights[outer, inner] = weight[t]


@kernel
def cross_entropy_backward_kernel(log_p, target, weight, ignore_index, on_target, on_each, grad, out):
    """Block = row.

    The loss is -sum(a_c l_c), a = (1 - e) w_t one_hot(t) + e / C w; the gradient sum(a) e**l_c - a_c.
    """
    shared = cuda.shared.array(THREADS, log_p.dtype)
    outer, inner = cuda.blockIdx.x // log_p.shape[2], cuda.blockIdx.x % log_p.shape[2]
    total = log_p.dtype.type(0)
    for c in range(cuda.threadIdx.x, log_p.shape[1], cuda.blockDim.x):
        total += weight[c]
    total = block_sum(total, shared) * on_each
    t, g = target[outer, inner], grad[outer, inner]
    ignored = t == ignore_index
    if t < 0 or t >= log_p.shape[1]:  # outside the array
        g = log_p.dtype.type(np.nan)
    elif not ignored:
        total += on_target * weight[t]
    for c in range(cuda.threadIdx.x, log_p.shape[1], cuda.blockDim.x):
        if ignored:
            out[outer, c, inner] = 0
        else:
            share = on_each * weight[c]
            if c == t:
                share += on_target * weight[c]
            out[outer, c, inner] = g * (total * math.exp(log_p[outer, c, inner]) - share)
