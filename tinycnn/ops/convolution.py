"""Convolution as networks mean it (cross-correlation): the kernel slides over the image and is not flipped."""

from __future__ import annotations

from tinycnn.tensor import Function


class Conv2d(Function):
    """out[n, o, y, x] = bias[o] + sum over c, i, j of weight[o, c, i, j] * input[n, c, y s - p + i d, x s - p + j d].

    With stride s, padding p, dilation d, and c running over the channels of o's group. Backward is linear in each
    factor: the adjoint of the convolution in the input, a correlation of input and gradient in the weight, a sum in
    the bias.
    """

    def forward(self, x, weight, bias, stride, padding, dilation, groups):
        self.geometry = stride, padding, dilation, groups
        self.save(x, weight)
        return self.kernels.conv2d(x, weight, bias, *self.geometry)

    def backward(self, grad):
        x, weight = self.saved
        need_x, need_weight, need_bias = self.needs_input_grad
        kernels, geometry = self.kernels, self.geometry
        return (
            kernels.conv2d_backward_input(grad, weight, x.shape, *geometry) if need_x else None,
            kernels.conv2d_backward_weight(grad, x, weight.shape, *geometry) if need_weight else None,
            kernels.conv2d_backward_bias(grad) if need_bias else None,
        )
