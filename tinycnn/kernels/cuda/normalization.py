"""Batch normalisation and local response normalisation on x (N, C, inner), inner being H * W.

A sum over a channel is taken in two launches: each block of threads sums a ``CHUNK`` of a channel's N * inner elements,
then one block for each channel sums the chunks. Both are trees: the same bits in every run, and the rounding errors of
float32 grow with the depth of the tree, not with the number of elements.
"""

from __future__ import annotations

from typing import Any

from tinycnn.kernels.cuda.array import DeviceArray, contiguous, empty, zeros
from tinycnn.kernels.cuda.machine.launch import device_function, kernel, launch, launch_grid
from tinycnn.kernels.cuda.machine.reduce import block_sum, threads_for
from tinycnn.kernels.cuda.machine.target import SIMULATED, THREADS, cuda, math

CHUNK = (2 if SIMULATED else 16) * THREADS

# -- batch normalisation -----------------------------------------------------------------------------------------------


def batch_norm_statistics(x: DeviceArray) -> tuple[DeviceArray, DeviceArray]:
    """Merge the means and squared deviations of chunks as Chan, Golub and LeVeque (1983).

    This loses no digits where mean(x**2) - mean(x)**2 would.
    """
    channels = x.shape[1]
    if not x.size:
        return zeros((channels,), x.dtype), zeros((channels,), x.dtype)
    x = contiguous(x)
    means, squares = _chunk_sums(chunk_moments_kernel, x)
    mean, var = empty((channels,), x.dtype), empty((channels,), x.dtype)
    launch_grid(merge_moments_kernel, channels, threads_for(means.shape[1]), x, means, squares, mean, var)
    return mean, var


def track_statistics(
    running_mean: DeviceArray,
    running_var: DeviceArray,
    mean: DeviceArray,
    var: DeviceArray,
    momentum: float,
    unbiased: float,
) -> None:
    real = running_mean.dtype.type
    work = [contiguous(running) for running in (running_mean, running_var)]
    batch = (contiguous(x.astype(real, copy=False)) for x in (mean, var))
    launch(track_kernel, mean.size, *work, *batch, real(momentum), real(unbiased))
    for running, moved in zip((running_mean, running_var), work):
        if moved is not running:
            running[...] = moved


def inverse_std(var: DeviceArray, eps: float) -> DeviceArray:
    out = empty(var.shape, var.dtype)
    launch(inverse_std_kernel, out.size, contiguous(var), var.dtype.type(eps), out)
    return out


def batch_norm(
    x: DeviceArray, mean: DeviceArray, inv_std: DeviceArray, weight: DeviceArray, bias: DeviceArray
) -> DeviceArray:
    out = empty(x.shape, x.dtype)
    launch(batch_norm_kernel, out.size, contiguous(x), *_vectors(x, mean, inv_std, weight, bias), out)
    return out


def batch_norm_backward(
    grad: DeviceArray,
    x: DeviceArray,
    mean: DeviceArray,
    inv_std: DeviceArray,
    weight: DeviceArray,
    reuse: bool = False,
) -> tuple[DeviceArray, DeviceArray, DeviceArray]:
    grad_sum, product_sum = batch_norm_gradient_sums(grad, x, mean)
    count = max(x.shape[0] * x.shape[2], 1)
    dx = batch_norm_backward_input(grad, x, mean, inv_std, weight, grad_sum / count, product_sum / count, reuse)
    return dx, (product_sum * inv_std).astype(x.dtype, copy=False), grad_sum


def batch_norm_gradient_sums(grad: DeviceArray, x: DeviceArray, mean: DeviceArray) -> tuple[DeviceArray, DeviceArray]:
    """Sum in the dtype of x."""
    channels = x.shape[1]
    if not x.size:
        return zeros((channels,), x.dtype), zeros((channels,), x.dtype)
    sums, products = _chunk_sums(chunk_gradients_kernel, x, contiguous(grad), *_vectors(x, mean))
    grad_sum, product_sum = empty((channels,), x.dtype), empty((channels,), x.dtype)
    launch_grid(merge_sums_kernel, channels, threads_for(sums.shape[1]), sums, products, grad_sum, product_sum)
    return grad_sum, product_sum


def batch_norm_backward_input(
    grad: DeviceArray,
    x: DeviceArray,
    mean: DeviceArray,
    inv_std: DeviceArray,
    weight: DeviceArray,
    grad_mean: DeviceArray,
    product_mean: DeviceArray,
    reuse: bool = False,
) -> DeviceArray:
    out = grad if reuse and grad.flags.c_contiguous else empty(x.shape, x.dtype)
    vectors = _vectors(x, mean, inv_std, weight, grad_mean, product_mean)
    launch(batch_norm_backward_kernel, out.size, contiguous(grad), contiguous(x), *vectors, out)
    return out


