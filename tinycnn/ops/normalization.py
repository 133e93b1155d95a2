"""Batch normalisation and local response normalisation: see :mod:`tinycnn.kernels.reference.normalization`."""

from __future__ import annotations

import math

import numpy as np

from tinycnn.autograd import Function
from tinycnn.kernels.versions import changing


class BatchNorm(Function):
    """y = (x - mean) / sqrt(var + eps) * weight + bias, for each channel of x (N, C, ...).

    In training, mean and (biased) variance are the batch's, and backward includes their dependence on x. The running
    statistics move towards them, towards the unbiased variance, which is n / (n - 1) times larger. In evaluation they
    are constants. A communicator joins the batches of all its ranks.
    """

    returns_new = True

    def forward(self, x, weight, bias, running_mean, running_var, training, momentum, eps, communicator):
        channels = x.shape[1]
        self.shape, self.training, self.communicator = x.shape, training, communicator
        flat = _planes(x)
        if training:
            mean, var = self.kernels.batch_norm_statistics(flat)
            self.count = flat.size // max(channels, 1)
            if communicator is not None:
                self.count, mean, var = _joined(self.count, mean, var, communicator)
            if running_mean is not None and self.count:
                unbiased = self.count / max(self.count - 1, 1)
                with changing(running_mean, running_var):
                    self.kernels.track_statistics(running_mean, running_var, mean, var, momentum, unbiased)
        else:
            mean, var = running_mean.astype(x.dtype), running_var.astype(x.dtype)
        inv_std = self.kernels.inverse_std(var, eps)
        scale = np.ones_like(inv_std) if weight is None else weight
        shift = np.zeros_like(inv_std) if bias is None else bias
        self.save(flat, mean, inv_std, scale)
        return self.kernels.batch_norm(flat, mean, inv_std, scale, shift).reshape(x.shape)

    def backward(self, grad):
        flat, mean, inv_std, scale = self.saved
        kernels, grad = self.kernels, grad.reshape(flat.shape)
        if not self.training:
            parts = kernels.batch_norm_eval_backward(grad, flat, mean, inv_std, scale)
        elif self.communicator is None:
            parts = kernels.batch_norm_backward(grad, flat, mean, inv_std, scale, self.owns_grad)
        else:
            sums = kernels.batch_norm_gradient_sums(grad, flat, mean)
            grad_mean, product_mean = self.communicator.allreduce(np.stack(sums)).wait() / self.count
            grad_x = kernels.batch_norm_backward_input(
                grad, flat, mean, inv_std, scale, grad_mean, product_mean, self.owns_grad
            )
            parts = grad_x, (sums[1] * inv_std).astype(flat.dtype), sums[0].astype(flat.dtype)
        return parts[0].reshape(self.shape), *parts[1:]


def _joined(count, mean, var, communicator):
    """Return count, mean and variance over all ranks: of the ranks' means, then of deviations from the joined mean."""
    total, *sums = communicator.allreduce(np.append(count, count * mean.astype(np.float64))).wait()
    if total < 2:
        raise ValueError("training needs more than one value for each channel")
    joined = np.array(sums) / total
    spread = communicator.allreduce(count * (var + (mean - joined) ** 2)).wait() / total
    return int(total), joined.astype(mean.dtype), spread.astype(var.dtype)


def _planes(x):
    """Return (N, C, ...) as (N, C, inner), also for an empty batch."""
    return x.reshape(*x.shape[:2], math.prod(x.shape[2:]))


class LocalResponseNorm(Function):
    """y_c = x_c / (k + alpha / size * sum of x**2 over ``size`` neighbouring channels) ** beta."""

    returns_new = True

    def forward(self, x, size, alpha, beta, k):
        self.shape, self.constants = x.shape, (size, alpha, beta)
        flat = _planes(x)
        out, scale = self.kernels.local_response_norm(flat, size, alpha, beta, k)
        self.save(flat, out, scale)
        return out.reshape(x.shape)

    def backward(self, grad):
        flat, out, scale = self.saved
        grad = grad.reshape(flat.shape)
        return self.kernels.local_response_norm_backward(grad, flat, out, scale, *self.constants).reshape(self.shape)
