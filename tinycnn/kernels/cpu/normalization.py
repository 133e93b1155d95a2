"""Batch normalisation and local response normalisation on x (N, C, inner), inner being H * W.

Batch norm works channels last, on rows (N * inner, C): a pixel's channels are neighbours, and so are their sums. Where
channels are few, some rows are taken as one (:func:`.layout.wide`), for loops that are long enough to be fast. A sum
over a channel is taken in float64 over blocks of ``BLOCK`` rows, and then over the blocks in order: the same bits for
any number of threads.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tinycnn.kernels.cpu.machine.allocator import empty
from tinycnn.kernels.cpu.machine.nhwc import to_pixels, wide
from tinycnn.kernels.cpu.machine.parallel import carray, inline, jit

BLOCK = 128

# -- batch normalisation -------------------------------------------------------------------------------------


def batch_norm_statistics(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and biased variance of each channel; 0 where there is nothing to average.

    Each block's mean and squared deviations are merged as in Chan, Golub and LeVeque (1983), which loses no
    digits where mean(x**2) - mean(x)**2 would.

    Parameters
    ----------
    x : (N, C, inner)

    Returns
    -------
    mean, var : (C,)

    Examples
    --------
    >>> batch_norm_statistics(np.array([[[1.0, 2.0]], [[3.0, 6.0]]]))
    (array([3.]), array([3.5]))
    """
    if not x.size:
        return np.zeros(x.shape[1], x.dtype), np.zeros(x.shape[1], x.dtype)
    rows = _rows(x)
    means, squares = _block_sums(moments_loop, x.shape[1], rows)
    mean, var = np.empty(x.shape[1]), np.empty(x.shape[1])
    merge_moments_loop(x.shape[1], len(rows), means, squares, mean, var)
    return _as(x.dtype, mean), _as(x.dtype, var)


def track_statistics(
    running_mean: np.ndarray,
    running_var: np.ndarray,
    mean: np.ndarray,
    var: np.ndarray,
    momentum: float,
    unbiased: float,
) -> None:
    """Move running statistics: running += momentum * (batch - running), with ``unbiased`` times the variance."""
    running_mean += momentum * (mean - running_mean)
    running_var += momentum * (var * unbiased - running_var)


def inverse_std(var: np.ndarray, eps: float) -> np.ndarray:
    """1 / sqrt(var + eps)."""
    return (1 / np.sqrt(var + eps)).astype(var.dtype, copy=False)


def batch_norm(
    x: np.ndarray, mean: np.ndarray, inv_std: np.ndarray, weight: np.ndarray, bias: np.ndarray
) -> np.ndarray:
    """(x - mean) * inv_std * weight + bias (Ioffe and Szegedy 2015).

    Parameters
    ----------
    x : (N, C, inner)
    mean, inv_std, weight, bias : (C,)
    """
    return _affine(x, mean, inv_std * weight, bias)


