"""Activations, softmax and dropout."""

from __future__ import annotations

from tinycnn import arguments, random
from tinycnn.functional.checks import dimension, float_tensor, probability
from tinycnn.ops import activation
from tinycnn.tensor import Tensor

__all__ = ["dropout", "gelu", "leaky_relu", "log_softmax", "relu", "sigmoid", "softmax", "tanh"]


def relu(input: Tensor) -> Tensor:
    """Return max(x, 0); the gradient at 0 is 0, NaN passes.

    >>> relu(Tensor([-1.0, 0.0, 2.0])).data
    array([0., 0., 2.], dtype=float32)
    """
    return activation.ReLU.apply(float_tensor("relu", input))


def leaky_relu(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """Return x if x > 0 else negative_slope * x."""
    slope = arguments.number("leaky_relu", "negative_slope", negative_slope)
    return activation.LeakyReLU.apply(float_tensor("leaky_relu", input), negative_slope=slope)


def sigmoid(input: Tensor) -> Tensor:
    """Return 1 / (1 + e**-x), without overflow."""
    return activation.Sigmoid.apply(float_tensor("sigmoid", input))


def tanh(input: Tensor) -> Tensor:
    """Return the hyperbolic tangent."""
    return activation.Tanh.apply(float_tensor("tanh", input))


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """Return x Phi(x), where Phi is the normal distribution function (Hendrycks and Gimpel 2016).

    Parameters
    ----------
    input : Tensor
    approximate : {"none", "tanh"}
        "tanh" takes (1 + tanh(sqrt(2 / pi) (x + 0.044715 x**3))) / 2 for Phi(x).

    Examples
    --------
    >>> gelu(Tensor([-1.0, 0.0, 1.0])).data.round(3).tolist()
    [-0.1589999943971634, 0.0, 0.8410000205039978]
    """
    approximate = arguments.choice("gelu", "approximate", approximate, ("none", "tanh"))
    return activation.GELU.apply(float_tensor("gelu", input), approximate=approximate == "tanh")


def softmax(input: Tensor, dim: int = -1) -> Tensor:
    """Return e**x / sum of e**x along ``dim``; the largest x is subtracted first, so that nothing overflows."""
    x = float_tensor("softmax", input)
    return activation.Softmax.apply(x, dim=dimension("softmax", x, dim))


def log_softmax(input: Tensor, dim: int = -1) -> Tensor:
    """Return log(softmax(x)) along ``dim``, computed without taking the logarithm of a rounded 0."""
    x = float_tensor("log_softmax", input)
    return activation.LogSoftmax.apply(x, dim=dimension("log_softmax", x, dim))


def dropout(input: Tensor, p: float = 0.5, training: bool = True, generator: random.Generator | None = None) -> Tensor:
    """Set each element to 0 with probability ``p`` and scale the others by 1 / (1 - p); in evaluation do nothing.

    The mask is a function of the generator's seed, a running number and the element's index: the same for any number
    of threads, and computed again in backward rather than stored (Srivastava et al. 2014; Salmon et al. 2011).
    """
    x = float_tensor("dropout", input)
    p, training = probability("dropout", p), arguments.flag("dropout", "training", training)
    if not training or p == 0:
        return x
    source = random.default_generator() if generator is None else generator
    arguments.instance("dropout", "generator", source, random.Generator, "a tinycnn.random.Generator")
    first = source.row * (x.size // max(len(x), 1)) if x.ndim else 0
    return activation.Dropout.apply(x, p=p, seed=source.seed, stream=source.next_stream(), first=first)
