"""Activation functions and softmax as modules."""

from __future__ import annotations

from tinycnn import functional as F
from tinycnn.nn.module import Module
from tinycnn.tensor import Tensor

__all__ = ["GELU", "Activation", "LeakyReLU", "LogSoftmax", "ReLU", "Sigmoid", "Softmax", "Tanh"]


class Activation(Module):
    """Base class of elementwise activation functions, by which :func:`tinycnn.watch` knows them.

    Examples
    --------
    >>> class Square(Activation):
    ...     def forward(self, x):
    ...         return x * x
    """


class ReLU(Activation):
    """max(x, 0)."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the activation."""
        return F.relu(x)


class LeakyReLU(Activation):
    """x if x > 0 else negative_slope * x."""

    def __init__(self, negative_slope: float = 0.01) -> None:
        super().__init__()
        self.negative_slope = negative_slope

    def forward(self, x: Tensor) -> Tensor:
        """Return the activation."""
        return F.leaky_relu(x, self.negative_slope)

    def extra_repr(self) -> str:
        """Return the slope."""
        return f"negative_slope={self.negative_slope}"


class Sigmoid(Activation):
    """1 / (1 + e**-x)."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the activation."""
        return F.sigmoid(x)


class Tanh(Activation):
    """The hyperbolic tangent."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the activation."""
        return F.tanh(x)


class GELU(Activation):
    """x Phi(x) with the normal distribution function Phi; see :func:`tinycnn.functional.gelu`."""

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = approximate

    def forward(self, x: Tensor) -> Tensor:
        """Return the activation."""
        return F.gelu(x, self.approximate)

    def extra_repr(self) -> str:
        """Return the approximation."""
        return f"approximate={self.approximate!r}"


class Softmax(Module):
    """Probabilities along ``dim``."""

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        """Return the probabilities."""
        return F.softmax(x, self.dim)


class LogSoftmax(Module):
    """Log-probabilities along ``dim``."""

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        """Return the log-probabilities."""
        return F.log_softmax(x, self.dim)
