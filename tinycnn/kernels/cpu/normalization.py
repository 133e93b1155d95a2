"""Batch normalisation and local response normalisation on x (N, C, inner), inner being H * W.

Loops run in parallel over the N * C planes. A sum over a channel is taken plane by plane in float64, and then
over the planes in order: the same bits for any number of threads, and work for all when channels are few.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from tinycnn.kernels.cpu._jit import carray, inline, jit

# -- batch normalisation -------------------------------------------------------------------------------------


def batch_norm_statistics(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and biased variance of each channel; 0 where there is nothing to average.

    Each plane's mean and squared deviations are merged as in Chan, Golub and LeVeque (1983), which loses no
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
    n, c, inner = x.shape
    if not x.size:
        return np.zeros(c, x.dtype), np.zeros(c, x.dtype)
    means, deviations = np.empty((n, c)), np.empty((n, c))
    moments_loop(carray(x).reshape(n * c, inner), means.reshape(-1), deviations.reshape(-1))
    mean = means.mean(axis=0)
    var = (deviations.sum(axis=0) / inner + ((means - mean) ** 2).sum(axis=0)) / n
    return mean.astype(x.dtype), var.astype(x.dtype)


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
    grad: np.ndarray, x: np.ndarray, mean: np.ndarray, inv_std: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of x, weight and bias where mean and inv_std are those of x.

    With z = (x - mean) inv_std and averages over a channel:
    dx = weight inv_std (grad - average(grad) - z average(grad z)), dweight = sum(grad z), dbias = sum(grad).
    """
    n, c, inner = x.shape
    grad_sum, product_sum = _gradient_sums(grad, x, mean)
    count = max(n * inner, 1)
    slope = inv_std.astype(np.float64) ** 2 * product_sum / count
    out = np.empty(x.shape, x.dtype)
    batch_norm_backward_loop(
        carray(grad).reshape(n * c, inner),
        carray(x).reshape(n * c, inner),
        *(carray(a.astype(x.dtype, copy=False)) for a in (mean, grad_sum / count, slope, inv_std * weight)),
        out.reshape(n * c, inner),
    )
    return out, (product_sum * inv_std).astype(x.dtype), grad_sum.astype(x.dtype)


def batch_norm_eval_backward(
    grad: np.ndarray, x: np.ndarray, mean: np.ndarray, inv_std: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of x, weight and bias where mean and inv_std are constants: dx = weight inv_std grad."""
    grad_sum, product_sum = _gradient_sums(grad, x, mean)
    zero = np.zeros_like(mean)
    dx = _affine(grad, zero, inv_std * weight, zero)
    return dx, (product_sum * inv_std).astype(x.dtype), grad_sum.astype(x.dtype)


def _affine(x: np.ndarray, center: np.ndarray, scale: np.ndarray, shift: np.ndarray) -> np.ndarray:
    n, c, inner = x.shape
    out = np.empty(x.shape, x.dtype)
    constants = (carray(a.astype(x.dtype, copy=False)) for a in (center, scale, shift))
    affine_loop(carray(x).reshape(n * c, inner), *constants, out.reshape(n * c, inner))
    return out


def _gradient_sums(grad: np.ndarray, x: np.ndarray, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """sum(grad) and sum(grad (x - mean)) of each channel, in float64."""
    n, c, inner = x.shape
    sums, products = np.empty((n, c)), np.empty((n, c))
    gradient_sums_loop(
        carray(grad).reshape(n * c, inner),
        carray(x).reshape(n * c, inner),
        carray(mean.astype(x.dtype, copy=False)),
        sums.reshape(-1),
        products.reshape(-1),
    )
    return sums.sum(axis=0), products.sum(axis=0)


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
    out, scale = np.empty_like(x), np.empty_like(x)
    real = x.dtype.type
    local_response_norm_loop(x, size, real(alpha / size), real(beta), real(k), out, scale)
    return out, scale


def local_response_norm_backward(
    grad: np.ndarray, x: np.ndarray, out: np.ndarray, scale: np.ndarray, size: int, alpha: float, beta: float
) -> np.ndarray:
    """dx_c = grad_c / scale_c**beta - 2 alpha beta / size x_c * sum of grad_j out_j / scale_j.

    The sum is over the channels j whose windows hold c.
    """
    x = carray(x)
    dx, real = np.empty_like(x), x.dtype.type
    local_response_norm_backward_loop(
        carray(grad), x, carray(out), carray(scale), size, real(2 * alpha * beta / size), real(beta), dx
    )
    return dx


# -- loops ---------------------------------------------------------------------------------------------------


def _moments_loop(x, means, deviations):
    planes, size = x.shape
    for p in prange(planes):
        total = 0.0
        for i in range(size):
            total += x[p, i]
        mean = total / size
        squares = 0.0
        for i in range(size):
            squares += (x[p, i] - mean) ** 2
        means[p] = mean
        deviations[p] = squares


def _gradient_sums_loop(grad, x, mean, sums, products):
    planes, size = x.shape
    for p in prange(planes):
        center = np.float64(mean[np.int64(p) % mean.size])
        total = 0.0
        product = 0.0
        for i in range(size):
            total += grad[p, i]
            product += grad[p, i] * (x[p, i] - center)
        sums[p] = total
        products[p] = product


def _affine_loop(x, center, scale, shift, out):
    planes, size = x.shape
    for p in prange(planes):
        c = np.int64(p) % center.size
        for i in range(size):
            out[p, i] = (x[p, i] - center[c]) * scale[c] + shift[c]


def _batch_norm_backward_loop(grad, x, mean, grad_mean, slope, scale, out):
    planes, size = x.shape
    for p in prange(planes):
        c = np.int64(p) % mean.size
        for i in range(size):
            out[p, i] = (grad[p, i] - grad_mean[c] - (x[p, i] - mean[c]) * slope[c]) * scale[c]


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


def _local_response_norm_loop(x, size, ratio, beta, k, out, scale):
    n, channels, inner = x.shape
    for p in prange(n * channels):
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


def _local_response_norm_backward_loop(grad, x, out, scale, size, factor, beta, dx):
    n, channels, inner = x.shape
    for p in prange(n * channels):
        image, c = divmod(np.int64(p), channels)
        row = dx[image, c]
        times_power(grad[image, c], scale[image, c], beta, row)
        for j in range(max(0, c - (size - 1) // 2), min(channels, c + size // 2 + 1)):
            for i in range(inner):
                share = grad[image, j, i] * out[image, j, i] / scale[image, j, i]
                row[i] -= factor * x[image, c, i] * share


moments_loop = jit(_moments_loop, reassociate=True)
gradient_sums_loop = jit(_gradient_sums_loop, reassociate=True)
affine_loop = jit(_affine_loop)
batch_norm_backward_loop = jit(_batch_norm_backward_loop)
local_response_norm_loop = jit(_local_response_norm_loop)
local_response_norm_backward_loop = jit(_local_response_norm_backward_loop)
