"""Activations: one pass over memory each, on arrays of any shape.

NaN passes through: ``0 if v <= 0 else v``, never ``v if v > 0 else 0``.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tinycnn.kernels.cpu.machine.nhwc import (
    channel_rows,
    empty_like,
    flatten_in_same_order,
    flattens_to_view,
    is_channels_last,
)
from tinycnn.kernels.cpu.machine.parallel import helper, parallel_for
from tinycnn.kernels.cpu.machine.simd import prefetch
from tinycnn.kernels.cpu.machine.tuning import PREFETCH_DISTANCE

_SQRT_HALF, _SQRT_2_PI, _DENSITY = math.sqrt(0.5), math.sqrt(2 / math.pi), 1 / math.sqrt(2 * math.pi)


def relu(x: np.ndarray) -> np.ndarray:
    """Compare vectors of elements.

    >>> relu(np.array([-1.0, 0.0, 2.0])).tolist()
    [0.0, 0.0, 2.0]
    """
    return _elementwise(relu_loop, x)


def relu_backward(grad: np.ndarray, out: np.ndarray, reuse: bool = False) -> np.ndarray:
    """With ``reuse``, write over ``grad`` if it is stored in the order of ``out``; it may be a slice of channels."""
    rows = channel_rows(grad)
    if rows is None or rows[1] == grad.shape[1] or not is_channels_last(out):
        if reuse and flattens_to_view(grad, [grad, out]):
            flat_grad, flat_out = flatten_in_same_order(grad, out)
            relu_backward_in_place_loop(grad.size, flat_grad, flat_out)
            return grad
        return _elementwise(relu_backward_loop, grad, out)
    grad_input = empty_like(out)
    flat_out, flat_grad_input = flatten_in_same_order(out, grad_input)
    relu_backward_rows_loop(grad.size // grad.shape[1], *rows, grad.shape[1], flat_out, flat_grad_input)
    return grad_input


def leaky_relu(x: np.ndarray, negative_slope: float) -> np.ndarray:
    return _elementwise(leaky_relu_loop, x, x, negative_slope)


def leaky_relu_backward(grad: np.ndarray, x: np.ndarray, negative_slope: float) -> np.ndarray:
    """Run the forward's loop on ``grad``."""
    return _elementwise(leaky_relu_loop, grad, x, negative_slope)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return _elementwise(sigmoid_loop, x)


def sigmoid_backward(grad: np.ndarray, out: np.ndarray) -> np.ndarray:
    return _elementwise(sigmoid_backward_loop, grad, out)


def tanh(x: np.ndarray) -> np.ndarray:
    return _elementwise(tanh_loop, x)


def tanh_backward(grad: np.ndarray, out: np.ndarray) -> np.ndarray:
    return _elementwise(tanh_backward_loop, grad, out)


def gelu(x: np.ndarray, approximate: bool) -> np.ndarray:
    return _elementwise(gelu_tanh_loop if approximate else gelu_loop, x)


def gelu_backward(grad: np.ndarray, x: np.ndarray, approximate: bool) -> np.ndarray:
    return _elementwise(gelu_tanh_backward_loop if approximate else gelu_backward_loop, grad, x)


def _elementwise(loop: Callable, *arguments: np.ndarray | float) -> np.ndarray:
    """Run a loop over flat arrays and numbers of their dtype; the result has their shape and memory format."""
    arrays = [a for a in arguments if isinstance(a, np.ndarray)]
    out = empty_like(*arrays)
    flat = flatten_in_same_order(*arrays, out)
    loop(out.size, *flat[:-1], *(out.dtype.type(a) for a in arguments[len(arrays) :]), flat[-1])
    return out


# -- the exponential -----------------------------------------------------------------------------------------
# math.exp is one library call per element; the compiler vectorises this arithmetic. It is float64 throughout, so that
# both dtypes share it, and accurate to about one unit in the last place.

_LOG2_E = 1.4426950408889634
_LN2_HIGH, _LN2_LOW = 0.6931471803691238, 1.9082149292705877e-10  # their sum is ln 2; n * _LN2_HIGH is exact
_ROUNDER = 6755399441055744.0  # 1.5 * 2**52: once it is added, the low bits hold the nearest integer
_SMALLEST = -708.0  # below, e**x is not a normal float64 and 0 is close enough


def _split_exponential(x: float) -> tuple[float, float]:
    """Return (q, s) with e**x = s + s q, for -708 <= x <= 0 or NaN.

    x = n ln 2 + r with |r| <= ln 2 / 2; s = 2**n is built from its bits, q = e**r - 1 is a Taylor series.
    """
    shifted = np.float64(x * _LOG2_E + _ROUNDER)
    n = shifted - _ROUNDER
    r = (x - n * _LN2_HIGH) - n * _LN2_LOW
    s = np.int64((shifted.view(np.int64) + 1023) << 52).view(np.float64)
    q = 1 / 6227020800
    q = q * r + 1 / 479001600
    q = q * r + 1 / 39916800
    q = q * r + 1 / 3628800
    q = q * r + 1 / 362880
    q = q * r + 1 / 40320
    q = q * r + 1 / 5040
    q = q * r + 1 / 720
    q = q * r + 1 / 120
    q = q * r + 1 / 24
    q = q * r + 1 / 6
    q = q * r + 1 / 2
    return q * (r * r) + r, s