def batch_norm_backward(
    grad: np.ndarray,
    x: np.ndarray,
    mean: np.ndarray,
    inv_std: np.ndarray,
    weight: np.ndarray,
    reuse: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of x, weight and bias where mean and inv_std are those of x. With ``reuse`` dx may lie where grad does.

    With z = (x - mean) inv_std and averages over a channel:
    dx = weight inv_std (grad - average(grad) - z average(grad z)), dweight = sum(grad z), dbias = sum(grad).
    """
    grad_sum, product_sum = batch_norm_gradient_sums(grad, x, mean)
    count = max(x.shape[0] * x.shape[2], 1)
    dx = batch_norm_backward_input(grad, x, mean, inv_std, weight, grad_sum / count, product_sum / count, reuse)
    return dx, _as(x.dtype, product_sum * inv_std), _as(x.dtype, grad_sum)


def batch_norm_gradient_sums(grad: np.ndarray, x: np.ndarray, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """sum(grad) and sum(grad (x - mean)) of each channel, in float64."""
    rows = _rows(x)
    sums = _block_sums(gradient_sums_loop, x.shape[1], rows, _rows(grad), _constants(rows, mean))
    return tuple(part.sum(axis=(0, 1)) for part in sums)


def batch_norm_backward_input(
    grad: np.ndarray,
    x: np.ndarray,
    mean: np.ndarray,
    inv_std: np.ndarray,
    weight: np.ndarray,
    grad_mean: np.ndarray,
    product_mean: np.ndarray,
    reuse: bool = False,
) -> np.ndarray:
    """The gradient of x alone, given the averages of grad and of grad (x - mean)."""
    slope = inv_std.astype(np.float64) ** 2 * product_mean
    rows = _rows(x)
    constants = _constants(rows, mean, grad_mean, slope, inv_std * weight)
    gradients = _rows(grad)
    if reuse and gradients.flags.writeable and np.may_share_memory(gradients, grad):
        batch_norm_backward_in_place_loop(len(rows), gradients, rows, constants)
        return _unrows(gradients, x.shape)
    out = empty(rows.shape, x.dtype)
    batch_norm_backward_loop(len(rows), gradients, rows, constants, out)
    return _unrows(out, x.shape)


def batch_norm_eval_backward(
    grad: np.ndarray, x: np.ndarray, mean: np.ndarray, inv_std: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of x, weight and bias where mean and inv_std are constants: dx = weight inv_std grad."""
    grad_sum, product_sum = batch_norm_gradient_sums(grad, x, mean)
    zero = np.zeros_like(mean)
    dx = _affine(grad, zero, inv_std * weight, zero)
    return dx, _as(x.dtype, product_sum * inv_std), _as(x.dtype, grad_sum)


def _affine(x: np.ndarray, center: np.ndarray, scale: np.ndarray, shift: np.ndarray) -> np.ndarray:
    rows = _rows(x)
    out = empty(rows.shape, x.dtype)
    affine_loop(len(rows), rows, _constants(rows, center, scale, shift), out)
    return _unrows(out, x.shape)


def _block_sums(loop: Callable, channels: int, rows: np.ndarray, *others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two sums of a channel, for each block and each of the rows that are taken as one."""
    blocks, together = -(-len(rows) // BLOCK), rows.shape[1] // max(channels, 1)
    first, second = np.zeros((blocks, rows.shape[1])), np.zeros((blocks, rows.shape[1]))
    loop(blocks, rows, *others, first, second)
    return first.reshape(blocks, together, channels), second.reshape(blocks, together, channels)


def _as(dtype: np.dtype, numbers: np.ndarray) -> np.ndarray:
    """Numbers of float64 in another dtype: infinite where they are too large for it, as in all its arithmetic."""
    with np.errstate(over="ignore"):
        return numbers.astype(dtype, copy=False)


def _rows(x: np.ndarray) -> np.ndarray:
    """(N, C, inner) as (N * inner, C), some rows taken as one: a view where channels lie last, else a copy."""
    return wide(to_pixels(x[:, :, :, None]).reshape(x.shape[0] * x.shape[2], x.shape[1]))


def _constants(rows: np.ndarray, *channels: np.ndarray) -> np.ndarray:
    """Numbers of the channels, a row of each kind, repeated for each of the rows that are taken as one."""
    count = channels[0].size
    out = np.empty((len(channels), rows.shape[1] // max(count, 1), count), rows.dtype)
    with np.errstate(over="ignore"):
        for line, numbers in zip(out, channels):
            line[:] = numbers
    return out.reshape(len(channels), rows.shape[1])


def _unrows(rows: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Back to (N, C, inner)."""
    n, c, inner = shape
    return rows.reshape(n, inner, c).transpose(0, 2, 1)


# -- local response normalisation ----------------------------------------------------------------------------


def local_response_norm(x: np.ndarray, size: int, alpha: float, beta: float, k: float) -> tuple[np.ndarray, np.ndarray]:
    """``x / scale**beta`` with scale = k + alpha / size * sum of x**2 over a window of channels.

    The window of channel c holds channels c - size // 2 to c + (size - 1) // 2. Krizhevsky et al. 2012,
    section 3.3, have no division by size.

    Parameters
    ----------
    x : (N, C, inner)
    size : int
    alpha, beta, k : float

    Returns
    -------
    out, scale : (N, C, inner)
    """
    x = carray(x)
    out, scale = empty(x.shape, x.dtype), empty(x.shape, x.dtype)
    real = x.dtype.type
    local_response_norm_loop(x.shape[0] * x.shape[1], x, size, real(alpha / size), real(beta), real(k), out, scale)
    return out, scale


def local_response_norm_backward(
    grad: np.ndarray, x: np.ndarray, out: np.ndarray, scale: np.ndarray, size: int, alpha: float, beta: float
) -> np.ndarray:
    """dx_c = grad_c / scale_c**beta - 2 alpha beta / size x_c * sum of grad_j out_j / scale_j.

    The sum is over the channels j whose windows hold c.
    """
    x = carray(x)
    dx, real = empty(x.shape, x.dtype), x.dtype.type
    local_response_norm_backward_loop(
        x.shape[0] * x.shape[1],
        carray(grad),
        x,
        carray(out),
        carray(scale),
        size,
        real(2 * alpha * beta / size),
        real(beta),
        dx,
    )
    return dx


# -- loops ---------------------------------------------------------------------------------------------------


def _moments_loop(begin, end, x, means, squares):
    for block in range(begin, end):
        first, last = block * BLOCK, min(x.shape[0], (block + 1) * BLOCK)
        mean, square = means[block], squares[block]
        for r in range(first, last):
            for c in range(mean.size):
                mean[c] += x[r, c]
        for c in range(mean.size):
            mean[c] /= last - first
        for r in range(first, last):
            for c in range(mean.size):
                square[c] += (x[r, c] - mean[c]) ** 2


def _merge_moments_loop(begin, end, rows, means, squares, mean, var):
    """Each block's mean and squared deviations to the batch's mean and variance."""
    blocks, together = means.shape[:2]
    for c in range(begin, end):
        total = square = 0.0
        for block in range(blocks):
            for i in range(together):
                total += means[block, i, c] * min(BLOCK, rows - block * BLOCK)
        mean[c] = total / (rows * together)
        for block in range(blocks):
            for i in range(together):
                square += squares[block, i, c]
                square += (means[block, i, c] - mean[c]) ** 2 * min(BLOCK, rows - block * BLOCK)
        var[c] = square / (rows * together)


def _gradient_sums_loop(begin, end, x, grad, constants, sums, products):
    center = constants[0]
    for block in range(begin, end):
        total, product = sums[block], products[block]
        for r in range(block * BLOCK, min(x.shape[0], (block + 1) * BLOCK)):
            for c in range(total.size):
                total[c] += grad[r, c]
                product[c] += grad[r, c] * (np.float64(x[r, c]) - center[c])


def _affine_loop(begin, end, x, constants, out):
    center, scale, shift = constants[0], constants[1], constants[2]
    for r in range(begin, end):
        for c in range(x.shape[1]):
            out[r, c] = (x[r, c] - center[c]) * scale[c] + shift[c]


def _batch_norm_backward_loop(begin, end, grad, x, constants, out):
    mean, grad_mean, slope, scale = constants[0], constants[1], constants[2], constants[3]
    for r in range(begin, end):
        for c in range(x.shape[1]):
            out[r, c] = (grad[r, c] - grad_mean[c] - (x[r, c] - mean[c]) * slope[c]) * scale[c]


def _batch_norm_backward_in_place_loop(begin, end, grad, x, constants):
    """A loop of its own: one whose input and output may overlap does not become vectors."""
    mean, grad_mean, slope, scale = constants[0], constants[1], constants[2], constants[3]
    for r in range(begin, end):
        for c in range(x.shape[1]):
            grad[r, c] = (grad[r, c] - grad_mean[c] - (x[r, c] - mean[c]) * slope[c]) * scale[c]


def _times_power(x, scale, beta, out):
    """X * scale**-beta; the usual beta of 0.75 without a call of pow, which does not vectorise."""
    if beta == 0.75:
        for i in range(x.size):
            root = np.sqrt(scale[i])
            out[i] = x[i] / (root * np.sqrt(root))
    else:
        for i in range(x.size):
            out[i] = x[i] * scale[i] ** -beta


times_power = inline(_times_power)


def _local_response_norm_loop(begin, end, x, size, ratio, beta, k, out, scale):
    channels, inner = x.shape[1:]
    for p in range(begin, end):
        image, c = divmod(np.int64(p), channels)
        row = scale[image, c]
        for i in range(inner):
            row[i] = 0
        for j in range(max(0, c - size // 2), min(channels, c + (size - 1) // 2 + 1)):
            for i in range(inner):
                row[i] += x[image, j, i] * x[image, j, i]
        for i in range(inner):
            row[i] = k + ratio * row[i]
        times_power(x[image, c], row, beta, out[image, c])


def _local_response_norm_backward_loop(begin, end, grad, x, out, scale, size, factor, beta, dx):
    channels, inner = x.shape[1:]
    for p in range(begin, end):
        image, c = divmod(np.int64(p), channels)
        row = dx[image, c]
        times_power(grad[image, c], scale[image, c], beta, row)
        for j in range(max(0, c - (size - 1) // 2), min(channels, c + size // 2 + 1)):
            for i in range(inner):
                share = grad[image, j, i] * out[image, j, i] / scale[image, j, i]
                row[i] -= factor * x[image, c, i] * share


moments_loop = jit(_moments_loop)
merge_moments_loop = jit(_merge_moments_loop)
gradient_sums_loop = jit(_gradient_sums_loop)
affine_loop = jit(_affine_loop)
batch_norm_backward_loop = jit(_batch_norm_backward_loop)
batch_norm_backward_in_place_loop = jit(_batch_norm_backward_in_place_loop)
local_response_norm_loop = jit(_local_response_norm_loop)
local_response_norm_backward_loop = jit(_local_response_norm_backward_loop)
