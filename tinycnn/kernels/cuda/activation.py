"""Activations: each thread computes one element, then the one a whole grid further on, on arrays of any shape.

The arithmetic is in the arrays' own dtype: a bare 0 or 1 beside a float32 would make the GPU compute in float64.
"""

from __future__ import annotations

from typing import Any

from tinycnn.kernels.cuda.array import DeviceArray, contiguous, empty
from tinycnn.kernels.cuda.machine.launch import kernel, launch
from tinycnn.kernels.cuda.machine.target import cuda, math


def relu(x: DeviceArray) -> DeviceArray:
    return _elementwise(relu_kernel, x)


def relu_backward(grad: DeviceArray, out: DeviceArray, reuse: bool = False) -> DeviceArray:
    """Write over ``grad`` with ``reuse`` if it is C-contiguous."""
    if reuse and grad.flags.c_contiguous:
        launch(relu_backward_kernel, grad.size, grad.reshape(-1), contiguous(out).reshape(-1), grad.reshape(-1))
        return grad
    return _elementwise(relu_backward_kernel, grad, out)


def leaky_relu(x: DeviceArray, negative_slope: float) -> DeviceArray:
    return _elementwise(leaky_relu_kernel, x, x, negative_slope)


def leaky_relu_backward(grad: DeviceArray, x: DeviceArray, negative_slope: float) -> DeviceArray:
    """Run the forward's kernel on ``grad``."""
    return _elementwise(leaky_relu_kernel, grad, x, negative_slope)


def sigmoid(x: DeviceArray) -> DeviceArray:
    return _elementwise(sigmoid_kernel, x)


def sigmoid_backward(grad: DeviceArray, out: DeviceArray) -> DeviceArray:
    return _elementwise(sigmoid_backward_kernel, grad, out)


def tanh(x: DeviceArray) -> DeviceArray:
    return _elementwise(tanh_kernel, x)


def tanh_backward(grad: DeviceArray, out: DeviceArray) -> DeviceArray:
    return _elementwise(tanh_backward_kernel, grad, out)


def gelu(x: DeviceArray, approximate: bool) -> DeviceArray:
    return _elementwise(gelu_tanh_kernel if approximate else gelu_kernel, x)


def gelu_backward(grad: DeviceArray, x: DeviceArray, approximate: bool) -> DeviceArray:
    return _elementwise(gelu_tanh_backward_kernel if approximate else gelu_backward_kernel, grad, x)


def _elementwise(function: Any, *arguments: Any) -> DeviceArray:
    """Launch a kernel on flat arrays and numbers of their dtype; the result has their shape."""
    arrays = [contiguous(a).reshape(-1) for a in arguments if isinstance(a, DeviceArray)]
    out = empty(arguments[0].shape, arguments[0].dtype)
    numbers = (out.dtype.type(a) for a in arguments[len(arrays) :])
    launch(function, out.size, *arrays, *numbers, out.reshape(-1))
    return out


# -- kernels -----------------------------------------------------------------------------------------------------------


@kernel
def relu_kernel(x, out):
    """Thread = element."""
    zero = x.dtype.type(0)
    for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[i] = zero if x[i] <= zero else x[i]


@kernel
def relu_backward_kernel(grad, x, out):
    """Thread = element."""
    zero = x.dtype.type(0)
    for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[i] = zero if x[i] <= zero else grad[i]


@kernel
def leaky_relu_kernel(value, x, slope, out):
    """Thread = element."""
    for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[i] = value[i] if x[i] > 0 else value[i] * slope


@kernel
def sigmoid_kernel(x, out):
    """Thread = element."""
    one = x.dtype.type(1)
    for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        e = math.exp(-abs(x[i]))
        out[i] = (one if x[i] >= 0 else e) / (one + e)


@kernel
def sigmoid_backward_kernel(grad, s, out):
    """Thread = element."""
    one = s.dtype.type(1)
    for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[i] = grad[i] * (one - s[i]) * s[i]


@kernel
def tanh_kernel(x, out):
    """Thread = element."""
    for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[i] = math.tanh(x[i])


@kernel
def tanh_backward_kernel(grad, t, out):
    """Thread = element."""
    one = t.dtype.type(1)
    for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[i] = grad[i] * (one - t[i] * t[i])


@kernel
def gelu_kernel(x, out):
    """Thread = element."""
    half, root = x.dtype.type(0.5), x.dtype.type(0.7071067811865476)
    for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[i] = x[i] * math.erfc(-x[i] * root) * half


@kernel
def gelu_backward_kernel(grad, x, out):
    """Thread = element."""
    half, root, peak = x.dtype.type(0.5), x.dtype.type(0.7071067811865476), x.dtype.type(0.3989422804014327)
    for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        density = math.exp(-x[i] * x[i] * half) * peak
        out[i] = grad[i] * (math.erfc(-x[i] * root) * half + x[i] * density)


@kernel
def gelu_tanh_kernel(x, out):
    """Thread = element."""
    one, half = x.dtype.type(1), x.dtype.type(0.5)
    scale, cubic = x.dtype.type(0.7978845608028654), x.dtype.type(0.044715)
    for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[i] = x[i] * (one + math.tanh(scale * (x[i] + cubic * x[i] * x[i] * x[i]))) * half


@kernel
def gelu_tanh_backward_kernel(grad, x, out):
    """Thread = element."""
    one, half, three = x.dtype.type(1), x.dtype.type(0.5), x.dtype.type(3)
    scale, cubic = x.dtype.type(0.7978845608028654), x.dtype.type(0.044715)
    for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        t = math.tanh(scale * (x[i] + cubic * x[i] * x[i] * x[i]))
        slope = scale * (one + three * cubic * x[i] * x[i])
        out[i] = grad[i] * ((one + t) * half + x[i] * (one - t * t) * slope * half)
