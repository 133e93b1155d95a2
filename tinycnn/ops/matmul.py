"""Matrix products: see :mod:`tinycnn.kernels.reference.matmul`. In all of them backward is two more matrix products."""

from __future__ import annotations

import numpy as np

from tinycnn.autograd import Function


class MatMul(Function):
    """a @ b for (..., M, K) and (..., K, N). Backward: grad @ b^T and a^T @ grad."""

    returns_new = True

    def forward(self, a, b):
        self.save(a, b)
        return self._product(a, b)

    def backward(self, grad):
        a, b = self.saved
        need_a, need_b = self.needs_input_grad
        return (
            self._product(grad, b.swapaxes(-1, -2)) if need_a else None,
            self._product(a.swapaxes(-1, -2), grad) if need_b else None,
        )

    def _product(self, a, b):
        if a.ndim == b.ndim == 2:
            return self.kernels.matmul(a, b)
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        a, b = (np.broadcast_to(x, (*batch, *x.shape[-2:])) for x in (a, b))
        out = self.kernels.empty((*batch, a.shape[-2], b.shape[-1]), np.result_type(a, b))
        for index in np.ndindex(*batch):
            out[index] = self.kernels.matmul(a[index], b[index])
        return out


class Linear(Function):
    """x W^T + b for x (N, in), W (out, in), b (out,). Backward: grad W, grad^T x, and grad summed over the batch."""

    returns_new = True

    def forward(self, x, weight, bias):
        self.save(x, weight)
        out = self.kernels.matmul(x, weight.T)
        if bias is not None:
            out += bias
        return out

    def backward(self, grad):
        x, weight = self.saved
        need_x, need_weight, need_bias = self.needs_input_grad
        return (
            self.kernels.matmul(grad, weight) if need_x else None,
            self.kernels.matmul(grad.T, x) if need_weight else None,
            grad.sum(axis=0) if need_bias else None,
        )
