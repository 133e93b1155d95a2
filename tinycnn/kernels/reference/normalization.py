"""Batch norm and local response norm of x (N, C, inner), inner = H W. Sums over a channel are taken in float64."""

import numpy as np

# -- batch norm --------------------------------------------------------------------------------------------------------


def batch_norm_statistics(x):
    if not x.size:
        return np.zeros(x.shape[1], x.dtype), np.zeros(x.shape[1], x.dtype)
    mean = x.mean(axis=(0, 2), dtype=np.float64)  # (C,)
    var = ((x - mean[:, None]) ** 2).mean(axis=(0, 2))  # (C,)
    return mean.astype(x.dtype), var.astype(x.dtype)


def track_statistics(running_mean, running_var, mean, var, momentum, unbiased):
    running_mean += momentum * (mean - running_mean)
    running_var += momentum * (unbiased * var - running_var)


def inverse_std(var, eps):
    return 1 / np.sqrt(var + eps)  # (C,)


def batch_norm(x, mean, inv_std, weight, bias):
    z = (x - mean[:, None]) * inv_std[:, None]  # (N, C, inner)
    return (z * weight[:, None] + bias[:, None]).astype(x.dtype)


def batch_norm_backward(grad, x, mean, inv_std, weight, reuse=False):
    grad_sum, product_sum = batch_norm_gradient_sums(grad, x, mean)  # (C,)
    count = max(x.shape[0] * x.shape[2], 1)
    grad_x = batch_norm_backward_input(grad, x, mean, inv_std, weight, grad_sum / count, product_sum / count)
    return grad_x, (product_sum * inv_std).astype(x.dtype), grad_sum.astype(x.dtype)


def batch_norm_gradient_sums(grad, x, mean):
    grad = grad.astype(np.float64)
    return grad.sum(axis=(0, 2)), (grad * (x - mean[:, None])).sum(axis=(0, 2))  # (C,)


def batch_norm_backward_input(grad, x, mean, inv_std, weight, grad_mean, product_mean, reuse=False):
    z = (x - mean[:, None]) * inv_std[:, None]  # (N, C, inner)
    grad_z_mean = product_mean * inv_std  # (C,)
    grad_x = (grad - grad_mean[:, None] - z * grad_z_mean[:, None]) * (inv_std * weight)[:, None]  # (N, C, inner)
    return grad_x.astype(x.dtype)


def batch_norm_eval_backward(grad, x, mean, inv_std, weight):
    grad_sum, product_sum = batch_norm_gradient_sums(grad, x, mean)  # (C,)
    grad_x = grad * (inv_std * weight)[:, None]  # (N, C, inner)
    return grad_x.astype(x.dtype), (product_sum * inv_std).astype(x.dtype), grad_sum.astype(x.dtype)


# -- local response norm -----------------------------------------------------------------------------------------------


def local_response_norm(x, size, alpha, beta, k):
    scale = k + alpha / size * _window_sum(x**2, size // 2, (size - 1) // 2)  # (N, C, inner)
    return x / scale**beta, scale


def local_response_norm_backward(grad, x, out, scale, size, alpha, beta):
    through_scale = _window_sum(grad * out / scale, (size - 1) // 2, size // 2)  # (N, C, inner)
    return grad / scale**beta - 2 * alpha * beta / size * x * through_scale


def _window_sum(x, before, after):
    """Return the sum over channels c - before to c + after, for each channel c."""
    C = x.shape[1]
    windows = [x[:, max(c - before, 0) : c + after + 1] for c in range(C)]  # each (N, channels in the window, inner)
    return np.stack([window.sum(axis=1) for window in windows], axis=1) if C else x
