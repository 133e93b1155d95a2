"""Functions of one element, and their derivatives. All arrays of a function have the same shape."""

import math

import numpy as np

erfc = np.vectorize(math.erfc, otypes=[float])


def relu(x):
    return np.maximum(x, 0)


def relu_backward(grad, out, reuse=False):
    return np.where(out <= 0, 0, grad)


def leaky_relu(x, negative_slope):
    return np.where(x > 0, x, negative_slope * x)


def leaky_relu_backward(grad, x, negative_slope):
    return np.where(x > 0, grad, negative_slope * grad)


def sigmoid(x):
    e = np.exp(-np.abs(x))  # at most 1: no overflow
    return np.where(x >= 0, 1, e) / (1 + e)


def sigmoid_backward(grad, out):
    return grad * out * (1 - out)


def tanh(x):
    return np.tanh(x)


def tanh_backward(grad, out):
    return grad * (1 - out**2)


def gelu(x, approximate):
    if approximate:
        return x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2
    return (x * erfc(-x / math.sqrt(2)) / 2).astype(x.dtype)


def gelu_backward(grad, x, approximate):
    if approximate:
        t = np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))
        slope = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x**2)
        return grad * ((1 + t) / 2 + x * (1 - t**2) * slope / 2)
    density = np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
    return (grad * (erfc(-x / math.sqrt(2)) / 2 + x * density)).astype(x.dtype)