def batch_norm_eval_backward(
    grad: DeviceArray, x: DeviceArray, mean: DeviceArray, inv_std: DeviceArray, weight: DeviceArray
) -> tuple[DeviceArray, DeviceArray, DeviceArray]:
    grad_sum, product_sum = batch_norm_gradient_sums(grad, x, mean)
    zero = zeros(mean.shape, x.dtype)
    dx = batch_norm(grad, zero, inv_std, weight, zero)
    return dx, (product_sum * inv_std).astype(x.dtype, copy=False), grad_sum


def _chunk_sums(function: Any, x: DeviceArray, *others: Any) -> tuple[DeviceArray, DeviceArray]:
    """Two numbers (C, chunks) of each chunk of each channel."""
    channels, chunks = x.shape[1], -(-x.shape[0] * x.shape[2] // CHUNK)
    first, second = empty((channels, chunks), x.dtype), empty((channels, chunks), x.dtype)
    launch_grid(function, channels * chunks, threads_for(CHUNK), contiguous(x), *others, first, second)
    return first, second


def _vectors(x: DeviceArray, *vectors: DeviceArray) -> list[DeviceArray]:
    """One number a channel, in the dtype of x."""
    return [contiguous(v.astype(x.dtype, copy=False)) for v in vectors]


# -- local response normalisation --------------------------------------------------------------------------------------


def local_response_norm(
    x: DeviceArray, size: int, alpha: float, beta: float, k: float
) -> tuple[DeviceArray, DeviceArray]:
    out, scale, real = empty(x.shape, x.dtype), empty(x.shape, x.dtype), x.dtype.type
    numbers = size, real(alpha / size), real(beta), real(k)
    launch(local_response_norm_kernel, out.size, contiguous(x), *numbers, out, scale)
    return out, scale


def local_response_norm_backward(
    grad: DeviceArray, x: DeviceArray, out: DeviceArray, scale: DeviceArray, size: int, alpha: float, beta: float
) -> DeviceArray:
    dx, real = empty(x.shape, x.dtype), x.dtype.type
    arrays = (contiguous(a) for a in (grad, x, out, scale))
    numbers = size, real(2 * alpha * beta / size), real(beta)
    launch(local_response_norm_backward_kernel, dx.size, *arrays, *numbers, dx)
    return dx


# -- kernels -----------------------------------------------------------------------------------------------------------
# Element p of a channel is element p % inner of image p // inner.


@kernel
def chunk_moments_kernel(x, means, squares):
    """Block = chunk: its mean and sum of squared deviations.

    All of it less the channel's first element, so that no digits are lost where the mean is larger than the spread.
    """
    shared = cuda.shared.array(THREADS, x.dtype)
    images, _, inner = x.shape
    channel, chunk = cuda.blockIdx.x // means.shape[1], cuda.blockIdx.x % means.shape[1]
    first, last = chunk * CHUNK, min((chunk + 1) * CHUNK, images * inner)
    shift = x[0, channel, 0]
    total = x.dtype.type(0)
    for p in range(first + cuda.threadIdx.x, last, cuda.blockDim.x):
        total += x[p // inner, channel, p % inner] - shift
    mean = block_sum(total, shared) / x.dtype.type(last - first)
    square = x.dtype.type(0)
    for p in range(first + cuda.threadIdx.x, last, cuda.blockDim.x):
        deviation = x[p // inner, channel, p % inner] - shift - mean
        square += deviation * deviation
    square = block_sum(square, shared)
    if cuda.threadIdx.x == 0:
        means[channel, chunk] = mean
        squares[channel, chunk] = square


@kernel
def merge_moments_kernel(x, means, squares, mean, var):
    """Block = channel: mean and variance from those of its chunks."""
    shared = cuda.shared.array(THREADS, x.dtype)
    channel, count, real = cuda.blockIdx.x, x.shape[0] * x.shape[2], x.dtype.type
    total = real(0)
    for chunk in range(cuda.threadIdx.x, means.shape[1], cuda.blockDim.x):
        total += means[channel, chunk] * real(min(CHUNK, count - chunk * CHUNK))
    center = block_sum(total, shared) / real(count)
    total = real(0)
    for chunk in range(cuda.threadIdx.x, means.shape[1], cuda.blockDim.x):
        deviation = means[channel, chunk] - center
        total += squares[channel, chunk] + deviation * deviation * real(min(CHUNK, count - chunk * CHUNK))
    total = block_sum(total, shared)
    if cuda.threadIdx.x == 0:
        mean[channel] = x[0, channel, 0] + center
        var[channel] = total / real(count)


@kernel
def chunk_gradients_kernel(x, grad, mean, sums, products):
    """Block = chunk: its sum(grad) and sum(grad (x - mean))."""
    shared = cuda.shared.array(THREADS, x.dtype)
    images, _, inner = x.shape
    channel, chunk = cuda.blockIdx.x // sums.shape[1], cuda.blockIdx.x % sums.shape[1]
    total, product = x.dtype.type(0), x.dtype.type(0)
    last = min((chunk + 1) * CHUNK, images * inner)
    for p in range(chunk * CHUNK + cuda.threadIdx.x, last, cuda.blockDim.x):
        image, i = p // inner, p % inner
        total += grad[image, channel, i]
        product += grad[image, channel, i] * (x[image, channel, i] - mean[channel])
    total = block_sum(total, shared)
    product = block_sum(product, shared)
    if cuda.threadIdx.x == 0:
        sums[channel, chunk] = total
        products[channel, chunk] = product


@kernel
def merge_sums_kernel(sums, products, grad_sum, product_sum):
    """Block = channel: the sums of its chunks' sums."""
    shared = cuda.shared.array(THREADS, sums.dtype)
    channel = cuda.blockIdx.x
    total, product = sums.dtype.type(0), sums.dtype.type(0)
    for chunk in range(cuda.threadIdx.x, sums.shape[1], cuda.blockDim.x):
        total += sums[channel, chunk]
        product += products[channel, chunk]
    total = block_sum(total, shared)
    product = block_sum(product, shared)
    if cuda.threadIdx.x == 0:
        grad_sum[channel] = total
        product_sum[channel] = product


@device_function
def place(number, channels, inner):
    """Element ``number`` of (N, C, inner) as image, channel and element of the plane."""
    plane = number // inner
    return plane // channels, plane % channels, number % inner


@kernel
def track_kernel(running_mean, running_var, mean, var, momentum, unbiased):
    """Thread = channel."""
    for c in range(cuda.grid(1), mean.size, cuda.gridsize(1)):
        running_mean[c] += momentum * (mean[c] - running_mean[c])
        running_var[c] += momentum * (var[c] * unbiased - running_var[c])


@kernel
def inverse_std_kernel(var, eps, out):
    """Thread = channel."""
    for c in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[c] = var.dtype.type(1) / math.sqrt(var[c] + eps)


@kernel
def batch_norm_kernel(x, mean, inv_std, weight, bias, out):
    """Thread = element."""
    _, channels, inner = x.shape
    for number in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        n, c, i = place(number, channels, inner)
        out[n, c, i] = (x[n, c, i] - mean[c]) * (inv_std[c] * weight[c]) + bias[c]


@kernel
def batch_norm_backward_kernel(grad, x, mean, inv_std, weight, grad_mean, product_mean, out):
    """Thread = element."""
    _, channels, inner = x.shape
    for number in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        n, c, i = place(number, channels, inner)
        slope = inv_std[c] * inv_std[c] * product_mean[c]
        out[n, c, i] = (grad[n, c, i] - grad_mean[c] - (x[n, c, i] - mean[c]) * slope) * (inv_std[c] * weight[c])


@kernel
def local_response_norm_kernel(x, size, ratio, beta, k, out, scale):
    """Thread = element."""
    _, channels, inner = x.shape
    for number in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        n, c, i = place(number, channels, inner)
        total = x.dtype.type(0)
        for j in range(max(0, c - size // 2), min(channels, c + (size - 1) // 2 + 1)):
            total += x[n, j, i] * x[n, j, i]
        total = k + ratio * total
        scale[n, c, i] = total
        out[n, c, i] = x[n, c, i] * math.pow(total, -beta)


@kernel
def local_response_norm_backward_kernel(grad, x, out, scale, size, factor, beta, dx):
    """Thread = element."""
    _, channels, inner = x.shape
    for number in range(cuda.grid(1), dx.size, cuda.gridsize(1)):
        n, c, i = place(number, channels, inner)
        total = x.dtype.type(0)
        for j in range(max(0, c - (size - 1) // 2), min(channels, c + size // 2 + 1)):
            total += grad[n, j, i] * out[n, j, i] / scale[n, j, i]
        power = math.pow(scale[n, c, i], -beta)
        dx[n, c, i] = grad[n, c, i] * power - factor * x[n, c, i] * total
