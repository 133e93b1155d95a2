"""Pooling: each output is the largest or the average of a window. See :mod:`tinycnn.kernels.reference.pooling`."""

from __future__ import annotations

from tinycnn.autograd import Function


class MaxPool2d(Function):
    """The largest element of each window. Backward: each gradient goes to that element, the first of equals."""

    returns_new = True

    def forward(self, x, shape):
        self.shape = shape
        out, taken = self.kernels.max_pool2d(x, shape)
        self.save(taken)
        return out

    def backward(self, grad):
        (taken,) = self.saved
        return self.kernels.max_pool2d_backward(grad, taken, self.shape)


class AvgPool2d(Function):
    """The average of each window. Backward: each gradient is distributed evenly over its window."""

    returns_new = True

    def forward(self, x, shape, count_include_pad):
        self.shape, self.count_include_pad = shape, count_include_pad
        return self.kernels.avg_pool2d(x, shape, count_include_pad)

    def backward(self, grad):
        return self.kernels.avg_pool2d_backward(grad, self.shape, self.count_include_pad)


class AdaptiveAvgPool2d(Function):
    """The average of windows chosen so that the output has a given size."""

    returns_new = True

    def forward(self, x, output_size):
        self.shape, self.output_size = x.shape, output_size
        return self.kernels.adaptive_avg_pool2d(x, output_size)

    def backward(self, grad):
        return self.kernels.adaptive_avg_pool2d_backward(grad, self.shape)
