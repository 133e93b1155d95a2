"""Activations: one pass over memory each, on any shape.

NaN passes through all of them: a branch is written ``0 if v <= 0 else v``, not ``v if v > 0 else 0``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import prange

from tinycnn.kernels.cpu._jit import carray, inline, jit


def relu(x: np.ndarray) -> np.ndarray:
    """max(x, 0).

    >>> relu(np.array([-1.0, 0.0, 2.0])).tolist()
    [0.0, 0.0, 2.0]
    """
    return _elementwise(relu_loop, x)


def relu_backward(grad: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Grad where x > 0 (or NaN), else 0."""
    return _elementwise(relu_backward_loop, grad, x)


def leaky_relu(x: np.ndarray, negative_slope: float) -> np.ndarray:
    """X where x > 0, else negative_slope * x."""
    return _elementwise(leaky_relu_loop, x, x, slope=negative_slope)


def leaky_relu_backward(grad: np.ndarray, x: np.ndarray, negative_slope: float) -> np.ndarray:
    """Grad where x > 0, else negative_slope * grad."""
    return _elementwise(leaky_relu_loop, grad, x, slope=negative_slope)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + e**-x)."""
    return _elementwise(sigmoid_loop, x)


def sigmoid_backward(grad: np.ndarray, out: np.ndarray) -> np.ndarray:
    """grad * out * (1 - out), from the output of :func:`sigmoid`."""
    return _elementwise(sigmoid_backward_loop, grad, out)


def tanh(x: np.ndarray) -> np.ndarray:
    """The hyperbolic tangent."""
    return _elementwise(tanh_loop, x)


def tanh_backward(grad: np.ndarray, out: np.ndarray) -> np.ndarray:
    """grad * (1 - out**2), from the output of :func:`tanh`."""
    return _elementwise(tanh_backward_loop, grad, out)


def _elementwise(loop: Callable, *arrays: np.ndarray, **constants: float) -> np.ndarray:
    """Run a loop over the flattened arrays, with constants in their dtype; the result has the shape of the first."""
    shape, dtype = arrays[0].shape, arrays[0].dtype
    out = np.empty(shape, dtype)
    loop(*(carray(a).reshape(-1) for a in arrays), *(dtype.type(c) for c in constants.values()), out.reshape(-1))
    return out


# -- the exponential ---------------------------------------------------------------------------------------------------
# The C library computes one exponential a call; this arithmetic lets the compiler compute a vector of them at once.
# It is carried out in float64 for both dtypes: about one unit in the last place of float64.

_LOG2_E = 1.4426950408889634
_LN2_HIGH = 0.693147180369123816490  # ln 2 in two parts: n * high is exact
_LN2_LOW = 1.90821492927058770002e-10
_ROUNDER = 6755399441055744.0  # 1.5 * 2**52: adding it leaves the nearest integer in the low bits


def _split_exponential(x: float) -> tuple[float, float]:
    """(q, s) with e**x = s * (1 + q): x = n ln 2 + r, s = 2**n, q = e**r - 1 by its Taylor series, |r| <= ln 2 / 2."""
    shifted = np.float64(x * _LOG2_E + _ROUNDER)
    n = shifted - _ROUNDER
    r = (x - n * _LN2_HIGH) - n * _LN2_LOW
    scale = np.int64((shifted.view(np.int64) + 1023) << 52).view(np.float64)
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
    return (q * r) * r + r, scale


split_exponential = inline(_split_exponential)


def _exp_of_negative(x: float) -> float:
    """e**x for x <= 0; 0 below the smallest normal float64, NaN for NaN."""
    q, scale = split_exponential(max(x, -708.0) if x == x else x)
    return scale + scale * q if not x < -708.0 else 0.0


exp_of_negative = inline(_exp_of_negative)
