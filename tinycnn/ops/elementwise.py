"""Operations on each element, with broadcasting.

The engine sums gradients back to the inputs' shapes, and silences NumPy: NaN and inf are results.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinycnn.autograd import Function


def _alike(a: Any, b: Any) -> bool:
    """True if two operands are arrays of floats of one shape and dtype."""
    if not hasattr(a, "shape") or not hasattr(b, "shape"):
        return False
    return a.shape == b.shape and a.dtype == b.dtype and a.dtype.kind == "f"


class Add(Function):
    """a + b. Backward: the gradient goes to both."""

    def forward(self, a, b):
        return self.kernels.add(a, b) if _alike(a, b) else a + b

    def backward(self, grad):
        return grad, grad


class Sub(Function):
    """a - b. Backward: the gradient to a, its negative to b."""

    def forward(self, a, b):
        return a - b

    def backward(self, grad):
        return grad, -grad if self.needs_input_grad[1] else None


class Mul(Function):
    """a * b. Backward: each gets the gradient times the other."""

    returns_new = True

    def forward(self, a, b):
        self.save(a, b)
        return a * b

    def backward(self, grad):
        a, b = self.saved
        need_a, need_b = self.needs_input_grad
        return grad * b if need_a else None, grad * a if need_b else None


class Div(Function):
    """a / b. Backward: grad / b and -grad * a / b**2."""

    returns_new = True

    def forward(self, a, b):
        self.save(a, b)
        return np.true_divide(a, b)

    def backward(self, grad):
        a, b = self.saved
        need_a, need_b = self.needs_input_grad
        return grad / b if need_a else None, -grad * a / (b * b) if need_b else None


class Pow(Function):
    """a ** b. Backward: grad * b * a**(b-1), and grad * a**b * log(a) (0 where a is 0 and b is not negative)."""

    returns_new = True

    def forward(self, a, b):
        out = np.power(a, b)
        self.save(a, b, out)
        return out

    def backward(self, grad):
        a, b, out = self.saved
        need_a, need_b = self.needs_input_grad
        grad_a = grad * np.where(b == 0, 0, b * np.power(a, b - 1)) if need_a else None
        grad_b = grad * np.where((a == 0) & (b >= 0), 0, out * np.log(a)) if need_b else None
        return grad_a, grad_b


class Neg(Function):
    """-x."""

    returns_new = True

    def forward(self, x):
        return -x

    def backward(self, grad):
        return -grad


class Exp(Function):
    """e**x. Backward: grad * e**x."""

    returns_new = True

    def forward(self, x):
        out = np.exp(x)
        self.save(out)
        return out

    def backward(self, grad):
        (out,) = self.saved
        return grad * out


class Log(Function):
    """The natural logarithm; -inf at 0 and NaN below. Backward: grad / x."""

    returns_new = True

    def forward(self, x):
        self.save(x)
        return np.log(x)

    def backward(self, grad):
        (x,) = self.saved
        return grad / x


class Sqrt(Function):
    """The square root; NaN below 0. Backward: grad / (2 sqrt(x))."""

    returns_new = True

    def forward(self, x):
        out = np.sqrt(x)
        self.save(out)
        return out

    def backward(self, grad):
        (out,) = self.saved
        return grad / (2 * out)


class Abs(Function):
    """|x|. Backward: grad * sign(x), 0 at 0."""

    returns_new = True

    def forward(self, x):
        self.save(x)
        return np.abs(x)

    def backward(self, grad):
        (x,) = self.saved
        return grad * np.sign(x)


class Maximum(Function):
    """The larger of a and b; NaN if either is. Backward: to the larger; half to each where they are equal."""

    returns_new = True

    def forward(self, a, b):
        self.save(a, b)
        return np.maximum(a, b)

    def backward(self, grad):
        a, b = self.saved
        half = np.where(a == b, grad / 2, grad)
        return np.where(a < b, 0, half), np.where(b < a, 0, half)


class Clip(Function):
    """x held between low and high; NaN passes. Backward: the gradient passes where low <= x <= high."""

    returns_new = True

    def forward(self, x, low, high):
        self.save(x)
        self.low = -np.inf if low is None else low
        self.high = np.inf if high is None else high
        return np.clip(x, low, high)

    def backward(self, grad):
        (x,) = self.saved
        return np.where((x >= self.low) & (x <= self.high), grad, 0)  # not a product: 0 * inf is NaN


class Where(Function):
    """a if the condition holds, else b."""

    returns_new = True

    def forward(self, condition, a, b):
        self.save(condition)
        return np.where(condition, a, b)

    def backward(self, grad):
        (condition,) = self.saved
        return None, np.where(condition, grad, 0), np.where(condition, 0, grad)


class AsType(Function):
    """Another dtype. Backward: the engine converts the gradient to the input's dtype."""

    returns_grad = True

    chooses_dtype = True

    def forward(self, x, dtype):
        return x.astype(dtype)

    def backward(self, grad):
        return grad
