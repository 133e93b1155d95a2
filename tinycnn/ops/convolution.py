"""Convolution in the sense of neural networks (cross-correlation): the kernel slides over the image and is not flipped.

The three products that compute it and its gradients: see :mod:`tinycnn.kernels.reference.convolution`.
"""

from __future__ import annotations

from tinycnn.autograd import Function
from tinycnn.choice import Choice


class convolution_algorithm(Choice, default="auto"):
    """Choice of the convolution algorithm inside a ``with`` block, forward and backward: the numbers stay the same.

    Parameters
    ----------
    name : {"auto", "im2col", "direct", "winograd"}
        "im2col" is the readable algorithm: columns, then a matrix product. "direct" reads the image without columns.
        "winograd" takes a quarter of the multiplications, for 3x3 kernels of stride 1 (5x5: a third); in float32 its
        rounding errors are about ten times larger. "auto", the default, takes "winograd" where it can, else "direct";
        :func:`tinycnn.plan` lists what it takes. The kernels of :class:`tinycnn.use_kernels` ("reference") have only
        the first, and take it for all four names.

    Raises
    ------
    ValueError
        When a convolution meets an unknown name, or a shape that "winograd" cannot do.

    Examples
    --------
    >>> import numpy as np
    >>> import tinycnn as tc
    >>> x, weight = tc.Tensor(np.ones((1, 1, 3, 3))), tc.Tensor(np.ones((1, 1, 2, 2)))
    >>> with tc.convolution_algorithm("im2col"):
    ...     tc.functional.conv2d(x, weight).data.tolist()
    [[[[4.0, 4.0], [4.0, 4.0]]]]
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)


class Conv2d(Function):
    """out[n, o, y, x] = bias[o] + sum over c, i, j of weight[o, c, i, j] * input[n, c, y s - p + i d, x s - p + j d].

    With stride s, padding p before the image, dilation d, and c running over the channels of o's group. Backward is
    linear in each factor: the adjoint of the convolution in the input, a correlation of input and gradient in the
    weight, a sum in the bias.
    """

    returns_new = True

    def forward(self, x, weight, bias, shape, algorithm):
        self.shape, self.algorithm = shape, algorithm
        if algorithm != "im2col":
            x = self.kernels.channels_last(x)  # once, not again in backward
        self.save(x, weight)
        return self.kernels.conv2d(x, weight, bias, shape, algorithm)

    def backward(self, grad):
        x, weight = self.saved
        need_x, need_weight, need_bias = self.needs_input_grad
        kernels, how = self.kernels, (self.shape, self.algorithm)
        grad_bias = kernels.conv2d_backward_bias(grad) if need_bias else None  # first: grad is new, and in the cache
        return (
            kernels.conv2d_backward_input(grad, weight, *how) if need_x else None,
            kernels.conv2d_backward_weight(grad, x, *how) if need_weight else None,
            grad_bias,
        )