split_exponential = helper(_split_exponential)


def _exp_of_negative(x: float) -> float:
    """Return e**x for x <= 0 or NaN."""
    q, s = split_exponential(_SMALLEST if x < _SMALLEST else x)
    return 0.0 if x < _SMALLEST else s + s * q


exp_of_negative = helper(_exp_of_negative)


# -- loops ---------------------------------------------------------------------------------------------------


def _relu_loop(begin, end, x, out):
    for i in range(begin, end):
        out[i] = 0 if x[i] <= 0 else x[i]


def _relu_backward_loop(begin, end, grad, out, grad_input):
    for i in range(begin, end):
        grad_input[i] = 0 if out[i] <= 0 else grad[i]


def _relu_backward_in_place_loop(begin, end, grad, out):
    """A loop of its own: the compiler does not vectorise one whose input and output may overlap."""
    for i in range(begin, end):
        grad[i] = 0 if out[i] <= 0 else grad[i]


def _relu_backward_rows_loop(begin, end, grad, step, channels, out, grad_input):
    for r in range(begin, end):
        row, gradient = slice(r * channels, (r + 1) * channels), grad[r * step : r * step + channels]
        value, result = out[row], grad_input[row]
        prefetch(grad, (r + PREFETCH_DISTANCE) * step, channels)
        prefetch(out, (r + PREFETCH_DISTANCE) * channels, channels)
        for i in range(value.size):
            result[i] = 0 if value[i] <= 0 else gradient[i]


def _leaky_relu_loop(begin, end, value, x, slope, out):
    for i in range(begin, end):
        out[i] = value[i] if x[i] > 0 else value[i] * slope


def _sigmoid_loop(begin, end, x, out):
    one = x.dtype.type(1)
    for i in range(begin, end):
        e = x.dtype.type(exp_of_negative(-abs(np.float64(x[i]))))
        out[i] = (one if x[i] >= 0 else e) / (one + e)


def _sigmoid_backward_loop(begin, end, grad, out, grad_input):
    one = out.dtype.type(1)
    for i in range(begin, end):
        grad_input[i] = grad[i] * (one - out[i]) * out[i]


def _tanh_loop(begin, end, x, out):
    """|tanh x| = -m / (2 + m) with m = e**(-2|x|) - 1; at 30 it is 1 in any dtype."""
    for i in range(begin, end):
        v = np.float64(x[i])
        q, s = split_exponential(-60.0 if abs(v) > 30 else -2 * abs(v))
        m = s * q + (s - 1)
        magnitude = -m / (2 + m)
        out[i] = -magnitude if v < 0 else magnitude


def _tanh_backward_loop(begin, end, grad, out, grad_input):
    one = out.dtype.type(1)
    for i in range(begin, end):
        grad_input[i] = grad[i] * (one - out[i] * out[i])


def _gelu_loop(begin, end, x, out):
    for i in range(begin, end):
        v = np.float64(x[i])
        out[i] = v * math.erfc(-v * _SQRT_HALF) / 2


def _gelu_backward_loop(begin, end, grad, x, grad_input):
    for i in range(begin, end):
        v = np.float64(x[i])
        density = exp_of_negative(-v * v / 2) * _DENSITY
        grad_input[i] = grad[i] * (math.erfc(-v * _SQRT_HALF) / 2 + v * density)


def _gelu_tanh_loop(begin, end, x, out):
    for i in range(begin, end):
        v = np.float64(x[i])
        out[i] = v * (1 + math.tanh(_SQRT_2_PI * (v + 0.044715 * v * v * v))) / 2


def _gelu_tanh_backward_loop(begin, end, grad, x, grad_input):
    for i in range(begin, end):
        v = np.float64(x[i])
        t = math.tanh(_SQRT_2_PI * (v + 0.044715 * v * v * v))
        slope = _SQRT_2_PI * (1 + 3 * 0.044715 * v * v)
        grad_input[i] = grad[i] * ((1 + t) / 2 + v * (1 - t * t) * slope / 2)


relu_loop = parallel_for(_relu_loop)
relu_backward_loop = parallel_for(_relu_backward_loop)
relu_backward_in_place_loop = parallel_for(_relu_backward_in_place_loop)
relu_backward_rows_loop = parallel_for(_relu_backward_rows_loop)
leaky_relu_loop = parallel_for(_leaky_relu_loop)
sigmoid_loop = parallel_for(_sigmoid_loop)
sigmoid_backward_loop = parallel_for(_sigmoid_backward_loop)
tanh_loop = parallel_for(_tanh_loop)
tanh_backward_loop = parallel_for(_tanh_backward_loop)
gelu_loop = parallel_for(_gelu_loop)
gelu_backward_loop = parallel_for(_gelu_backward_loop)
gelu_tanh_loop = parallel_for(_gelu_tanh_loop)
gelu_tanh_backward_loop = parallel_for(_gelu_tanh_backward_loop)
