"""Activations, softmax and dropout.

Their formulas in NumPy: see :mod:`tinycnn.kernels.reference.activation`, :mod:`tinycnn.kernels.reference.softmax`
and :mod:`tinycnn.kernels.reference.dropout`.
"""

from __future__ import annotations

from tinycnn.autograd import Function


class ReLU(Function):
    """max(x, 0). Backward: the gradient passes where the output, and so x, is more than 0; relu'(0) = 0."""

    returns_new = True

    def forward(self, x):
        out = self.kernels.relu(x)
        self.save(out)  # not x: only backward needs it, and this frees its memory
        return out

    def backward(self, grad):
        (out,) = self.saved
        return self.kernels.relu_backward(grad, out, self.owns_grad)


class LeakyReLU(Function):
    """x if x > 0 else slope * x."""

    returns_new = True

    def forward(self, x, negative_slope):
        self.slope = negative_slope
        self.save(x)
        return self.kernels.leaky_relu(x, negative_slope)

    def backward(self, grad):
        (x,) = self.saved
        return self.kernels.leaky_relu_backward(grad, x, self.slope)


class Sigmoid(Function):
    """1 / (1 + e**-x) = s. Backward: grad * s (1 - s), at most grad / 4."""

    returns_new = True

    def forward(self, x):
        out = self.kernels.sigmoid(x)
        self.save(out)
        return out

    def backward(self, grad):
        (out,) = self.saved
        return self.kernels.sigmoid_backward(grad, out)


class Tanh(Function):
    """tanh(x) = t. Backward: grad * (1 - t**2)."""

    returns_new = True

    def forward(self, x):
        out = self.kernels.tanh(x)
        self.save(out)
        return out

    def backward(self, grad):
        (out,) = self.saved
        return self.kernels.tanh_backward(grad, out)


class GELU(Function):
    """x Phi(x) with the normal distribution function Phi. Backward: grad * (Phi(x) + x Phi'(x))."""

    returns_new = True

    def forward(self, x, approximate):
        self.approximate = approximate
        self.save(x)
        return self.kernels.gelu(x, approximate)

    def backward(self, grad):
        (x,) = self.saved
        return self.kernels.gelu_backward(grad, x, self.approximate)


class Softmax(Function):
    """e**(x - max) / sum = s. Backward: s * (grad - sum(grad * s))."""

    returns_new = True

    def forward(self, x, dim):
        self.dim = dim
        out = self.kernels.softmax(x, dim)
        self.save(out)
        return out

    def backward(self, grad):
        (out,) = self.saved
        return self.kernels.softmax_backward(grad, out, self.dim)


class LogSoftmax(Function):
    """l = x - log(sum(e**x)), stable. Backward: grad - e**l * sum(grad)."""

    returns_new = True

    def forward(self, x, dim):
        self.dim = dim
        out = self.kernels.log_softmax(x, dim)
        self.save(out)
        return out

    def backward(self, grad):
        (out,) = self.saved
        return self.kernels.log_softmax_backward(grad, out, self.dim)


class Dropout(Function):
    """Dropout: 0 with probability p, else x / (1 - p), for each element. Backward: the same mask, computed again."""

    returns_new = True

    def forward(self, x, p, seed, stream, first):
        self.draw = p, seed, stream, first
        return self.kernels.dropout(x, *self.draw)

    def backward(self, grad):
        return self.kernels.dropout(grad, *self.draw)
