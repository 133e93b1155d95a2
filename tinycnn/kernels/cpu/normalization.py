"""Batch normalisation and local response normalisation on x (N, C, inner), inner being H * W.

Batch norm works on rows (N * inner, C) in NHWC order: a pixel's channels are neighbours, and so are their sums. Rows of
few channels are merged (:func:`.machine.nhwc.merge_rows`), so that loops are long enough to be fast. A channel is
summed in float64 over blocks of ``MOMENT_ROWS`` rows, and then over the blocks in order: the same bits for any number
of threads.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tinycnn.kernels.cpu.machine.allocator import empty
from tinycnn.kernels.cpu.machine.nhwc import merge_rows, to_nhwc
from tinycnn.kernels.cpu.machine.parallel import as_contiguous, helper, parallel_for
from tinycnn.kernels.cpu.machine.tuning import MOMENT_ROWS

# -- batch normalisation -------------------------------------------------------------------------------------


def batch_norm_statistics(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Merge means and squared deviations of blocks as Chan, Golub and LeVeque (1983).

    This loses no digits where mean(x**2) - mean(x)**2 would.

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
    running_mean += momentum * (mean - running_mean)
    running_var += momentum * (var * unbiased - running_var)


def inverse_std(var: np.ndarray, eps: float) -> np.ndarray:
    return (1 / np.sqrt(var + eps)).astype(var.dtype, copy=False)


def batch_norm(
    x: np.ndarray, mean: np.ndarray, inv_std: np.ndarray, weight: np.ndarray, bias: np.ndarray
) -> np.ndarray:
    """Multiply and add: an affine map for each channel."""
    return _affine(x, mean, inv_std * weight, bias)


def batch_norm_backward(
    grad: np.ndarray,
    x: np.ndarray,
    mean: np.ndarray,
    inv_std: np.ndarray,
    weight: np.ndarray,
    reuse: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sum up in float64, then compute the gradient of x as an affine map of ``grad`` and x."""
    grad_sum, product_sum = batch_norm_gradient_sums(grad, x, mean)
    count = max(x.shape[0] * x.shape[2], 1)
    grad_x = batch_norm_backward_input(grad, x, mean, inv_std, weight, grad_sum / count, product_sum / count, reuse)
    return grad_x, _as(x.dtype, product_sum * inv_std), _as(x.dtype, grad_sum)


