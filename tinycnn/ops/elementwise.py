"""Operations on each element, with broadcasting. The engine sums gradients back to the inputs' shapes."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinycnn.autograd import common_device, operands
from tinycnn.grad_mode import is_grad_enabled
from tinycnn.kernels.arrays import FLOAT_TYPES, as_array
from tinycnn.tensor import Function, Tensor


def _alike(a: Any, b: Any) -> bool:
    """Whether two operands are arrays of floats of one shape and dtype."""
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
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.true_divide(a, b)

    def backward(self, grad):
        a, b = self.saved
        need_a, need_b = self.needs_input_grad
        with np.errstate(divide="ignore", invalid="ignore"):
            return grad / b if need_a else None, -grad * a / (b * b) if need_b else None


class Pow(Function):
    """a ** b. Backward: grad * b * a**(b-1), and grad * a**b * log(a) (0 where a is 0 and b is not negative)."""

    returns_new = True

    def forward(self, a, b):
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            out = np.power(a, b)
        self.save(a, b, out)
        return out

    def backward(self, grad):
        a, b, out = self.saved
        need_a, need_b = self.needs_input_grad
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
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
        with np.errstate(over="ignore"):
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
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.log(x)

    def backward(self, grad):
        (x,) = self.saved
        with np.errstate(divide="ignore", invalid="ignore"):
            return grad / x


class Sqrt(Function):
    """The square root; NaN below 0. Backward: grad / (2 sqrt(x))."""

    returns_new = True

    def forward(self, x):
        with np.errstate(invalid="ignore"):
            out = np.sqrt(x)
        self.save(out)
        return out

    def backward(self, grad):
        (out,) = self.saved
        with np.errstate(divide="ignore", invalid="ignore"):
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
    """X held between low and high; NaN passes. Backward: the gradient passes where low <= x <= high."""

    returns_new = True

    def forward(self, x, low, high):
        self.save(x)
        self.low = -np.inf if low is None else low
        self.high = np.inf if high is None else high
        return np.clip(x, low, high)

    def backward(self, grad):
        (x,) = self.saved
        return grad * ((x >= self.low) & (x <= self.high))


class Where(Function):
    """A where the condition holds, else b."""

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


def add(a: Any, b: Any) -> Tensor:
    """A + b."""
    return Add.apply(a, b)


def sub(a: Any, b: Any) -> Tensor:
    """A - b."""
    return Sub.apply(a, b)


def rsub(a: Any, b: Any) -> Tensor:
    """B - a: what ``b - tensor`` means."""
    return Sub.apply(b, a)


def mul(a: Any, b: Any) -> Tensor:
    """A * b."""
    return Mul.apply(a, b)


def div(a: Any, b: Any) -> Tensor:
    """A / b. Dividing by 0 gives inf or NaN; integers divide to float32."""
    return Div.apply(a, b)


def rdiv(a: Any, b: Any) -> Tensor:
    """B / a: what ``b / tensor`` means."""
    return Div.apply(b, a)


def pow(a: Any, b: Any) -> Tensor:
    """A ** b, either a tensor or a number."""
    return Pow.apply(a, b)


def rpow(a: Any, b: Any) -> Tensor:
    """B ** a: what ``b ** tensor`` means."""
    return Pow.apply(b, a)


def neg(x: Tensor) -> Tensor:
    """-x."""
    return Neg.apply(x)


def exp(x: Tensor) -> Tensor:
    """e**x."""
    return Exp.apply(x)


def log(x: Tensor) -> Tensor:
    """The natural logarithm."""
    return Log.apply(x)


def sqrt(x: Tensor) -> Tensor:
    """The square root."""
    return Sqrt.apply(x)


def abs(x: Tensor) -> Tensor:
    """|x|; the gradient at 0 is 0."""
    return Abs.apply(x)


def maximum(a: Any, b: Any) -> Tensor:
    """The larger of two, element by element; where equal, each gets half of the gradient.

    >>> a, b = Tensor([1.0, 2.0], requires_grad=True), Tensor([1.0, 5.0], requires_grad=True)
    >>> maximum(a, b).sum().backward()
    >>> a.grad.tolist(), b.grad.tolist()
    ([0.5, 0.0], [0.5, 1.0])
    """
    return Maximum.apply(a, b)


def clip(x: Tensor, min: float | None = None, max: float | None = None) -> Tensor:
    """X held between ``min`` and ``max`` (None: no bound). The gradient passes inside and on the bounds."""
    if min is None and max is None:
        raise ValueError("clip: min and max are both None, expected at least one bound")
    return Clip.apply(x, low=min, high=max)


def where(condition: Any, a: Any, b: Any) -> Tensor:
    """Elements of ``a`` where the condition (booleans) holds, of ``b`` elsewhere."""
    dtype = condition.dtype if isinstance(condition, Tensor) else np.asarray(condition).dtype
    if dtype != np.bool_:
        raise TypeError(f"where: the condition has dtype {dtype}, expected bool; compare first, such as x > 0")
    return Where.apply(condition, a, b)


def astype(x: Tensor, dtype: Any) -> Tensor:
    """Convert to another dtype; gradients flow back in the old one.

    Raises
    ------
    TypeError
        If a tensor cannot have that dtype, or a tensor of the graph is not to become a tensor of floats: gradients
        could not flow through it.
    """
    wanted = np.dtype(dtype)
    if wanted not in FLOAT_TYPES and wanted.kind not in "iub":
        raise TypeError(f"astype: dtype is {wanted}, expected float32, float64, an integer type or bool")
    if wanted not in FLOAT_TYPES and x.requires_grad and is_grad_enabled():
        raise TypeError(
            f"astype: a tensor that requires gradients cannot become {wanted}, the graph would end there; use "
            "x.detach().astype(...)"
        )
    return AsType.apply(x, dtype=wanted)


def _comparison(compare: Any, symbol: str) -> Any:
    def operation(a: Tensor, b: Any) -> Tensor:
        device = common_device(compare.__name__, (a, b))
        try:
            return Tensor._of(as_array(compare(*operands(device, (a, b)))))
        except (TypeError, ValueError) as error:
            raise type(error)(f"{symbol}: {type(a).__name__} and {type(b).__name__}: {error}") from None

    operation.__doc__ = f"a {symbol} b, element by element, as booleans; no gradient."
    return operation


eq = _comparison(np.equal, "==")
ne = _comparison(np.not_equal, "!=")
lt = _comparison(np.less, "<")
le = _comparison(np.less_equal, "<=")
gt = _comparison(np.greater, ">")
ge = _comparison(np.greater_equal, ">=")