def batch_norm_gradient_sums(grad: np.ndarray, x: np.ndarray, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
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
    grad_sum, product_sum = batch_norm_gradient_sums(grad, x, mean)
    zero = np.zeros_like(mean)
    grad_x = _affine(grad, zero, inv_std * weight, zero)
    return grad_x, _as(x.dtype, product_sum * inv_std), _as(x.dtype, grad_sum)


def _affine(x: np.ndarray, center: np.ndarray, scale: np.ndarray, shift: np.ndarray) -> np.ndarray:
    rows = _rows(x)
    out = empty(rows.shape, x.dtype)
    affine_loop(len(rows), rows, _constants(rows, center, scale, shift), out)
    return _unrows(out, x.shape)


def _block_sums(loop: Callable, channels: int, rows: np.ndarray, *others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return two sums of each channel, for each block and each of the rows that are merged."""
    blocks, merged = -(-len(rows) // MOMENT_ROWS), rows.shape[1] // max(channels, 1)
    first, second = np.zeros((blocks, rows.shape[1])), np.zeros((blocks, rows.shape[1]))
    loop(blocks, rows, *others, first, second)
    return first.reshape(blocks, merged, channels), second.reshape(blocks, merged, channels)


def _as(dtype: np.dtype, numbers: np.ndarray) -> np.ndarray:
    """Convert float64 numbers to another dtype; those too large for it become infinite, as in its arithmetic."""
    return numbers.astype(dtype, copy=False)


def _rows(x: np.ndarray) -> np.ndarray:
    """Return x (N, C, inner) as merged rows (N * inner, C): a view if channels are last in memory, else a copy."""
    return merge_rows(to_nhwc(x[:, :, :, None]).reshape(x.shape[0] * x.shape[2], x.shape[1]))


def _constants(rows: np.ndarray, *channels: np.ndarray) -> np.ndarray:
    """Stack per-channel constants, one row per kind, tiled to the width of the merged rows."""
    count = channels[0].size
    out = np.empty((len(channels), rows.shape[1] // max(count, 1), count), rows.dtype)
    for line, numbers in zip(out, channels):
        line[:] = numbers
    return out.reshape(len(channels), rows.shape[1])


def _unrows(rows: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return rows (N * inner, C) as (N, C, inner)."""
    n, c, inner = shape
    return rows.reshape(n, inner, c).transpose(0, 2, 1)


# -- local response normalisation ----------------------------------------------------------------------------


def local_response_norm(x: np.ndarray, size: int, alpha: float, beta: float, k: float) -> tuple[np.ndarray, np.ndarray]:
    x = as_contiguous(x)
    out, scale = empty(x.shape, x.dtype), empty(x.shape, x.dtype)
    real = x.dtype.type
    local_response_norm_loop(x.shape[0] * x.shape[1], x, size, real(alpha / size), real(beta), real(k), out, scale)
    return out, scale


def local_response_norm_backward(
    grad: np.ndarray, x: np.ndarray, out: np.ndarray, scale: np.ndarray, size: int, alpha: float, beta: float
) -> np.ndarray:
    x = as_contiguous(x)
    grad_x, real = empty(x.shape, x.dtype), x.dtype.type
    local_response_norm_backward_loop(
        x.shape[0] * x.shape[1],
        as_contiguous(grad),
        x,
        as_contiguous(out),
        as_contiguous(scale),
        size,
        real(2 * alpha * beta / size),
        real(beta),
        grad_x,
    )
    return grad_x


# -- loops ---------------------------------------------------------------------------------------------------


def _moments_loop(begin, end, x, means, squares):
    for block in range(begin, end):
        first, last = block * MOMENT_ROWS, min(x.shape[0], (block + 1) * MOMENT_ROWS)
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
    """Merge the means and squared deviations of the blocks to the mean and variance of the batch."""
    blocks, merged = means.shape[:2]
    for c in range(begin, end):
        total = square = 0.0
        for block in range(blocks):
            for i in range(merged):
                total += means[block, i, c] * min(MOMENT_ROWS, rows - block * MOMENT_ROWS)
        mean[c] = total / (rows * merged)
        for block in range(blocks):
            for i in range(merged):
                square += squares[block, i, c]
                square += (means[block, i, c] - mean[c]) ** 2 * min(MOMENT_ROWS, rows - block * MOMENT_ROWS)
        var[c] = square / (rows * merged)


def _gradient_sums_loop(begin, end, x, grad, constants, sums, products):
    center = constants[0]
    for block in range(begin, end):
        total, product = sums[block], products[block]
        for r in range(block * MOMENT_ROWS, min(x.shape[0], (block + 1) * MOMENT_ROWS)):
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
    """A loop of its own: the compiler does not vectorise one whose input and output may overlap."""
    mean, grad_mean, slope, scale = constants[0], constants[1], constants[2], constants[3]
    for r in range(begin, end):
        for c in range(x.shape[1]):
            grad[r, c] = (grad[r, c] - grad_mean[c] - (x[r, c] - mean[c]) * slope[c]) * scale[c]


def _times_power(x, scale, beta, out):
    """Write x * scale**-beta; the usual beta of 0.75 without a call of pow, which does not vectorise."""
    if beta == 0.75:
        for i in range(x.size):
            root = np.sqrt(scale[i])
            out[i] = x[i] / (root * np.sqrt(root))
        for i in range(x.size):
            if scale[i] == np.inf:  # LLVM estimates roots by 1 / root, which gives inf * 0 here
                out[i] = x[i] / scale[i]
    else:
        for i in range(x.size):
            out[i] = x[i] * scale[i] ** -beta


times_power = helper(_times_power)


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


def _local_response_norm_backward_loop(begin, end, grad, x, out, scale, size, factor, beta, grad_x):
    channels, inner = x.shape[1:]
    for p in range(begin, end):
        image, c = divmod(np.int64(p), channels)
        row = grad_x[image, c]
        times_power(grad[image, c], scale[image, c], beta, row)
        for j in range(max(0, c - (size - 1) // 2), min(channels, c + size // 2 + 1)):
            for i in range(inner):
                term = grad[image, j, i] * out[image, j, i] / scale[image, j, i]
                row[i] -= factor * x[image, c, i] * term


moments_loop = parallel_for(_moments_loop)
merge_moments_loop = parallel_for(_merge_moments_loop)
gradient_sums_loop = parallel_for(_gradient_sums_loop)
affine_loop = parallel_for(_affine_loop)
batch_norm_backward_loop = parallel_for(_batch_norm_backward_loop)
batch_norm_backward_in_place_loop = parallel_for(_batch_norm_backward_in_place_loop)
local_response_norm_loop = parallel_for(_local_response_norm_loop)
local_response_norm_backward_loop = parallel_for(_local_response_norm_backward_loop)
